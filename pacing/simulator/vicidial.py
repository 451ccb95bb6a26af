"""VICIdial's adaptive rule as its manual publishes it, for comparison."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from pacing.decision import Decision
from pacing.seen import Kind, Seen
from pacing.simulator.baselines import Rows, placing
from pacing.state import Floats, PacingInput

_ADAPT, _PLACE, _MINUTE = 15.0, 2.5, 60.0  # s
_LEAST_CALLS = 50  # a day, before the drop share counts


class Method(Enum):
    """What happens over the drop cap."""

    HARD_LIMIT = "hard limit"
    AVERAGE = "average"
    TAPERED = "tapered"


@dataclass(slots=True)
class Vicidial:
    """`max_level` calls per agent at most. `hours_left` of the day at the start: tapered only."""

    max_level: float = 3.0
    method: Method = Method.HARD_LIMIT
    intensity: float = 0.0
    target_difference: float = 0.0
    cap: float = 0.03
    hours_left: float = 10.0
    _time: float = field(init=False, default=0.0)
    _level: Floats = field(init=False, default_factory=lambda: np.zeros(0))
    _day: Floats = field(init=False, default_factory=lambda: np.zeros((3, 0)))
    _rows: Rows = field(init=False, default_factory=Rows)
    _samples: list[Floats] = field(init=False, default_factory=list)
    _minute: list[tuple[float, Floats, Floats]] = field(init=False, default_factory=list)

    def decide(self, given: PacingInput, seen: Seen) -> Decision:
        n = given.rows
        if len(self._level) == 0:
            self._level, self._day = np.ones(n), np.zeros((3, n))
        counts = self._rows.count(given, seen).astype(np.float64)
        placed, dropped = counts[Kind.PLACED], counts[Kind.ABANDONED]
        met = counts[Kind.CONNECTED]
        self._day += np.array((placed, dropped, met + dropped))
        since = self._time - _MINUTE
        self._minute = [m for m in self._minute if m[0] > since] + [(self._time, placed, dropped)]
        self._samples.append((given.agents_free - given.waiting).astype(np.float64))
        before, self._time = self._time, self._time + given.tick
        if _passes(before, given.tick, _ADAPT):
            self._adapt(given)
        if not _passes(before, given.tick, _PLACE):
            return placing(given, np.zeros(n))
        talking = np.bincount(given.talking.row, minlength=n)
        under_way = given.in_flight + given.analysing + given.waiting + talking
        wanted = np.rint(self._level * (given.agents_free + talking)) - under_way
        return placing(given, np.where(given.agents_free + given.agents_busy > 0, wanted, 0))

    def _adapt(self, given: PacingInput) -> None:
        samples = self._samples[-15:]
        self._samples = samples
        difference = np.mean(samples, axis=0) + self.target_difference
        agents = np.maximum(given.agents_free + given.agents_busy, 1)
        strength = np.where(
            difference > 0, 1.0 + self.intensity / 100.0, abs(self.intensity / 100.0 - 1.0)
        )
        level = self._level * (1.0 + difference / agents * strength)
        placed = np.sum([p for _, p, _ in self._minute], axis=0)
        dropped = np.sum([d for _, _, d in self._minute], axis=0)
        level = np.where((placed > 20) & (dropped > 0.5 * placed), level / 2.0, level)
        calls, drops, people = self._day
        over = (calls > _LEAST_CALLS) & (drops > self.cap * people)
        if self.method is Method.HARD_LIMIT:
            level = np.where(over, 1.0, level)
        elif self.method is Method.AVERAGE:
            level = np.where(over, level / 2.0, level)
        else:
            left = max(self.hours_left - self._time / 3600.0, 0.0)
            level = np.where(over, level * min(left / 10.0, 1.0), level)
        self._level = np.clip(level, 1.0, self.max_level)


def _passes(time: float, tick: float, every: float) -> bool:
    """Whether a multiple of `every` lies in the tick that ends at time + tick."""
    return int((time + tick) / every + 1e-9) > int(time / every + 1e-9)
