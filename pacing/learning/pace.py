"""Agents' own pace: how fast one ends talks and wrap-ups beside what the campaign's agents do.

What ended counts against what would have been expected to end in the same time (the sum of the
hazards it went through), so that every campaign and every length of talk says the same of an agent.
"""

from __future__ import annotations

import numpy as np

from pacing.learning.shrink import weight
from pacing.state import Floats, Ints

#: Agents are told apart in three classes, so that tables stay small: ends per second, times usual.
CLASSES = np.array([0.7, 1.0, 1.4])
USUAL = 1
_BOUNDS = np.sqrt(CLASSES[1:] * CLASSES[:-1])
_WEIGHT, _AGENTS = 20.0, 4.0  # talks and wrap-ups; for how many agents that counts
_ENOUGH = 10.0  # ... after which an agent says how agents differ
_MEMORY = 200.0  # ... after which a share 1/e is left


class Pace:
    """By an agent's number."""

    def __init__(self) -> None:
        self.seen, self.expected = np.zeros(0), np.zeros(0)
        self._class = np.zeros(0, dtype=np.int64)
        self._weight = _WEIGHT

    def note(self, agent: Ints, expected: Floats) -> None:
        """Each of these agents ended something of which `expected` would have ended by then;
        numbers below 0 are nobody's."""
        known = agent >= 0
        agent, expected = agent[known], expected[known]
        if not len(agent):
            return
        self._grow(int(agent.max()) + 1)
        some, which = np.unique(agent, return_inverse=True)
        count = np.bincount(which)
        keep = np.exp(-count / _MEMORY)
        self.seen[some] = self.seen[some] * keep + count
        self.expected[some] = self.expected[some] * keep + np.bincount(which, weights=expected)
        self._class[some] = np.searchsorted(_BOUNDS, self.pace(some))

    def pace(self, agent: Ints) -> Floats:
        """Ends per second, times the usual."""
        seen, expected = self.seen[agent], self.expected[agent]
        return (seen + self._weight) / (expected + self._weight)

    def look_around(self) -> None:
        """How much agents differ."""
        some = self.seen >= _ENOUGH
        # What ended is the measure here; chance is in how much would have.
        self._weight = weight(self.expected[some], self.seen[some], usual=_WEIGHT, parts=_AGENTS)

    def classes(self, agent: Ints) -> Ints:
        """Which of CLASSES; the usual one for agents of whom nothing is known."""
        if not len(self._class):
            return np.full(len(agent), USUAL)
        known = (agent >= 0) & (agent < len(self._class))
        return np.where(known, self._class[np.where(known, agent, 0)], USUAL)

    def _grow(self, agents: int) -> None:
        more = agents - len(self.seen)
        if more > 0:
            self.seen, self.expected = (
                np.concatenate([a, np.zeros(more)]) for a in (self.seen, self.expected)
            )
            self._class = np.concatenate([self._class, np.full(more, USUAL)])
