"""P(at least n of many unlike trials succeed): exactly for small pools, nearly for large ones."""

from __future__ import annotations

from math import erf, sqrt

import numpy as np

from pacing.state import Floats, Ints

_REACH, _STEPS = 8.0, 4096
_Z = np.linspace(-_REACH, _REACH, 2 * _STEPS + 1)
_PHI = np.array([0.5 * (1 + erf(z / sqrt(2))) for z in _Z])


def normal_cdf(z: Floats) -> Floats:
    """The standard normal's distribution function, from a table (error below 1e-6)."""
    at = np.clip((z + _REACH) * (_STEPS / _REACH), 0, 2 * _STEPS - 1e-9)
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
    tail = np.clip(1.0 - below, 0.0, 1.0)
    # No chance left to speak of: all or nothing.
    sure = (variance < 1e-6).astype(np.float64)
    value: Floats = tail * (1 - sure) + sure * (mean > least - 0.5)
    return value


class Counts:
    """P(X = 0), ..., P(X = n - 1) of X by row and horizon, one trial after the other (exact)."""

    def __init__(self, rows: int, horizons: int, states: int) -> None:
        self.below = np.zeros((rows, states, horizons))
        self.below[:, 0] = 1.0

    def add(self, chance: Floats) -> None:
        """One trial more in each row: success with `chance` (rows, horizons)."""
        miss = 1.0 - chance[:, None, :]
        shifted = self.below[:, :-1] * chance[:, None, :]
        self.below *= miss
        self.below[:, 1:] += shifted

    def at_least(self, least: Ints) -> Floats:
        """P(X >= least), (rows, horizons); `least` at most the number of states."""
        states = np.arange(self.below.shape[1])
        mine = (states[None, :] < least[:, None]).astype(np.float64)
        below: Floats = np.einsum("rsh,rs->rh", self.below, mine)
        return np.clip(1.0 - below, 0.0, 1.0)
