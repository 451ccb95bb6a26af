"""When ringing calls are answered or fail, from hazards by age and by what the network said.

Rates are taken from exposure (events among the calls that got to an age), not from finished calls:
busy signals come back sooner than answers, so that finished calls read far too low at first. Calls
that still ring, rang out or were given up count for as long as they rang (Kaplan and Meier 1958).

A place is a slot (a campaign), or a cell beneath it (a list over a route): what is seen of a cell
counts for its slot too, and a cell leans on its slot where it has seen little. A slot leans on its
site, or on what is assumed everywhere.
"""

from __future__ import annotations

import numpy as np

from pacing.learning.counts import Counts
from pacing.learning.grid import AGES, HORIZONS, PHASES
from pacing.learning.landing import SHORT, later, moments, smooth, within
from pacing.learning.level import Changes
from pacing.learning.prior import answer_hazard
from pacing.learning.shrink import weight
from pacing.learning.site import Start, start
from pacing.state import Array, Flags, Floats, Ints, Ragged

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
    ],
    dtype=SHORT,
)
_PRIOR_FAIL = np.where(np.arange(AGES) < 8, 0.01, 0.002).astype(SHORT)
_GENERAL = Start(_PRIORS[-1], _PRIOR_FAIL, 8.0)
_CELL_WEIGHT, _CELLS = 8.0, 4.0  # answers; for how many cells that counts
_ENOUGH, _SOME = 10.0, 20.0  # answers from which a cell, a slot says how they differ
_DOUBT = 0.7  # standard deviations by which the level is taken higher than it was seen
_BIN_WEIGHT = 4.0  # answers that a bin needs to outweigh the shape


class RingModel:
    """Per place: what ends a call that rings, by age (1-s bins) and phase."""

    def __init__(self) -> None:
        shape = (0, PHASES, AGES)
        self.counts = Counts()
        self.changes = Changes()
        self.timeout = np.zeros(0)
        #: Of a person landing within MIDDLES, by phase and age: chance, variance, third moment.
        self.lands = np.zeros((*shape, 3, HORIZONS), dtype=np.float32)
        self.rate = np.zeros(shape, dtype=SHORT)  # answers per second
        self.fail = np.zeros(shape, dtype=SHORT)
        self.move = np.zeros((0, 2, PHASES, AGES), dtype=SHORT)
        self._doubt = np.ones(0, dtype=SHORT)
        #: The slot a cell is beneath, -1 for slots.
        self.parent = np.zeros(0, dtype=np.int64)
        self._expected = np.zeros(0)  # answers of a cell if it were like its slot
        self._start, self._cell_weight = _GENERAL, _CELL_WEIGHT
        self._reach = 0  # ages that any table was ever filled for

    @property
    def slots(self) -> int:
        return len(self.timeout)

    def grow(self, slots: int) -> None:
        """Room for `slots`; new ones start from the prior."""
        old = self.slots
        if slots <= old:
            return
        self.counts.grow(slots)
        for name in ("lands", "rate", "fail", "move"):
            array = getattr(self, name)
            bigger = np.zeros((slots, *array.shape[1:]), dtype=array.dtype)
            bigger[:old] = array
            setattr(self, name, bigger)
        self.timeout = np.concatenate([self.timeout, np.full(slots - old, 25.0)])
        self._expected = np.concatenate([self._expected, np.zeros(slots - old)])
        self._doubt = np.concatenate([self._doubt, np.ones(slots - old, dtype=SHORT)])
        self.parent = np.concatenate([self.parent, np.full(slots - old, -1)])
        self.changes.grow(slots)
        new = np.arange(old, slots)
        one, zero = np.ones(len(new)), np.zeros(len(new))
        self.refresh(new, Ragged(), np.zeros(0, dtype=np.int64), share=one, delay=zero)

    def settle(self, cells: Ints, slots: Ints) -> Ints:
        """Each of `cells` is beneath the slot beside it; returns those that were not before."""
        new = np.flatnonzero((self.parent[cells] != slots) & (cells != slots))
        self.parent[cells[new]] = slots[new]
        return np.unique(cells[new])

    @property
    def owner(self) -> Ints:
        """The slot of every place: a cell's, or itself."""
        return np.where(self.parent >= 0, self.parent, np.arange(self.slots))

    @property
    def cells(self) -> Ints:
        """All cells."""
        return np.flatnonzero(self.parent >= 0)

    def look_around(self, *, site: bool) -> None:
        """How much cells differ from their slots, and, of a `site`, what its slots have in
        common."""
        cells = self.cells
        cells = cells[self._expected[cells] >= _ENOUGH]
        self._cell_weight = weight(
            self.counts.total[cells], self._expected[cells], usual=_CELL_WEIGHT, parts=_CELLS
        )
        slots = (
            np.flatnonzero((self.parent < 0) & (self.counts.total >= _SOME)) if site else cells[:0]
        )
        if not len(slots):
            return
        self.counts.bring(slots)
        risk = self.counts.at_risk(slots, np.zeros((len(slots), PHASES, AGES), dtype=SHORT), AGES)
        answered, failed, seconds = (
            smooth(a.sum(1).astype(np.float64))
            for a in (self.counts.answered[slots], self.counts.failed[slots], risk)
        )
        self._start = start(answered, failed, seconds, _GENERAL)

    def notice(self, answers: Floats, due: Floats) -> tuple[Flags, Floats]:
        """Answers that came and that were due, by place: which places changed, by what ratio.

        What changes with a whole campaign changes with those of its cells that are known; what a
        cell does of its own is no matter of its campaign's."""
        changed, ratio = self.changes.note(answers, due, self.counts.known)
        cells = self.cells
        if not len(cells) or not changed.any():
            return changed, ratio
        of = self.parent[cells]
        whole = changed[of]
        alone = changed[cells] & ~whole
        self.changes.clear(cells[whole])
        self.changes.clear(of[alone])
        changed[cells] = alone | (whole & self.counts.known[cells] & (due[cells] > 0))
        ratio[cells[whole]] = ratio[of[whole]]
        return changed, ratio

    def expect(self, slots: Ints, ratio: Floats) -> Flags:
        """The hour turns, and with it the level by `ratio`, as it did on other days. A rise is
        believed at once, a fall on less evidence than usual. Returns the places that have risen."""
        risen = np.zeros(self.slots, dtype=bool)
        for some, up in ((ratio > 1.0, True), (ratio < 1.0, False)):
            if not some.any():
                continue
            factor = np.ones(self.slots)
            factor[slots[some]] = ratio[some]
            beneath = self.cells
            factor[beneath] = factor[self.parent[beneath]]
            at = np.flatnonzero(factor != 1.0)
            if up:
                self.counts.scale(at, factor[at])
                risen[at] = True
            else:
                self.changes.expect_fall(at)
        return risen

    def refresh(
        self, slots: Ints, ringing: Ragged, signal: Ints, *, share: Floats, delay: Floats
    ) -> None:
        """Compute the tables of these slots anew. `ringing.row` holds slots here; `share` of the
        answers are persons, known as such after `delay` s (both for each of `slots`)."""
        beneath = self.parent[slots] >= 0
        # Slots first: cells lean on them.
        for some in (~beneath, beneath) if beneath.any() else (np.ones(len(slots), dtype=bool),):
            if some.any():
                part = slots[some]
                self._refresh(
                    part, self.counts.ringing(part, ringing, signal), share[some], delay[some]
                )

    def _refresh(self, slots: Ints, now: Array, share: Floats, delay: Floats) -> None:
        self.counts.bring(slots)
        ages = int(min(np.floor(self.timeout[slots]).max() + 1, AGES))
        # Without signals all phases are alike.
        phases = PHASES if self.counts.entered[slots].any() else 1
        rising = self.changes.rising()
        if self.parent[slots[0]] < 0:
            answer, fail, move = self._hazards(slots, now, ages)
            rising = rising[slots]
        else:
            answer, fail, move = self._leaning(slots, now, ages)
            rising = np.maximum(rising[slots], rising[self.parent[slots]])
            # The cell's slot may have had signals that it has not.
            phases = PHASES if move.any() else phases
        self.rate[slots, :, :ages] = answer
        self.fail[slots, :, :ages], self.move[slots, :, :, :ages] = fail, move
        answer *= rising.astype(SHORT)[:, None, None]
        rates = (rate[:, :phases] for rate in (answer, fail, move[:, 0], move[:, 1]))
        chance = within(self.timeout[slots], *rates)
        if delay.any():
            chance = later(chance, delay)
        chance *= share.astype(SHORT)[:, None, None, None]
        self.lands[slots, :, :ages] = moments(chance)
        if self._reach > ages:  # a shorter timeout than some slot has, or had
            self.lands[slots, :, ages:] = 0.0
        self._reach = max(self._reach, ages)

    def _hazards(self, slots: Ints, now: Array, ages: int) -> tuple[Array, Array, Array]:
        """Per second of ringing up to `ages`: answers, failures, moves to a stronger phase (2 x).
        (slots, phases, ages); moves (slots, 2, phases, ages)."""
        risk = smooth(self.counts.at_risk(slots, now, ages))
        answered = smooth(self.counts.answered[slots, :, :ages])
        prior = _PRIORS[np.minimum(self.timeout[slots], _USUAL_TIMEOUT).astype(np.int64), :ages]
        if self._start is not _GENERAL:
            # What other campaigns saw in longer ringing is no reason to expect nobody in shorter.
            prior = np.maximum(prior, self._start.answer[:ages])
        least = self._start.weight
        expected = (risk * prior[:, None]).sum((1, 2))
        total = answered.sum((1, 2))
        level = (total + least) / (expected + least)
        doubt = self._doubt[slots] = 1.0 + _DOUBT / np.sqrt(total + least)
        shape = level[:, None] * prior
        # All phases together first, then each phase leans on that where it has seen little.
        both = (answered.sum(1) + _BIN_WEIGHT * 0.25) / (
            risk.sum(1) + _BIN_WEIGHT * 0.25 / np.maximum(shape, 1e-6)
        )
        answer = (answered + _BIN_WEIGHT * 0.25) / (
            risk + _BIN_WEIGHT * 0.25 / np.maximum(both[:, None, :], 1e-6)
        )
        fail = (smooth(self.counts.failed[slots, :, :ages]) + 0.5) / (
            risk + 0.5 / self._start.fail[:ages]
        )
        moved = self.counts.moved[slots, :, :, :ages]
        move: Array = smooth(moved) / (risk[:, None] + 2) if moved.any() else moved
        return answer * doubt[:, None, None], fail, move

    def _leaning(self, slots: Ints, now: Array, ages: int) -> tuple[Array, Array, Array]:
        """The same for cells: level and shape from their slot's, as far as they have seen little
        themselves."""
        of, least = self.parent[slots], self._cell_weight
        risk = smooth(self.counts.at_risk(slots, now, ages))
        answered = smooth(self.counts.answered[slots, :, :ages])
        shape = self.rate[of, :, :ages] / self._doubt[of, None, None]
        expected = (risk * shape).sum((1, 2))
        total = answered.sum((1, 2))
        self._expected[slots] = expected
        shape *= ((total + least) / (expected + least))[:, None, None]
        answer = (answered + _BIN_WEIGHT * 0.25) / (
            risk + _BIN_WEIGHT * 0.25 / np.maximum(shape, 1e-6)
        )
        fail = np.maximum(self.fail[of, :, :ages], 1e-6)
        fail = (smooth(self.counts.failed[slots, :, :ages]) + 0.5) / (risk + 0.5 / fail)
        move = self.move[of, :, :, :ages] * 2 + smooth(self.counts.moved[slots, :, :, :ages])
        doubt = self._doubt[slots] = 1.0 + _DOUBT / np.sqrt(total + least)
        return answer * doubt[:, None, None], fail, move / (risk[:, None] + 2)
