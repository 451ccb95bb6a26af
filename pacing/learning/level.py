"""How many events came beside how many were expected, and whether that changed.

Two one-sided CUSUM tests (Page 1954) on Poisson counts, for a rise and for a fall. A rise of the
answer rate makes abandoned calls, so it is believed at once and in part before it is certain; a
fall only costs agents' time and waits until it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log

import numpy as np

from pacing.numbers import between
from pacing.state import Flags, Floats, Ints


@dataclass(frozen=True, slots=True)
class Watch:
    """One direction: the ratio it looks for and the evidence (nats) it asks."""

    ratio: float
    alarm: float


RISE = Watch(ratio=1.5, alarm=6.0)
FALL = Watch(ratio=0.6, alarm=9.0)
#: A rise may be a spike: for so many expected answers less evidence is asked of its end.
_SPIKE, _SOONER = 120.0, 0.5


@dataclass(slots=True)
class Changes:
    """For each slot: evidence for a rise and for a fall, and what came since it began to gather."""

    rise: Watch = RISE
    fall: Watch = FALL
    _score: Floats = field(default_factory=lambda: np.zeros((2, 0)))
    _seen: Floats = field(default_factory=lambda: np.zeros((2, 0)))
    _expected: Floats = field(default_factory=lambda: np.zeros((2, 0)))
    _risen: Floats = field(default_factory=lambda: np.zeros(0))  # expected since the last rise

    def grow(self, slots: int) -> None:
        more = slots - self._score.shape[1]
        if more > 0:
            pad = np.zeros((2, more))
            self._score = np.hstack([self._score, pad])
            self._seen = np.hstack([self._seen, pad])
            self._expected = np.hstack([self._expected, pad])
            self._risen = np.concatenate([self._risen, np.full(more, np.inf)])

    def note(self, seen: Floats, expected: Floats, known: Flags) -> tuple[Flags, Floats]:
        """Events that came and that were expected since the last time, per slot. `known`: slots
        of which enough was seen for an alarm to be more than a first estimate that was wrong.

        Returns which slots changed, and by what ratio (1 elsewhere); those start anew."""
        for side, watch in ((0, self.rise), (1, self.fall)):
            score, total, due = self._score[side], self._seen[side], self._expected[side]
            score += seen * log(watch.ratio) - expected * (watch.ratio - 1)
            total += seen
            due += expected
            over = score <= 0
            score[over] = total[over] = due[over] = 0.0
        self._score[1][~known] = 0.0
        rose = (self._score[0] >= self.rise.alarm) & known
        self._risen += expected
        alarm = np.where(self._risen < _SPIKE, self.fall.alarm * _SOONER, self.fall.alarm)
        fell = self._score[1] >= alarm
        self._risen[rose] = 0.0
        self._risen[fell] = np.inf
        changed = rose | fell
        which = np.where(rose, 0, 1)
        if not changed.any():
            return changed, np.ones(len(changed))
        at = np.arange(len(changed))
        ratio = (self._seen[which, at] + 2.0) / (self._expected[which, at] + 2.0)
        for array in (self._score, self._seen, self._expected):
            array[:, changed] = 0.0
        return changed, np.where(changed, ratio, 1.0)

    def clear(self, slots: Ints) -> None:
        """Forget the evidence of these: what it spoke of was taken account of elsewhere."""
        for array in (self._score, self._seen, self._expected):
            array[:, slots] = 0.0

    def expect_fall(self, slots: Ints) -> None:
        """A fall may come: for a while less evidence is asked of it."""
        self._risen[slots] = 0.0

    def rising(self) -> Floats:
        """By what ratio to raise the level now, on evidence that is not certain yet; >= 1."""
        trust = between(self._score[0] / self.rise.alarm, 0.0, 1.0)
        ratio = (self._seen[0] + 2.0) / (self._expected[0] + 2.0)
        raised: Floats = np.maximum(1.0 + (ratio - 1.0) * trust, 1.0)
        return raised
