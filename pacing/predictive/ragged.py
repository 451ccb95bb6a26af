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


def each(at: Ints, begin: Ints) -> tuple[Ints, Ints]:
    """Everything (number in `at`, entry) of stretches: `begin[i]` to `begin[i + 1]` are the entries
    of i, and `at` says which stretch each one wants; -1: none."""
    some = np.flatnonzero(at >= 0)
    first = begin[at[some]]
    size = begin[at[some] + 1] - first
    number = np.repeat(some, size)
    entry = np.repeat(first - np.cumsum(size) + size, size) + np.arange(len(number))
    return number, entry


def stretches(by: Floats) -> Floats:
    """What falls between one moment and the next, from what has fallen by each (rows, moments)."""
    each = by.copy()
    each[:, 1:] -= by[:, :-1]
    return each
