"""The simple rules an engine is compared with."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pacing.decision import Binding, Decision
from pacing.engine import pace
from pacing.seen import Kind, Seen
from pacing.state import Floats, Ints, Mode, PacingInput


def placing(given: PacingInput, wanted: Ints | Floats) -> Decision:
    """A decision to place `wanted` calls per row, at most what leads allow; lines and rate are the
    world's to keep."""
    asked = np.maximum(wanted, 0).astype(np.int64)
    calls = np.minimum(asked, np.maximum(given.leads, 0))
    return Decision(
        calls=calls,
        cancel=np.zeros(len(given.ringing.row), dtype=np.bool_),
        binding=np.where(calls < asked, int(Binding.LEADS), int(Binding.AGENTS)),
        wanted=asked,
        inputs=given,
    )


class Rows:
    """Remembers which row each slot belongs to, for events of calls placed under an older slot."""

    def __init__(self) -> None:
        self._of: Ints = np.zeros(1, dtype=np.int64)

    def of(self, given: PacingInput, seen: Seen) -> Ints:
        """The row of each event."""
        most = int(given.slot.max(initial=0)) + 1
        if most > len(self._of):
            grown = np.zeros(2 * most, dtype=np.int64)
            grown[: len(self._of)] = self._of
            self._of = grown
        self._of[given.slot] = np.arange(given.rows)
        return self._of[seen.slot]

    def count(self, given: PacingInput, seen: Seen) -> Ints:
        """How many events of each kind: (kinds, rows)."""
        n = given.rows
        counts = np.bincount(seen.kind * n + self.of(given, seen), minlength=len(Kind) * n)
        return counts.reshape(len(Kind), n)


class Progressive:
    """One call per free agent."""

    def decide(self, given: PacingInput, seen: Seen) -> Decision:
        mode = np.full(given.rows, int(Mode.PROGRESSIVE), dtype=np.int64)
        return pace(replace(given, mode=mode))


@dataclass(frozen=True, slots=True)
class Ratio:
    """So many calls per free agent; one while the budget is spent."""

    ratio: float

    def decide(self, given: PacingInput, seen: Seen) -> Decision:
        mode = np.full(given.rows, int(Mode.RATIO), dtype=np.int64)
        ratio = np.full(given.rows, self.ratio)
        return pace(replace(given, mode=mode, ratio=ratio))


@dataclass(frozen=True, slots=True)
class PerFreeAgent:
    """So many calls per free agent, whatever was abandoned."""

    ratio: float = 2.0

    def decide(self, given: PacingInput, seen: Seen) -> Decision:
        under_way = given.in_flight + given.analysing + given.waiting
        return placing(given, np.floor(given.agents_free * self.ratio + 1e-9) - under_way)
