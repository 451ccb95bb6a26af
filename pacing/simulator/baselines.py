"""The simple rules an engine is compared with."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pacing.decision import Binding, Decision
from pacing.engine import pace
from pacing.seen import Seen
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
