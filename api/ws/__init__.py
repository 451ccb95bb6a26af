"""Websockets: what agents and supervisors see as it happens."""
