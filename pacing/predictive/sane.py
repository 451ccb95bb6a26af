"""Input that makes no sense is made safe before anything is computed from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pacing.numbers import finite, whole_between
from pacing.seen import Seen
from pacing.state import Floats, Ints, PacingInput, Ragged

_LONGEST = 86_400.0  # s
_TURN = 0.5, 2.0  # ratios of the answer rate from one hour to the next
_MANY = 1_000_000


def sane(given: PacingInput) -> PacingInput:
    """The same input with negative numbers, NaN and infinities taken out: counts between 0 and a
    million, ages between 0 and a day, windows and timeouts in their usual bounds."""
    return replace(
        given,
        agents_free=_count(given.agents_free),
        waiting=_count(given.waiting),
        leads=_count(given.leads),
        connect_window=_seconds(given.connect_window, most=6.0),
        ring_timeout=_seconds(given.ring_timeout, most=60.0, default=25.0),
        cancel_after=_patience(given.cancel_after),
        ringing=_ages(given.ringing),
        analysing_since=_ages(given.analysing_since),
        talking=_ages(given.talking),
        wrapping=_ages(given.wrapping),
        ringing_signal=whole_between(given.ringing_signal, 0, 3)
        if len(given.ringing_signal) == len(given.ringing.row)
        else np.zeros(len(given.ringing.row), dtype=np.int64),
        turn=finite(given.turn, *_TURN, nan=1.0),
        coming=replace(given.coming, share=_seconds(given.coming.share, most=1.0)),
        sharing=replace(given.sharing, free=_count(given.sharing.free)),
        tick=float(finite(np.array([given.tick]), 0.01, 60.0, nan=1.0)[0]),
    )


def sane_seen(seen: Seen) -> Seen:
    """The same events; ages between 0 and a day, signals known ones."""
    return replace(
        seen,
        seconds=_seconds(seen.seconds, most=_LONGEST),
        signal=whole_between(seen.signal, 0, 3),
        became=whole_between(seen.became, 0, 3),
    )


def _count(values: Ints) -> Ints:
    return whole_between(values, 0, _MANY)


def _seconds(values: Floats, *, most: float, default: float = 0.0) -> Floats:
    return finite(values, 0.0, most, nan=default)


def _ages(ragged: Ragged) -> Ragged:
    return Ragged(ragged.row, _seconds(ragged.seconds, most=_LONGEST))


def _patience(seconds: Floats) -> Floats:
    """A time that makes no sense is no leave to give a call up."""
    return np.where(np.isfinite(seconds), seconds, np.inf)
