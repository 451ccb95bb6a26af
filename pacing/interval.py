"""How far a rate can be trusted: the Wilson score interval (Wilson 1927)."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist


def wilson(events: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """(low, high) shares between which the true rate lies with `confidence`.

    Without trials nothing is known: (0, 1). Raises ValueError when events exceed trials.
    """
    if events < 0 or trials < 0 or events > trials:
        raise ValueError(f"expected 0 <= events <= trials, got {events} of {trials}")
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p = events / trials
    scale = 1 / (1 + z * z / trials)
    middle = (p + z * z / (2 * trials)) * scale
    half = z * sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials)) * scale
    return max(0.0, middle - half), min(1.0, middle + half)
