"""Many per row: where each row begins in arrays that are sorted by row; and what lies between
moments."""

from __future__ import annotations

import numpy as np

from pacing.state import Floats, Ints


def starts(row: Ints) -> Ints:
    """Where each row begins in a sorted `row`."""
    return np.flatnonzero(np.concatenate([[True], row[1:] != row[:-1]]))[: len(row)]


def ranks(row: Ints) -> tuple[Ints, Ints]:
    """Of each entry of a sorted `row`: its number within the row, from 0; entries of the row."""
    begin = starts(row)
    size = np.diff(begin, append=len(row))
    return np.arange(len(row)) - np.repeat(begin, size), np.repeat(size, size)


def stretches(by: Floats) -> Floats:
    """What falls between one moment and the next, from what has fallen by each (rows, moments)."""
    each = by.copy()
    each[:, 1:] -= by[:, :-1]
    return each
