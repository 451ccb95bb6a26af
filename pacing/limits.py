"""Shared limits: free lines and calls per second, divided fairly among the rows that want them."""

from __future__ import annotations

import numpy as np

from pacing.decision import Binding
from pacing.numbers import finite
from pacing.state import Floats, Ints, PacingInput, Trunks


def room(trunks: Trunks, rows: int) -> tuple[Floats, Floats]:
    """Calls that lines and rate could take now: by trunk, and by row over all its trunks (a trunk
    counts whole for each row that may use it). Whole numbers; nonsense counts as none."""
    lines, tokens = _whole(trunks.lines), _whole(trunks.tokens)
    each = np.minimum(lines, tokens)
    by_row = np.bincount(trunks.row, weights=each[trunks.trunk], minlength=rows)
    return each, by_row.astype(np.float64)


def _whole(values: Floats) -> Floats:
    whole: Floats = np.floor(finite(values, 0.0, 1e9, nan=0.0))
    return whole


def within_trunks(given: PacingInput, calls: Ints, binding: Ints) -> tuple[Ints, Ints]:
    """Divide free lines and calls-per-second tokens among the rows that share trunks."""
    trunks = given.trunks
    if len(trunks.row) == 0:
        zero = np.zeros_like(calls)
        binding[calls > 0] = Binding.LINES
        return zero, binding
    count = len(trunks.lines)
    lines, tokens = _whole(trunks.lines), _whole(trunks.tokens)
    each, row_room = room(trunks, given.rows)
    # A row that may use several trunks spreads over them in proportion to their room.
    pair_room = each[trunks.trunk]
    weight = np.divide(
        pair_room, row_room[trunks.row], out=np.zeros_like(pair_room),
        where=row_room[trunks.row] > 0,
    )  # fmt: skip
    demand = calls[trunks.row] * weight
    asked = np.bincount(trunks.trunk, weights=demand, minlength=count)
    share = np.divide(each, asked, out=np.ones(count), where=asked > each)
    exact = np.bincount(trunks.row, weights=demand * share[trunks.trunk], minlength=given.rows)[
        : given.rows
    ]
    granted = np.minimum(np.floor(exact + 1e-9).astype(np.int64), calls)
    granted = _largest_remainders(granted, exact.astype(np.float64), calls, int(each.sum()))
    short = granted < calls
    no_lines = np.bincount(trunks.row, weights=lines[trunks.trunk], minlength=given.rows)
    no_tokens = np.bincount(trunks.row, weights=tokens[trunks.trunk], minlength=given.rows)
    binding = np.where(
        short, np.where(no_lines <= no_tokens, int(Binding.LINES), int(Binding.RATE)), binding
    )
    return granted, binding


def _largest_remainders(granted: Ints, exact: Floats, calls: Ints, room: int) -> Ints:
    """Hand out what rounding left over, largest remainder first."""
    left = min(round(float(exact.sum())), room) - int(granted.sum())
    if left <= 0:
        return granted
    remainder = np.where(granted < calls, exact - granted, -1.0)
    order = np.argsort(-remainder, kind="stable")[:left]
    granted = granted.copy()
    granted[order] += (remainder[order] > 1e-9).astype(np.int64)
    return granted
