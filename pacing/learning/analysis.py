"""What answers turn out to be: persons or not, and how long it takes to tell."""

from __future__ import annotations

import numpy as np

from pacing.seen import Kind, Seen
from pacing.state import Floats

_WEIGHT = 4.0  # persons assumed before anything was seen
_MEMORY = 300.0  # answers


class Analysis:
    """How long it takes to tell persons from machines, and how many are persons, per slot."""

    def __init__(self) -> None:
        self.persons, self.machines = np.zeros(0), np.zeros(0)
        self.delay = np.zeros(0)  # s, mean until a person is known as one

    def grow(self, slots: int) -> None:
        more = slots - len(self.persons)
        if more > 0:
            pad = np.zeros(more)
            self.persons, self.machines, self.delay = (
                np.concatenate([a, pad]) for a in (self.persons, self.machines, self.delay)
            )

    @property
    def share(self) -> Floats:
        """Persons among the answers; high while little is known."""
        return (self.persons + 4.0) / (self.persons + self.machines + 4.0)

    def note(self, seen: Seen) -> None:
        """Count PERSON and MACHINE."""
        slots = len(self.persons)
        for kind, array in ((Kind.PERSON, self.persons), (Kind.MACHINE, self.machines)):
            at = np.flatnonzero(seen.kind == kind)
            if not len(at):
                continue
            slot = seen.slot[at]
            count = np.bincount(slot, minlength=slots)
            keep = np.exp(-count / _MEMORY)
            self.persons *= keep
            self.machines *= keep
            array += count
            if kind is Kind.PERSON:
                total = np.bincount(slot, weights=seen.seconds[at], minlength=slots)
                self.delay += (total - self.delay * count) / np.maximum(self.persons, 1.0)
