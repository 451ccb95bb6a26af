"""Many per row: where each row's stretch begins in arrays that are sorted by row."""

from __future__ import annotations

import numpy as np

from pacing.state import Ints


def starts(row: Ints) -> Ints:
    """Where each row begins in a sorted `row`."""
    return np.flatnonzero(np.concatenate([[True], row[1:] != row[:-1]]))[: len(row)]


def ranks(row: Ints) -> tuple[Ints, Ints]:
    """Of each entry of a sorted `row`: its number within the row, from 0; entries of the row."""
    begin = starts(row)
    size = np.diff(np.concatenate([begin, [len(row)]]))
    return np.arange(len(row)) - np.repeat(begin, size), np.repeat(size, size)
