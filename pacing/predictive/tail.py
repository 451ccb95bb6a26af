"""P(at least n of many unlike trials succeed): exactly for small pools, nearly for large ones."""

from __future__ import annotations

from math import erf, sqrt

import numpy as np

from pacing.numbers import between, whole_between
from pacing.state import Floats, Ints

_REACH, _STEPS = 8.0, 4096
_Z = np.linspace(-_REACH, _REACH, 2 * _STEPS + 1)
_PHI = np.array([0.5 * (1 + erf(z / sqrt(2))) for z in _Z])


def normal_cdf(z: Floats) -> Floats:
    """The standard normal's distribution function, from a table (error below 1e-6)."""
    at = between((z + _REACH) * (_STEPS / _REACH), 0, 2 * _STEPS - 1e-9)
    low = at.astype(np.int64)
    part = at - low
    value: Floats = _PHI[low] * (1 - part) + _PHI[low + 1] * part
    return value


def tail_near(mean: Floats, variance: Floats, third: Floats, least: Floats) -> Floats:
    """P(X >= least) of a Poisson-binomial X with these central moments, `least` whole.

    The refined normal approximation: continuity and skewness corrected (Volkova 1996)."""
    spread = np.sqrt(np.maximum(variance, 1e-9))
    z = (least - 0.5 - mean) / spread
    skew = third / (6 * spread**3)
    density = np.exp(-0.5 * z * z) * 0.3989422804014327
    below = normal_cdf(z) + skew * (1 - z * z) * density
    tail = between(1.0 - below, 0.0, 1.0)
    # No chance left to speak of: all or nothing.
    sure = (variance < 1e-6).astype(np.float64)
    value: Floats = tail * (1 - sure) + sure * (mean > least - 0.5)
    return value


def tails_near(
    mean: Floats, variance: Floats, third: Floats, agents: Floats
) -> tuple[Floats, Floats]:
    """P(X >= agents), all spoken for, and P(X = agents - 1), exactly one is not."""
    full = tail_near(mean, variance, third, agents)
    return full, np.maximum(tail_near(mean, variance, third, agents - 1.0) - full, 0.0)


class Counts:
    """A pool of unlike trials by row and horizon, one trial after the other (exact): chances of
    0, 1, ... successes; and how many of those who land meet nobody.

    Who lands at h does so beside all the *others*: the sum over landing calls of (chance to land in
    stretch h) x (counts of the rest) grows with each trial like the counts do, so that no call has
    to be taken out of the whole again."""

    def __init__(self, rows: int, horizons: int, states: int) -> None:
        self.below = np.zeros((rows, states, horizons))
        self.below[:, 0] = 1.0
        self.landing = np.zeros((rows, states, horizons))  # of the rest, times chance to land
        self.lands = np.zeros((rows, horizons))

    def add(self, chance: Floats, lands: Floats | None = None) -> None:
        """One trial more in each row: success by the horizon with `chance`, and in its stretch with
        `lands` (None: this one takes an agent but nobody lands). Both (rows, horizons)."""
        shift = chance[:, None, :]
        self._one_more(self.landing, shift)
        if lands is not None:
            self.landing += self.below * lands[:, None, :]
            self.lands += lands
        self._one_more(self.below, shift)

    @staticmethod
    def _one_more(states: Floats, chance: Floats) -> None:
        moved = states[:, :-1] * chance
        states *= 1.0 - chance
        states[:, 1:] += moved

    def some(self, rows: Ints) -> Counts:
        """A copy of these rows; each may come several times."""
        copy = Counts(0, 0, 1)
        copy.below, copy.landing = self.below[rows], self.landing[rows]
        copy.lands = self.lands[rows]
        return copy

    def at_least(self, least: Ints) -> Floats:
        """P(X >= least), (rows, horizons); `least` at most the number of states."""
        return between(1.0 - self._under(self.below, least), 0.0, 1.0)

    def exactly(self, count: Ints) -> Floats:
        """P(X = count), (rows, horizons); 0 for a count below 0."""
        at = whole_between(count, 0, self.below.shape[1] - 1)
        mine: Floats = self.below[np.arange(len(at)), at] * (count >= 0)[:, None]
        return mine

    def lost(self, least: Ints) -> Floats:
        """(rows,): how many who land find at least `least` others there."""
        lost: Floats = np.maximum(self.lands - self._under(self.landing, least), 0.0).sum(1)
        return lost

    @staticmethod
    def _under(states: Floats, least: Ints) -> Floats:
        count = np.arange(states.shape[1])
        mine = (count[None, :] < least[:, None]).astype(np.float64)
        under: Floats = np.einsum("rsh,rs->rh", states, mine)
        return under
