"""What is assumed before anything was seen: shapes that people and agents have everywhere.

Only the shape weighs little; the level (how often, how fast) is learnt first. See docs/pacing.md.
"""

from __future__ import annotations

from math import erf, exp, log, sqrt

import numpy as np

from pacing.state import Floats


def lognormal_cdf(x: Floats, *, mean: float, cv: float) -> Floats:
    """P(X <= x) of the lognormal with this mean (s) and coefficient of variation."""
    sigma = sqrt(log(1 + cv * cv))
    mu = log(mean) - sigma * sigma / 2
    z = (np.log(np.maximum(x, 1e-12)) - mu) / sigma
    return np.array([0.5 * (1 + erf(v / sqrt(2))) for v in z.ravel()]).reshape(z.shape)


def lognormal_hazard(edges: Floats, *, mean: float, cv: float) -> Floats:
    """Events per second in each bin [edges[i], edges[i + 1]) among those that got that far."""
    alive = np.maximum(1.0 - lognormal_cdf(edges, mean=mean, cv=cv), 1e-12)
    rates = np.log(alive[:-1] / alive[1:]) / np.diff(edges)
    # Far out the numbers run out of digits; a hazard that stays is the safe guess for an agent.
    hazard: Floats = np.maximum(rates, exp(-9))
    return hazard


def answer_hazard(bins: int, *, share: float, mean: float, cv: float, timeout: float) -> Floats:
    """Answers per second of ringing, by 1-s age: `share` of the calls answer before `timeout`."""
    edges = np.arange(bins + 1, dtype=np.float64)
    within = lognormal_cdf(np.array([timeout]), mean=mean, cv=cv)[0]
    answered = share * lognormal_cdf(edges, mean=mean, cv=cv) / within
    alive = np.maximum(1.0 - answered, 1e-3)
    hazard: Floats = np.maximum(np.log(alive[:-1] / np.minimum(alive[1:], alive[:-1])), 1e-5)
    return hazard
