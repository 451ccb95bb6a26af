"""The parts of `make bench NAME=predictive`."""
