"""Ringing calls that are given up, because nobody would be free when they are answered.

Only calls that have rung the legal minimum; and only when an answer of theirs, this moment, would
cost several times what a new call may.
"""

from __future__ import annotations

import numpy as np

from pacing.predictive.choose import Choice
from pacing.predictive.outlook import Outlook
from pacing.predictive.ragged import ranks, stretches
from pacing.state import Flags, Floats, PacingInput

_WORSE = 3.0  # times theta
_SHARE = 1 / 3  # of the candidates, in a second


def give_up(given: PacingInput, look: Outlook, choice: Choice, theta: Floats) -> Flags:
    """Which of `given.ringing`; at most a third of a row's candidates in a second (one in any
    case), those that have rung longest, since each that goes makes the others cheaper."""
    ringing = given.ringing
    n = len(ringing.row)
    gone = np.zeros(n, dtype=bool)
    # Never while every call under way has an agent of its own.
    calls = (
        look.under_way
        + given.waiting
        + np.bincount(given.analysing_since.row, minlength=given.rows)
    )
    crowded = calls > given.agents_free
    may = (ringing.seconds >= given.cancel_after[ringing.row]) & crowded[ringing.row]
    if not may.any():
        return gone
    at = np.flatnonzero(may)
    row = ringing.row[at]
    by = look.call(at)
    # What an answer within this tick would cost: its own risk, and whom it robs of an agent. An
    # answer that comes later can still be given up later.
    full, edge = choice.full[row], choice.edge[row]
    others = choice.lands[row] - stretches(by)
    cost = full[:, 0] - by[:, 0] * edge[:, 0] + (others * edge).sum(1)
    over = (cost > _WORSE * theta[row]) & (by[:, -1] > 1e-6)
    at, row = at[over], row[over]
    order = np.lexsort((-ringing.seconds[at], row))
    rank, size = ranks(row[order])
    share = 1.0 - (1.0 - _SHARE) ** min(given.tick, 1.0)
    gone[at[order[rank < np.ceil(size * share - 1e-9)]]] = True
    return gone
