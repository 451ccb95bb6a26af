"""When ringing calls are answered or fail, from hazards by age and by what the network said.

Rates are taken from exposure (events among the calls that got to an age), not from finished calls:
busy signals come back sooner than answers, so that finished calls read far too low at first. Calls
that still ring, rang out or were given up count for as long as they rang (Kaplan and Meier 1958).
"""

from __future__ import annotations

import numpy as np

from pacing.learning.grid import AGES, AHEAD, HORIZONS, MIDDLES, PHASES
from pacing.learning.level import Changes
from pacing.learning.prior import answer_hazard
from pacing.seen import Kind, Seen
from pacing.state import Flags, Floats, Ints, Ragged

#: Phase by `pacing.state.Signal`.
PHASE_OF = np.array([0, 0, 1, 2], dtype=np.int64)
_ENDS = np.array([Kind.ANSWERED, Kind.FAILED, Kind.RANG_OUT, Kind.CANCELLED])
# Before anything is seen more people answer than usual, and later: the safe side, since who has not
# answered early is not taken for somebody who will not. Where calls may ring for less than usual,
# as many answer in that shorter time: else hardly anybody would be expected to, and far too many
# calls be placed. By ring timeout in whole s (the last row for all that are longer), by age.
# Weights are in events.
_USUAL_TIMEOUT = 25  # s
_PRIORS = np.array(
    [
        answer_hazard(AGES, share=0.40, mean=14.0 * short, cv=0.45, timeout=30.0 * short)
        for short in np.maximum(np.arange(_USUAL_TIMEOUT + 1), 1) / _USUAL_TIMEOUT
    ]
)
_PRIOR_FAIL = np.where(np.arange(AGES) < 8, 0.01, 0.002)
_LEVEL_WEIGHT = 8.0  # answers
_DOUBT = 0.7  # standard deviations by which the level is taken higher than it was seen
_BIN_WEIGHT = 4.0  # answers that a bin needs to outweigh the shape
_MEMORY = 800.0  # answers after which a share 1/e is left
_KNOWN = 60.0  # answers from which an alarm is believed
_AFTER_CHANGE = 40.0  # answers' worth of shape kept when the level changed
_SMOOTH = np.array([0.25, 0.5, 0.25])


def smooth(values: Floats) -> Floats:
    """A triangle of three neighbours along the last axis; sums are kept but at the ends."""
    out: Floats = values * _SMOOTH[1]
    out[..., 1:] += values[..., :-1] * _SMOOTH[0]
    out[..., :-1] += values[..., 1:] * _SMOOTH[2]
    out[..., 0] += values[..., 0] * _SMOOTH[0]
    out[..., -1] += values[..., -1] * _SMOOTH[2]
    return out


class RingModel:
    """Per slot: what ends a call that rings, by age (1-s bins) and phase."""

    def __init__(self) -> None:
        shape = (0, PHASES, AGES)
        self.answered, self.failed, self.left = (np.zeros(shape) for _ in range(3))
        self.entered = np.zeros(shape)  # came from a weaker phase
        self.moved = np.zeros((0, 2, PHASES, AGES))  # to phase 1, to phase 2
        self.changes = Changes()
        self.timeout = np.zeros(0)
        #: Of a person landing within MIDDLES, by phase and age: chance, variance, third moment.
        self.lands = np.zeros((*shape, 3, HORIZONS), dtype=np.float32)
        self.rate = np.zeros(shape)  # answers per second

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
        self.changes.grow(slots)
        new = np.arange(old, slots)
        one, zero = np.ones(len(new)), np.zeros(len(new))
        self.refresh(new, Ragged(), np.zeros(0, dtype=np.int64), share=one, delay=zero)

    @property
    def known(self) -> Flags:
        """Slots with enough answers to tell a fall."""
        enough: Flags = self.answered.sum((1, 2)) >= _KNOWN
        return enough

    def note(self, seen: Seen) -> Floats:
        """Count events; returns the answers per slot among them."""
        age = np.clip(seen.seconds, 0, AGES - 1).astype(np.int64)
        phase = PHASE_OF[seen.signal]
        ends = np.isin(seen.kind, _ENDS)
        answers = seen.kind == Kind.ANSWERED
        fails = seen.kind == Kind.FAILED
        at = (seen.slot, phase, age)
        for mask, array in ((ends, self.left), (answers, self.answered), (fails, self.failed)):
            np.add.at(array, tuple(index[mask] for index in at), 1.0)
        steps = seen.kind == Kind.PROGRESS
        if steps.any():
            slot, old, bins = (index[steps] for index in at)
            new = PHASE_OF[seen.became[steps]]
            real = new > old
            slot, old, new, bins = slot[real], old[real], new[real], bins[real]
            np.add.at(self.left, (slot, old, bins), 1.0)
            np.add.at(self.moved, (slot, new - 1, old, bins), 1.0)
            np.add.at(self.entered, (slot, new, bins), 1.0)
        return np.bincount(seen.slot[answers], minlength=self.slots).astype(np.float64)

    def forget(self, answers: Floats) -> None:
        """Let the past fade by as many answers as came, so that the present weighs."""
        some = np.flatnonzero(answers)
        keep = np.exp(-answers[some] / _MEMORY)
        for array in (self.answered, self.failed, self.left, self.entered, self.moved):
            array[some] *= keep.reshape(-1, *[1] * (array.ndim - 1))

    def change(self, slots: Ints, ratio: Floats, ringing: Floats) -> None:
        """The level changed by `ratio`: keep the shape, with little weight, at the new level; not
        less than what rings (calls), since that has been ringing at the old level too."""
        total = self.answered[slots].sum((1, 2))
        keep = np.maximum(_AFTER_CHANGE, ringing / 2)
        weight = np.minimum(keep / np.maximum(total, 1e-9), 1.0)
        for array in (self.answered, self.failed, self.left, self.entered, self.moved):
            array[slots] *= weight.reshape(-1, *[1] * (array.ndim - 1))
        self.answered[slots] *= ratio[:, None, None]

    def refresh(
        self, slots: Ints, ringing: Ragged, signal: Ints, *, share: Floats, delay: Floats
    ) -> None:
        """Compute the tables of these slots anew. `ringing.row` holds slots here; `share` of the
        answers are persons, known as such after `delay` s (both for each of `slots`)."""
        if not len(slots):
            return
        where = np.full(self.slots, -1)
        where[slots] = np.arange(len(slots))
        mine = where[ringing.row] >= 0 if len(ringing.row) else np.zeros(0, dtype=bool)
        now = np.zeros((len(slots), PHASES, AGES))
        np.add.at(
            now,
            (
                where[ringing.row[mine]],
                PHASE_OF[signal[mine]],
                np.clip(ringing.seconds[mine], 0, AGES - 1).astype(np.int64),
            ),
            1.0,
        )
        answer, fail, move = self._hazards(slots, now)
        rising = self.changes.rising()[slots][:, None, None]
        self.rate[slots] = answer
        within = self._within(slots, answer * rising, fail, move)
        if delay.any():
            within = _later(within, delay)
        self.lands[slots] = moments(within * share[:, None, None, None])

    def _hazards(self, slots: Ints, now: Floats) -> tuple[Floats, Floats, Floats]:
        """Per second of ringing: answers, failures, moves to a stronger phase (2 x)."""
        risk = self._at_risk(slots, now)
        answered, failed = smooth(self.answered[slots]), smooth(self.failed[slots])
        risk = smooth(risk)
        prior = _PRIORS[np.clip(self.timeout[slots], 0, _USUAL_TIMEOUT).astype(np.int64)]
        expected = (risk * prior[:, None]).sum((1, 2))
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
        fail = (failed + 0.5) / (risk + 0.5 / _PRIOR_FAIL)
        move = smooth(self.moved[slots]) / (risk[:, None] + 2.0)
        return answer * doubt[:, None, None], fail, move

    def _at_risk(self, slots: Ints, now: Floats) -> Floats:
        """Seconds spent ringing in each phase and bin. Who ended or stands in a bin spent half."""
        gone = self.left[slots] + now
        reached = np.cumsum(gone[..., ::-1], axis=-1)[..., ::-1] - gone / 2
        later = self.entered[slots]
        after = np.cumsum(later[..., ::-1], axis=-1)[..., ::-1] - later / 2
        return np.maximum(reached - after, 0.0)

    def _within(self, slots: Ints, answer: Floats, fail: Floats, move: Floats) -> Floats:
        """P(answered within j s), backwards from the ring timeout: each second competing risks."""
        timeout = np.floor(self.timeout[slots])
        ages = int(min(timeout.max() + 1, AGES))
        # Without signals all phases are alike.
        phases = PHASES if self.entered[slots].any() else 1
        alive = (np.arange(ages)[None, :] < timeout[:, None])[:, None, :]
        # A call stands in the middle of its bin: the next second is half this bin, half the next.
        hit, miss, to_ring, to_media = (
            _between(rate[:, :phases, :ages]) for rate in (answer, fail, move[:, 0], move[:, 1])
        )
        total = hit + miss + to_ring + to_media
        some = -np.expm1(-total) / np.maximum(total, 1e-12) * alive
        hit, to_ring, to_media = hit * some, to_ring * some, to_media * some
        stay = np.exp(-total) * alive
        within = np.zeros((AHEAD + 1, len(slots), phases, ages))
        for j in range(1, AHEAD + 1):
            step, before = within[j], within[j - 1]
            np.multiply(stay[..., :-1], before[..., 1:], out=step[..., :-1])
            step += hit
            if phases > 1:
                step[:, 0, :-1] += to_ring[:, 0, :-1] * before[:, 1, 1:]
                step[:, 0, :-1] += to_media[:, 0, :-1] * before[:, 2, 1:]
                step[:, 1, :-1] += to_media[:, 1, :-1] * before[:, 2, 1:]
        low = np.floor(MIDDLES).astype(np.int64)
        part = (MIDDLES - low)[:, None, None, None]
        picked = within[low] * (1 - part) + within[np.minimum(low + 1, AHEAD)] * part
        table = np.zeros((len(slots), PHASES, AGES, HORIZONS))
        table[:, :, :ages] = np.moveaxis(picked, 0, -1)
        return table


def moments(chance: Floats) -> Floats:
    """(..., horizons) chances to (..., 3, horizons): mean, variance, third central moment."""
    spread = chance * (1 - chance)
    return np.stack([chance, spread, spread * (1 - 2 * chance)], axis=-2)


def _later(chance: Floats, delay: Floats) -> Floats:
    """Distribution functions on MIDDLES (slots, ..., horizons), each `delay` s later."""
    at = MIDDLES[None, :] - delay[:, None]
    high = np.clip(np.searchsorted(MIDDLES, at.ravel()).reshape(at.shape), 1, HORIZONS - 1)
    low = high - 1
    part = np.clip((at - MIDDLES[low]) / (MIDDLES[high] - MIDDLES[low]), 0.0, 1.0)
    wide = (len(delay), 1, 1, HORIZONS)
    first = np.take_along_axis(chance, low.reshape(wide), axis=-1)
    second = np.take_along_axis(chance, high.reshape(wide), axis=-1)
    moved = first * (1 - part.reshape(wide)) + second * part.reshape(wide)
    early = chance[..., :1] * np.clip(at / MIDDLES[0], 0.0, 1.0).reshape(wide)
    shifted: Floats = np.where(at.reshape(wide) < MIDDLES[0], early, moved)
    return shifted


def _between(rate: Floats) -> Floats:
    out = rate.copy()
    out[..., :-1] += rate[..., 1:]
    out[..., :-1] /= 2
    return out
