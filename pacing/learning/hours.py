"""What the hour of the day does to the answer rate: from one hour to the next, over days.

Two hours of the same day are compared, so that lists and days that differ do not matter; each day
counts for little, so that it takes some to be believed. What a list that is always dialed in the
morning does is taken for the hour's doing.
"""

from __future__ import annotations

import numpy as np

from pacing.state import Floats, Ints

_WEIGHT = 40.0  # answers that "no change" counts for
_A_DAY = 40.0  # answers that a day counts for at most
_LEAST = 10.0  # answers in the hour before, to compare with
_MOST = 2.0  # no hour is believed to change more


def steps(hour: Ints, calls: Floats, answers: Floats) -> Floats:
    """(24): by what ratio the answer rate changes as each hour (UTC) of the day begins; 1 where
    nothing is known. `hour`: hours since 1970, each once, with the calls placed in it and how many
    of them were answered."""
    order = np.argsort(hour, kind="stable")
    hour, calls, answers = hour[order], calls[order], answers[order]
    pair = np.flatnonzero(np.diff(hour) == 1)
    pair = pair[(answers[pair] >= _LEAST) & (calls[pair + 1] > 0)]
    came = answers[pair + 1]
    due = calls[pair + 1] * answers[pair] / np.maximum(calls[pair], 1.0)
    part = np.minimum(_A_DAY / np.maximum(due, 1.0), 1.0)
    turn = hour[pair + 1] % 24
    seen = np.bincount(turn, weights=came * part, minlength=24)
    expected = np.bincount(turn, weights=due * part, minlength=24)
    ratio: Floats = np.clip((seen + _WEIGHT) / (expected + _WEIGHT), 1 / _MOST, _MOST)
    return ratio
