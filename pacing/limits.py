"""Shared limits: free lines and calls per second, divided fairly among the rows that want them."""

from __future__ import annotations

import numpy as np

from pacing.decision import Binding
from pacing.state import Floats, Ints, PacingInput


def within_trunks(given: PacingInput, calls: Ints, binding: Ints) -> tuple[Ints, Ints]:
    """Divide free lines and calls-per-second tokens among the rows that share trunks."""
    trunks = given.trunks
    if len(trunks.row) == 0:
        zero = np.zeros_like(calls)
        binding[calls > 0] = Binding.LINES
        return zero, binding
    count = len(trunks.lines)
    lines = np.floor(np.clip(np.nan_to_num(trunks.lines, nan=0.0), 0, 1e9))
    tokens = np.floor(np.clip(np.nan_to_num(trunks.tokens, nan=0.0), 0, 1e9))
    room = np.minimum(lines, tokens)
    # A row that may use several trunks spreads over them in proportion to their room.
    pair_room = room[trunks.trunk]
    row_room = np.bincount(trunks.row, weights=pair_room, minlength=given.rows)
    weight = np.divide(
        pair_room, row_room[trunks.row], out=np.zeros_like(pair_room),
        where=row_room[trunks.row] > 0,
    )  # fmt: skip
    demand = calls[trunks.row] * weight
    asked = np.bincount(trunks.trunk, weights=demand, minlength=count)
    share = np.divide(room, asked, out=np.ones(count), where=asked > room)
    exact = np.bincount(trunks.row, weights=demand * share[trunks.trunk], minlength=given.rows)[
        : given.rows
    ]
    granted = np.minimum(np.floor(exact + 1e-9).astype(np.int64), calls)
    granted = _largest_remainders(granted, exact.astype(np.float64), calls, int(room.sum()))
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
