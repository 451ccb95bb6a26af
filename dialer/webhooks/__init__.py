"""Calling other people's addresses: which ones may be called, how, and with what signature."""
