"""When agents get free: talk and wrap-up by time spent so far, from what ended and what goes on.

Hazards are constant within bins that widen with age; a conversation that goes on counts for the
time it has lasted. A release is the rest of the talk and then the wrap-up (a convolution), not a
mean: a conversation of four minutes ends differently from one of ten seconds.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from pacing.learning.grid import AHEAD, HORIZONS, MIDDLES, TALK, WRAP
from pacing.learning.landing import moments
from pacing.learning.level import Changes, Watch
from pacing.learning.pace import CLASSES
from pacing.learning.prior import lognormal_hazard
from pacing.numbers import between
from pacing.state import Array, Floats, Ints, Ragged

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


def _weights(starts: Floats, edges: Floats) -> Array:
    """The same as a matrix from rates by bin to (start, s ahead), in half the digits: finer than
    anything known, and twice as fast."""
    return np.ascontiguousarray(_overlap(starts, edges).reshape(-1, len(edges) - 1).T, np.float32)


_TALK_AHEAD = _weights(_MIDS[0], TALK)
_WRAP_AHEAD = _weights(np.concatenate([[0.0], _MIDS[1]]), WRAP)  # first: one that begins


_FASTER = CLASSES.astype(np.float32)[:, None]


class Hazard:
    """Events per second by age of something that lasts, per slot."""

    def __init__(self, edges: Floats, prior: Floats) -> None:
        self.edges, self.prior, self.widths = edges, prior, np.diff(edges)
        whole = np.arange(edges[-1] + 1)  # edges are whole seconds
        self._bin_of = np.minimum(np.searchsorted(edges, whole, side="right"), len(prior)) - 1
        self.ended = np.zeros((0, len(prior)))
        self.part = np.zeros((0, len(prior)))  # s spent in the bin where it ended
        self.rate = np.zeros((0, len(prior)), dtype=np.float32)
        self.changes = Changes(rise=Watch(1.6, 5.0), fall=Watch(0.6, 5.0))

    def grow(self, slots: int) -> None:
        more = slots - len(self.ended)
        if more <= 0:
            return
        pad = np.zeros((more, len(self.prior)))
        self.ended, self.part = np.vstack([self.ended, pad]), np.vstack([self.part, pad])
        self.rate = np.vstack([self.rate, (pad + self.prior).astype(np.float32)])
        self.changes.grow(slots)

    def bins(self, seconds: Floats) -> Ints:
        """In which bin each age lies."""
        return self._bin_of[between(seconds, 0, self.edges[-1]).astype(np.int64)]

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

    def passed(self, slot: Ints, seconds: Floats) -> Floats:
        """Events to be expected of what lasted so long: the hazards it went through, summed."""
        at = self.bins(seconds)
        rate = self.rate[slot]
        before = np.cumsum(rate * self.widths, axis=1) - rate * self.widths
        mine: Ints = np.arange(len(slot))
        return before[mine, at] + rate[mine, at] * np.maximum(seconds - self.edges[at], 0.0)

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
        #: Chance, variance and third central moment, by class of pace (one: no telling apart).
        self.busy = np.zeros((0, 1, STAGES, 3, HORIZONS), dtype=np.float32)

    def grow(self, slots: int) -> None:
        old = len(self.window)
        if slots <= old:
            return
        self.talk.grow(slots)
        self.wrap.grow(slots)
        self.window = np.concatenate([self.window, np.full(slots - old, 2.0)])
        pad = np.zeros((slots - old, *self.busy.shape[1:]), dtype=np.float32)
        self.busy = np.concatenate([self.busy, pad])
        self.refresh(np.arange(old, slots), Ragged(), Ragged())

    @property
    def classes(self) -> int:
        """Classes of pace that are told apart."""
        return int(self.busy.shape[1])

    def tell_agents_apart(self) -> None:
        """From now on with a table for each class of pace."""
        if self.classes == 1:
            self.busy = np.repeat(self.busy, len(CLASSES), axis=1)
            self.refresh(np.arange(len(self.window)), Ragged(), Ragged())

    def refresh(self, slots: Ints, talking: Ragged, wrapping: Ragged) -> None:
        """Compute the tables of these slots anew. `row` of both holds slots."""
        if not len(slots):
            return
        self.talk.refresh(slots, talking)
        self.wrap.refresh(slots, wrapping)
        talk, wrap, window = self.talk.rate[slots], self.wrap.rate[slots], self.window[slots]
        if self.classes > 1:
            talk, wrap = ((r[:, None] * _FASTER).reshape(-1, r.shape[1]) for r in (talk, wrap))
            window = np.repeat(window, self.classes)
        self.busy[slots] = _busy(talk, wrap, window).reshape(-1, *self.busy.shape[1:])


def _busy(talk: Array, wrap: Array, window: Floats) -> Array:
    """Rates by bin (n, bins) and connect windows (n) s to moments of being busy at MIDDLES + window
    (n, STAGES, 3, HORIZONS)."""
    n, ahead = len(window), len(_SECONDS)
    talked = (talk @ _TALK_AHEAD).reshape(n, TALK_BINS, ahead)
    wrapped = (wrap @ _WRAP_AHEAD).reshape(n, WRAP_BINS + 1, ahead)
    stays, wraps = np.exp(-talked), np.exp(-wrapped)  # chances of still being at it
    each = np.empty_like(stays)  # ends in this second
    each[..., 0] = 1 - stays[..., 0]
    np.subtract(stays[..., :-1], stays[..., 1:], out=each[..., 1:])
    # Free again at whole seconds. A talk that ends in second u, in its middle, leaves what is
    # then left for wrap-up (slot, u, s); half a second is put right where the table is read.
    after = np.zeros((n, 2 * ahead - 1), dtype=np.float32)
    after[:, ahead:] = 1 - wraps[:, 0, :-1]
    shifted = np.ascontiguousarray(sliding_window_view(after, ahead, axis=1)[:, ::-1])
    free = np.zeros((n, STAGES, ahead + 1), dtype=np.float32)
    np.matmul(each, shifted, out=free[:, :TALK_BINS, :-1])
    free[:, :TALK_BINS, -1] = free[:, :TALK_BINS, -2]
    free[:, TALK_BINS:, 1:] = 1 - wraps[:, 1:]
    until = (MIDDLES[None, :] + window[:, None]).astype(np.float32)
    busy = 1 - np.concatenate(
        [_read(free[:, :TALK_BINS], until - 0.5), _read(free[:, TALK_BINS:], until)], axis=1
    )
    return moments(busy)


def _read(table: Array, seconds: Array) -> Array:
    """`table` (slot, stage, whole s from 0) read between whole seconds at `seconds` (slot, k)."""
    low = np.floor(seconds).astype(np.int64)
    part = (seconds - low)[:, None, :]
    at = np.arange(len(table))[:, None]
    first, second = (table.transpose(0, 2, 1)[at, low + step] for step in (0, 1))
    read: Array = (first + (second - first) * part.transpose(0, 2, 1)).transpose(0, 2, 1)
    return read
