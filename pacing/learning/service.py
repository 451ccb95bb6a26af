"""When agents get free: talk and wrap-up by time spent so far, from what ended and what goes on.

Hazards are constant within bins that widen with age; a conversation that goes on counts for the
time it has lasted. A release is the rest of the talk and then the wrap-up (a convolution), not a
mean: a conversation of four minutes ends differently from one of ten seconds.
"""

from __future__ import annotations

import numpy as np

from pacing.learning.grid import AHEAD, HORIZONS, MIDDLES, TALK, WRAP
from pacing.learning.level import Changes, Watch
from pacing.learning.prior import lognormal_hazard
from pacing.learning.ring import moments
from pacing.state import Floats, Ints, Ragged

TALK_BINS, WRAP_BINS = len(TALK) - 1, len(WRAP) - 1
STAGES = TALK_BINS + WRAP_BINS
_LEVEL_WEIGHT, _BIN_WEIGHT = 2.0, 3.0  # ended conversations
_MEMORY = 300.0  # ended conversations after which a share 1/e is left
_AFTER_CHANGE = 20.0
_KNOWN = 40.0  # ended conversations from which an alarm is believed
_SECONDS = np.arange(1, AHEAD + 7, dtype=np.float64)  # the connect window comes on top
_MIDS = (TALK[1:] + TALK[:-1]) / 2, (WRAP[1:] + WRAP[:-1]) / 2


def _overlap(starts: Floats, edges: Floats) -> Floats:
    """(start, s ahead, bin): seconds of [start, start + s ahead] that lie in a bin."""
    ends = starts[:, None] + _SECONDS[None, :]
    low = np.maximum(starts[:, None, None], edges[None, None, :-1])
    tops = edges[1:].copy()
    tops[-1] = np.inf
    high = np.minimum(ends[:, :, None], tops[None, None, :])
    seconds: Floats = np.maximum(high - low, 0.0)
    return seconds


_TALK_AHEAD = _overlap(_MIDS[0], TALK)
_WRAP_AHEAD = _overlap(np.concatenate([[0.0], _MIDS[1]]), WRAP)  # first: one that begins


class Hazard:
    """Events per second by age of something that lasts, per slot."""

    def __init__(self, edges: Floats, prior: Floats) -> None:
        self.edges, self.prior, self.widths = edges, prior, np.diff(edges)
        self.ended = np.zeros((0, len(prior)))
        self.part = np.zeros((0, len(prior)))  # s spent in the bin where it ended
        self.rate = np.zeros((0, len(prior)))
        self.changes = Changes(rise=Watch(1.6, 5.0), fall=Watch(0.6, 5.0))

    def grow(self, slots: int) -> None:
        more = slots - len(self.ended)
        if more <= 0:
            return
        pad = np.zeros((more, len(self.prior)))
        self.ended, self.part = np.vstack([self.ended, pad]), np.vstack([self.part, pad])
        self.rate = np.vstack([self.rate, pad + self.prior])
        self.changes.grow(slots)

    def bins(self, seconds: Floats) -> Ints:
        at = np.searchsorted(self.edges, seconds, side="right") - 1
        return np.clip(at, 0, len(self.prior) - 1)

    def note(self, slot: Ints, seconds: Floats) -> None:
        """Count what ended, after how many seconds; the past fades as much."""
        if not len(slot):
            return
        at = self.bins(seconds)
        count = np.bincount(slot, minlength=len(self.ended))
        some = np.flatnonzero(count)
        keep = np.exp(-count[some] / _MEMORY)[:, None]
        self.ended[some] *= keep
        self.part[some] *= keep
        np.add.at(self.ended, (slot, at), 1.0)
        np.add.at(self.part, (slot, at), np.minimum(seconds - self.edges[at], self.widths[at]))

    def watch(self, slot: Ints, row_slot: Ints, seconds: Floats, elapsed: float) -> None:
        """Compare what ended in `elapsed` s (slots) with what goes on (slots, ages)."""
        n = len(self.ended)
        at = self.bins(seconds)
        rate = self.rate[row_slot, at]
        due = np.bincount(row_slot, weights=rate * elapsed, minlength=n).astype(np.float64)
        seen = np.bincount(slot, minlength=n).astype(np.float64)
        changed, ratio = self.changes.note(seen, due, self.ended.sum(1) >= _KNOWN)
        some = np.flatnonzero(changed)
        if len(some):
            total = self.ended[some].sum(1)
            weight = np.minimum(_AFTER_CHANGE / np.maximum(total, 1e-9), 1.0)[:, None]
            self.ended[some] *= weight * ratio[some, None]
            self.part[some] *= weight  # time stays, events came faster or slower

    def refresh(self, slots: Ints, going: Ragged) -> None:
        """Rates of these slots anew. `going.row` holds slots."""
        where = np.full(len(self.ended), -1)
        where[slots] = np.arange(len(slots))
        mine = where[going.row] >= 0
        now, part = np.zeros((2, len(slots), len(self.prior)))
        at = self.bins(going.seconds[mine])
        np.add.at(now, (where[going.row[mine]], at), 1.0)
        spent = np.minimum(going.seconds[mine] - self.edges[at], self.widths[at])
        np.add.at(part, (where[going.row[mine]], at), np.maximum(spent, 0.0))
        gone = self.ended[slots] + now
        beyond = np.cumsum(gone[:, ::-1], axis=1)[:, ::-1] - gone
        time = beyond * self.widths + self.part[slots] + part
        ended = self.ended[slots]
        level = (ended.sum(1) + _LEVEL_WEIGHT) / ((time * self.prior).sum(1) + _LEVEL_WEIGHT)
        shape = np.maximum(level[:, None] * self.prior, 1e-6)
        self.rate[slots] = (ended + _BIN_WEIGHT) / (time + _BIN_WEIGHT / shape)


class ServiceModel:
    """Per slot: an agent in this stage is still busy at MIDDLES + connect window."""

    def __init__(self) -> None:
        self.talk = Hazard(TALK, lognormal_hazard(TALK, mean=120.0, cv=1.0))
        self.wrap = Hazard(WRAP, lognormal_hazard(WRAP, mean=15.0, cv=0.6))
        self.window = np.zeros(0)
        #: Chance, variance and third central moment.
        self.busy = np.zeros((0, STAGES, 3, HORIZONS), dtype=np.float32)

    def grow(self, slots: int) -> None:
        old = len(self.window)
        if slots <= old:
            return
        self.talk.grow(slots)
        self.wrap.grow(slots)
        self.window = np.concatenate([self.window, np.full(slots - old, 2.0)])
        pad = np.zeros((slots - old, STAGES, 3, HORIZONS), dtype=np.float32)
        self.busy = np.concatenate([self.busy, pad])
        self.refresh(np.arange(old, slots), Ragged(), Ragged())

    def refresh(self, slots: Ints, talking: Ragged, wrapping: Ragged) -> None:
        """Compute the tables of these slots anew. `row` of both holds slots."""
        if not len(slots):
            return
        self.talk.refresh(slots, talking)
        self.wrap.refresh(slots, wrapping)
        n, ahead = len(slots), len(_SECONDS)
        talked = np.tensordot(self.talk.rate[slots], _TALK_AHEAD, axes=([1], [2]))
        wrapped = np.tensordot(self.wrap.rate[slots], _WRAP_AHEAD, axes=([1], [2]))
        ended = -np.expm1(-talked)  # (slot, talk bin, s ahead)
        done = -np.expm1(-wrapped)  # (slot, 1 + wrap bin, s ahead)
        each = np.diff(ended, axis=2, prepend=0.0)
        until = MIDDLES[None, :] + self.window[slots][:, None]  # (slot, horizon) s
        # A talk that ends in second u (in its middle) leaves `until - u + 0.5` s for wrap-up.
        left = until[:, None, :] - _SECONDS[None, :, None] + 0.5
        whole = np.concatenate([np.zeros((n, 1)), done[:, 0]], axis=1)
        convolved = np.matmul(each, _at(whole, left, ahead))
        table = np.concatenate([np.zeros((n, WRAP_BINS, 1)), done[:, 1:]], axis=2)
        low = np.clip(np.floor(until), 0, ahead - 1).astype(np.int64)[:, None, :]
        part = np.clip(until[:, None, :] - low, 0.0, 1.0)
        first, second = (np.take_along_axis(table, low + step, axis=2) for step in (0, 1))
        free = np.concatenate([convolved, first * (1 - part) + second * part], axis=1)
        self.busy[slots] = moments(1.0 - free)


def _at(table: Floats, seconds: Floats, ahead: int) -> Floats:
    """`table` (slot, whole s from 0) read between whole seconds at `seconds` (slot, ...)."""
    clipped = np.clip(seconds, 0.0, ahead - 1e-9)
    low = np.floor(clipped).astype(np.int64)
    part = clipped - low
    flat = low.reshape(len(table), -1)
    first = np.take_along_axis(table, flat, axis=1).reshape(seconds.shape)
    second = np.take_along_axis(table, flat + 1, axis=1).reshape(seconds.shape)
    return np.where(seconds < 0, 0.0, first * (1 - part) + second * part)
