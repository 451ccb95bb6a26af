"""How much a part leans on the whole: empirical Bayes for rates.

Counts of parts that differ are more unequal than chance would have it; what is left over is the
spread between them. Gamma-Poisson by moments (Clayton and Kaldor 1987; Marshall 1991): a part whose
level is 1 +- sqrt(v) times the whole's is worth 1 / v events before anything was seen of it.
"""

from __future__ import annotations

import numpy as np

from pacing.state import Floats

_LEAST, _MOST = 2.0, 60.0  # events' worth


def weight(seen: Floats, expected: Floats, *, usual: float, parts: float) -> float:
    """Events that the whole counts for beside a part's own. `seen`, `expected`: events of each
    part, the latter if it were like the whole; `usual`: the weight where nothing is known, which
    itself counts for so many `parts`."""
    n = len(seen)
    if not n:
        return usual
    extra = ((seen - expected) ** 2 - expected) / np.maximum(expected, 1.0) ** 2
    between = max(float(extra.mean()), 0.0)
    variance = (n * between + parts / usual) / (n + parts)
    return float(np.clip(1.0 / max(variance, 1e-9), _LEAST, _MOST))
