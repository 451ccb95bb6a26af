"""When ringing calls are answered or fail, from hazards by age and by what the network said.

Rates are taken from exposure (events among the calls that got to an age), not from finished calls:
busy signals come back sooner than answers, so that finished calls read far too low at first. Calls
that still ring, rang out or were given up count for as long as they rang (Kaplan and Meier 1958).
"""

from __future__ import annotations

import numpy as np

from pacing.learning.grid import AGES, HORIZONS, MIDDLES, PHASES
from pacing.learning.level import Changes
from pacing.learning.prior import answer_hazard
from pacing.seen import Kind, Seen
from pacing.state import Array, Flags, Floats, Ints, Ragged

#: Phase by `pacing.state.Signal`.
PHASE_OF = np.array([0, 0, 1, 2], dtype=np.int64)
_ENDS = np.array([Kind.ANSWERED, Kind.FAILED, Kind.RANG_OUT, Kind.CANCELLED])
# Before anything is seen more people answer than usual, and later: the safe side, since who has not
# answered early is not taken for somebody who will not. Weights are in events.
_PRIOR = answer_hazard(AGES, share=0.40, mean=14.0, cv=0.45, timeout=30.0).astype(np.float32)
_PRIOR_FAIL = np.where(np.arange(AGES) < 8, 0.01, 0.002).astype(np.float32)
_LEVEL_WEIGHT = 8.0  # answers
_DOUBT = 0.7  # standard deviations by which the level is taken higher than it was seen
_BIN_WEIGHT = 4.0  # answers that a bin needs to outweigh the shape
_MEMORY = 800.0  # answers after which a share 1/e is left
_LEAST_KEPT = 0.01  # of the past, before it is brought into the counts
_KNOWN = 60.0  # answers from which an alarm is believed
_AFTER_CHANGE = 40.0  # answers' worth of shape kept when the level changed
#: Tables are computed in half the digits: twice as fast, and far finer than what is known.
_SHORT = np.float32
_ONE = _SHORT(1)
_LOW = np.floor(MIDDLES).astype(np.int64)  # whole seconds around each of MIDDLES
_PART = (MIDDLES - _LOW).astype(_SHORT)[:, None, None, None]
_STEPS = int(_LOW[-1]) + 2  # s looked ahead, from 0


def smooth(values: Array) -> Array:
    """A triangle of three neighbours along the last axis; sums are kept but at the ends."""
    out: Array = values * _SHORT(0.5)
    quarter = values * _SHORT(0.25)
    out[..., 1:] += quarter[..., :-1]
    out[..., :-1] += quarter[..., 1:]
    out[..., 0] += quarter[..., 0]
    out[..., -1] += quarter[..., -1]
    return out


class RingModel:
    """Per slot: what ends a call that rings, by age (1-s bins) and phase."""

    def __init__(self) -> None:
        shape = (0, PHASES, AGES)
        self.answered, self.failed, self.left = (np.zeros(shape, dtype=_SHORT) for _ in range(3))
        self.entered = np.zeros(shape, dtype=_SHORT)  # came from a weaker phase
        self.moved = np.zeros((0, 2, PHASES, AGES), dtype=_SHORT)  # to phase 1, to phase 2
        # The past fades by one factor per slot, brought into the arrays when they are read; until
        # then what comes counts for more.
        self._keep = np.zeros(0)
        self._total = np.zeros(0)  # answers, faded
        self.changes = Changes()
        self.timeout = np.zeros(0)
        #: Of a person landing within MIDDLES, by phase and age: chance, variance, third moment.
        self.lands = np.zeros((*shape, 3, HORIZONS), dtype=np.float32)
        self.rate = np.zeros(shape, dtype=_SHORT)  # answers per second
        self._reach = 0  # ages that any table was ever filled for

    @property
    def slots(self) -> int:
        return len(self.timeout)

    def grow(self, slots: int) -> None:
        """Room for `slots`; new ones start from the prior."""
        old = self.slots
        if slots <= old:
            return
        for name in ("answered", "failed", "left", "entered", "moved", "lands", "rate"):
            array = getattr(self, name)
            bigger = np.zeros((slots, *array.shape[1:]), dtype=array.dtype)
            bigger[:old] = array
            setattr(self, name, bigger)
        self.timeout = np.concatenate([self.timeout, np.full(slots - old, 25.0)])
        self._keep = np.concatenate([self._keep, np.ones(slots - old)])
        self._total = np.concatenate([self._total, np.zeros(slots - old)])
        self.changes.grow(slots)
        new = np.arange(old, slots)
        one, zero = np.ones(len(new)), np.zeros(len(new))
        self.refresh(new, Ragged(), np.zeros(0, dtype=np.int64), share=one, delay=zero)

    @property
    def known(self) -> Flags:
        """Slots with enough answers to tell a fall."""
        enough: Flags = self._total >= _KNOWN
        return enough

    def note(self, seen: Seen) -> Floats:
        """Count events; returns the answers per slot among them."""
        age = np.clip(seen.seconds, 0, AGES - 1).astype(np.int64)
        phase = PHASE_OF[seen.signal]
        ends = np.isin(seen.kind, _ENDS)
        answers = seen.kind == Kind.ANSWERED
        fails = seen.kind == Kind.FAILED
        at = (seen.slot, phase, age)
        one = (1.0 / self._keep[seen.slot]).astype(_SHORT)
        for mask, array in ((ends, self.left), (answers, self.answered), (fails, self.failed)):
            np.add.at(array, tuple(index[mask] for index in at), one[mask])
        steps = seen.kind == Kind.PROGRESS
        if steps.any():
            slot, old, bins = (index[steps] for index in at)
            new, one = PHASE_OF[seen.became[steps]], one[steps]
            real = new > old
            slot, old, new, bins, one = (a[real] for a in (slot, old, new, bins, one))
            np.add.at(self.left, (slot, old, bins), one)
            np.add.at(self.moved, (slot, new - 1, old, bins), one)
            np.add.at(self.entered, (slot, new, bins), one)
        count = np.bincount(seen.slot[answers], minlength=self.slots).astype(np.float64)
        self._total += count
        return count

    def forget(self, answers: Floats) -> None:
        """Let the past fade by as many answers as came, so that the present weighs."""
        keep = np.exp(-answers / _MEMORY)
        self._keep *= keep
        self._total *= keep
        if len(low := np.flatnonzero(self._keep < _LEAST_KEPT)):
            self._settle(low)

    def _settle(self, slots: Ints) -> None:
        """Bring what has faded of these slots into their arrays."""
        some = slots[self._keep[slots] < 1.0]
        keep = self._keep[some].astype(_SHORT)
        for array in self._counts:
            array[some] *= keep.reshape(-1, *[1] * (array.ndim - 1))
        self._keep[some] = 1.0

    @property
    def _counts(self) -> tuple[Array, ...]:
        return self.answered, self.failed, self.left, self.entered, self.moved

    def change(self, slots: Ints, ratio: Floats, ringing: Floats) -> None:
        """The level changed by `ratio`: keep the shape, with little weight, at the new level; not
        less than what rings (calls), since that has been ringing at the old level too."""
        self._settle(slots)
        keep = np.maximum(_AFTER_CHANGE, ringing / 2)
        weight = np.minimum(keep / np.maximum(self._total[slots], 1e-9), 1.0)
        for array in self._counts:
            array[slots] *= weight.reshape(-1, *[1] * (array.ndim - 1)).astype(_SHORT)
        self.answered[slots] *= ratio[:, None, None].astype(_SHORT)
        self._total[slots] *= weight * ratio

    def refresh(
        self, slots: Ints, ringing: Ragged, signal: Ints, *, share: Floats, delay: Floats
    ) -> None:
        """Compute the tables of these slots anew. `ringing.row` holds slots here; `share` of the
        answers are persons, known as such after `delay` s (both for each of `slots`)."""
        if not len(slots):
            return
        self._settle(slots)
        ages = int(min(np.floor(self.timeout[slots]).max() + 1, AGES))
        # Without signals all phases are alike.
        phases = PHASES if self.entered[slots].any() else 1
        now = self._now(slots, ringing, signal)
        answer, fail, move = self._hazards(slots, now, ages)
        self.rate[slots, :, :ages] = answer
        answer *= self.changes.rising()[slots].astype(_SHORT)[:, None, None]
        rates = (rate[:, :phases] for rate in (answer, fail, move[:, 0], move[:, 1]))
        within = self._within(slots, *rates)
        if delay.any():
            within = _later(within, delay)
        chance = within * share.astype(_SHORT)[:, None, None, None]
        self.lands[slots, :, :ages] = moments(chance)
        if self._reach > ages:  # a shorter timeout than some slot has, or had
            self.lands[slots, :, ages:] = 0.0
        self._reach = max(self._reach, ages)

    def _now(self, slots: Ints, ringing: Ragged, signal: Ints) -> Array:
        """Calls that ring now: (slots, phases, ages)."""
        now = np.zeros((len(slots), PHASES, AGES), dtype=_SHORT)
        if not len(ringing.row):
            return now
        where = np.full(self.slots, -1)
        where[slots] = np.arange(len(slots))
        at = where[ringing.row]
        mine = np.flatnonzero(at >= 0)
        age = np.minimum(ringing.seconds[mine], AGES - 1).astype(np.int64)
        np.add.at(now, (at[mine], PHASE_OF[signal[mine]], age), _ONE)
        return now

    def _hazards(self, slots: Ints, now: Array, ages: int) -> tuple[Array, Array, Array]:
        """Per second of ringing up to `ages`: answers, failures, moves to a stronger phase (2 x).
        (slots, phases, ages); moves (slots, 2, phases, ages)."""
        risk = smooth(self._at_risk(slots, now, ages))
        answered = smooth(self.answered[slots, :, :ages])
        prior = _PRIOR[:ages]
        expected = (risk * prior).sum((1, 2))
        total = answered.sum((1, 2))
        level = (total + _LEVEL_WEIGHT) / (expected + _LEVEL_WEIGHT)
        doubt = 1.0 + _DOUBT / np.sqrt(total + _LEVEL_WEIGHT)
        shape = level[:, None] * prior
        # All phases together first, then each phase leans on that where it has seen little.
        both = (answered.sum(1) + _BIN_WEIGHT * 0.25) / (
            risk.sum(1) + _BIN_WEIGHT * 0.25 / np.maximum(shape, 1e-6)
        )
        answer = (answered + _BIN_WEIGHT * 0.25) / (
            risk + _BIN_WEIGHT * 0.25 / np.maximum(both[:, None, :], 1e-6)
        )
        fail = (smooth(self.failed[slots, :, :ages]) + 0.5) / (risk + 0.5 / _PRIOR_FAIL[:ages])
        moved = self.moved[slots, :, :, :ages]
        move: Array = smooth(moved) / (risk[:, None] + 2) if moved.any() else moved
        return answer * doubt[:, None, None], fail, move

    def _at_risk(self, slots: Ints, now: Array, ages: int) -> Array:
        """Seconds spent ringing in each phase and bin. Who ended or stands in a bin spent half."""
        # Who left a bin less who came into it there: one sum over later bins for both.
        gone = self.left[slots] - self.entered[slots] + now
        reached = np.cumsum(gone[..., ::-1], axis=-1)[..., ::-1] - gone / 2
        return np.maximum(reached[..., :ages], 0)

    def _within(self, slots: Ints, answer: Array, fail: Array, ring: Array, media: Array) -> Array:
        """P(answered within MIDDLES), backwards from the ring timeout, each second competing risks:
        (slots, phases, ages) per second to (slots, phases, ages, horizons)."""
        _, phases, ages = answer.shape
        alive = (np.arange(ages)[None, :] < np.floor(self.timeout[slots])[:, None])[:, None, :]
        # A call stands in the middle of its bin: the next second is half this bin, half the next.
        hit, miss, to_ring, to_media = (_between(rate) for rate in (answer, fail, ring, media))
        total = hit + miss + to_ring + to_media
        stay = np.exp(-total)
        some = (1 - stay) / np.maximum(total, _SHORT(1e-9)) * alive
        stay *= alive
        hit, to_ring, to_media = hit * some, to_ring * some, to_media * some
        within = np.zeros((_STEPS, len(slots), phases, ages), dtype=_SHORT)
        for j in range(1, _STEPS):
            step, before = within[j], within[j - 1]
            np.multiply(stay[..., :-1], before[..., 1:], out=step[..., :-1])
            step += hit
            if phases > 1:
                step[:, 0, :-1] += to_ring[:, 0, :-1] * before[:, 1, 1:]
                step[:, 0, :-1] += to_media[:, 0, :-1] * before[:, 2, 1:]
                step[:, 1, :-1] += to_media[:, 1, :-1] * before[:, 2, 1:]
        first, second = within[_LOW], within[_LOW + 1]
        second -= first
        second *= _PART
        first += second
        return np.ascontiguousarray(np.moveaxis(first, 0, -1))


def moments(chance: Array) -> Array:
    """(..., horizons) chances to (..., 3, horizons): mean, variance, third central moment."""
    out = np.empty((*chance.shape[:-1], 3, chance.shape[-1]), dtype=chance.dtype)
    out[..., 0, :] = chance
    spread = chance * (1 - chance)
    out[..., 1, :] = spread
    np.multiply(spread, 1 - 2 * chance, out=out[..., 2, :])
    return out


def _later(chance: Array, delay: Floats) -> Array:
    """Distribution functions on MIDDLES (slots, ..., horizons), each `delay` s later."""
    at = MIDDLES[None, :] - delay[:, None]
    high = np.clip(np.searchsorted(MIDDLES, at.ravel()).reshape(at.shape), 1, HORIZONS - 1)
    low = high - 1
    part = np.clip((at - MIDDLES[low]) / (MIDDLES[high] - MIDDLES[low]), 0.0, 1.0).astype(_SHORT)
    wide = (len(delay), 1, 1, HORIZONS)
    first = np.take_along_axis(chance, low.reshape(wide), axis=-1)
    second = np.take_along_axis(chance, high.reshape(wide), axis=-1)
    moved = first * (1 - part.reshape(wide)) + second * part.reshape(wide)
    early = chance[..., :1] * np.clip(at / MIDDLES[0], 0.0, 1.0).astype(_SHORT).reshape(wide)
    shifted: Array = np.where(at.reshape(wide) < MIDDLES[0], early, moved)
    return shifted


def _between(rate: Array) -> Array:
    out = rate.copy()
    out[..., :-1] += rate[..., 1:]
    out[..., :-1] /= 2
    return out
