"""Bounds and missing numbers, for small arrays: numpy's own `clip` and `nan_to_num` cost several
times as much as the arithmetic around them, dozens of times in a decision."""

from __future__ import annotations

import numpy as np

from pacing.state import Floats, Ints


def between(values: Floats, low: float, high: float) -> Floats:
    """`values`, none below `low` or above `high`; NaN stays."""
    bounded: Floats = np.minimum(np.maximum(values, low), high)
    return bounded


def whole_between(values: Ints, low: int, high: int) -> Ints:
    """The same for whole numbers."""
    bounded: Ints = np.minimum(np.maximum(values, low), high)
    return bounded


def finite(values: Floats, low: float, high: float, *, nan: float) -> Floats:
    """`values` between `low` and `high`, infinities at the bounds, `nan` where there is none."""
    bounded = between(np.asarray(values, dtype=np.float64), low, high)
    if np.isnan(bounded).any():
        bounded[np.isnan(bounded)] = nan
    return bounded
