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

from pacing.learning.grid import AGES, HORIZONS, PHASES
from pacing.learning.landing import SHORT, later, moments, smooth, within
from pacing.learning.level import Changes
from pacing.learning.prior import answer_hazard
from pacing.learning.shrink import weight
from pacing.learning.site import Start, start
from pacing.seen import Kind, Seen
from pacing.state import Array, Flags, Floats, Ints, Ragged

#: Phase by `pacing.state.Signal`.
PHASE_OF = np.array([0, 0, 1, 2], dtype=np.int64)
_ENDS = np.array([Kind.ANSWERED, Kind.FAILED, Kind.RANG_OUT, Kind.CANCELLED])
# Before anything is seen more people answer than usual, and later: the safe side, since who has not
# answered early is not taken for somebody who will not. Weights are in events.
_PRIOR = answer_hazard(AGES, share=0.40, mean=14.0, cv=0.45, timeout=30.0).astype(np.float32)
_PRIOR_FAIL = np.where(np.arange(AGES) < 8, 0.01, 0.002).astype(np.float32)
_GENERAL = Start(_PRIOR, _PRIOR_FAIL, 8.0)
_CELL_WEIGHT, _CELLS = 8.0, 4.0  # answers; for how many cells that counts
_ENOUGH, _SOME = 10.0, 20.0  # answers from which a cell, a slot says how they differ
_DOUBT = 0.7  # standard deviations by which the level is taken higher than it was seen
_BIN_WEIGHT = 4.0  # answers that a bin needs to outweigh the shape
_MEMORY = 800.0  # answers after which a share 1/e is left
_LEAST_KEPT = 0.01  # of the past, before it is brought into the counts
_KNOWN = 60.0  # answers from which an alarm is believed
_AFTER_CHANGE = 40.0  # answers' worth of shape kept when the level changed
_ONE = SHORT(1)


class RingModel:
    """Per place: what ends a call that rings, by age (1-s bins) and phase."""

    def __init__(self) -> None:
        shape = (0, PHASES, AGES)
        self.answered, self.failed, self.left = (np.zeros(shape, dtype=SHORT) for _ in range(3))
        self.entered = np.zeros(shape, dtype=SHORT)  # came from a weaker phase
        self.moved = np.zeros((0, 2, PHASES, AGES), dtype=SHORT)  # to phase 1, to phase 2
        # The past fades by one factor per slot, brought into the arrays when they are read; until
        # then what comes counts for more.
        self._keep = np.zeros(0)
        self._total = np.zeros(0)  # answers, faded
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
        for name in (
            "answered",
            "failed",
            "left",
            "entered",
            "moved",
            "lands",
            "rate",
            "fail",
            "move",
        ):
            array = getattr(self, name)
            bigger = np.zeros((slots, *array.shape[1:]), dtype=array.dtype)
            bigger[:old] = array
            setattr(self, name, bigger)
        self.timeout = np.concatenate([self.timeout, np.full(slots - old, 25.0)])
        self._keep = np.concatenate([self._keep, np.ones(slots - old)])
        self._total = np.concatenate([self._total, np.zeros(slots - old)])
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
            self._total[cells], self._expected[cells], usual=_CELL_WEIGHT, parts=_CELLS
        )
        slots = np.flatnonzero((self.parent < 0) & (self._total >= _SOME)) if site else cells[:0]
        if not len(slots):
            return
        self._bring(slots)
        risk = self._at_risk(slots, np.zeros((len(slots), PHASES, AGES), dtype=SHORT), AGES)
        answered, failed, seconds = (
            smooth(a.sum(1).astype(np.float64))
            for a in (self.answered[slots], self.failed[slots], risk)
        )
        self._start = start(answered, failed, seconds, _GENERAL)

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
        one = (1.0 / self._keep[seen.slot]).astype(SHORT)
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
            self._bring(low)

    def _bring(self, slots: Ints) -> None:
        """Bring what has faded of these slots into their arrays."""
        some = slots[self._keep[slots] < 1.0]
        keep = self._keep[some].astype(SHORT)
        for array in self._counts:
            array[some] *= keep.reshape(-1, *[1] * (array.ndim - 1))
        self._keep[some] = 1.0

    @property
    def _counts(self) -> tuple[Array, ...]:
        return self.answered, self.failed, self.left, self.entered, self.moved

    def notice(self, answers: Floats, due: Floats) -> tuple[Flags, Floats]:
        """Answers that came and that were due, by place: which places changed, by what ratio.

        What changes with a whole campaign changes with those of its cells that are known; what a
        cell does of its own is no matter of its campaign's."""
        changed, ratio = self.changes.note(answers, due, self.known)
        cells = self.cells
        if not len(cells) or not changed.any():
            return changed, ratio
        of = self.parent[cells]
        whole = changed[of]
        alone = changed[cells] & ~whole
        self.changes.clear(cells[whole])
        self.changes.clear(of[alone])
        changed[cells] = alone | (whole & self.known[cells] & (due[cells] > 0))
        ratio[cells[whole]] = ratio[of[whole]]
        return changed, ratio

    def change(self, slots: Ints, ratio: Floats, ringing: Floats) -> None:
        """The level changed by `ratio`: keep the shape, with little weight, at the new level; not
        less than what rings (calls), since that has been ringing at the old level too."""
        self._bring(slots)
        keep = np.maximum(_AFTER_CHANGE, ringing / 2)
        weight = np.minimum(keep / np.maximum(self._total[slots], 1e-9), 1.0)
        for array in self._counts:
            array[slots] *= weight.reshape(-1, *[1] * (array.ndim - 1)).astype(SHORT)
        self.answered[slots] *= ratio[:, None, None].astype(SHORT)
        self._total[slots] *= weight * ratio

    def expect(self, slots: Ints, ratio: Floats) -> None:
        """The hour turns, and with it the level by `ratio`, as it did on other days. A rise is
        believed at once, a fall on less evidence than usual."""
        for some, up in ((ratio > 1.0, True), (ratio < 1.0, False)):
            if not some.any():
                continue
            factor = np.ones(self.slots)
            factor[slots[some]] = ratio[some]
            beneath = self.cells
            factor[beneath] = factor[self.parent[beneath]]
            at = np.flatnonzero(factor != 1.0)
            if up:
                self.answered[at] *= factor[at, None, None].astype(SHORT)
                self._total[at] *= factor[at]
            else:
                self.changes.expect_fall(at)

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
                self._refresh(part, self._now(part, ringing, signal), share[some], delay[some])

    def _refresh(self, slots: Ints, now: Array, share: Floats, delay: Floats) -> None:
        self._bring(slots)
        ages = int(min(np.floor(self.timeout[slots]).max() + 1, AGES))
        # Without signals all phases are alike.
        phases = PHASES if self.entered[slots].any() else 1
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

    def _now(self, slots: Ints, ringing: Ragged, signal: Ints) -> Array:
        """Calls that ring now: (slots, phases, ages)."""
        now = np.zeros((len(slots), PHASES, AGES), dtype=SHORT)
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
        prior, least = self._start.answer[:ages], self._start.weight
        expected = (risk * prior).sum((1, 2))
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
        fail = (smooth(self.failed[slots, :, :ages]) + 0.5) / (risk + 0.5 / self._start.fail[:ages])
        moved = self.moved[slots, :, :, :ages]
        move: Array = smooth(moved) / (risk[:, None] + 2) if moved.any() else moved
        return answer * doubt[:, None, None], fail, move

    def _leaning(self, slots: Ints, now: Array, ages: int) -> tuple[Array, Array, Array]:
        """The same for cells: level and shape from their slot's, as far as they have seen little
        themselves."""
        of, least = self.parent[slots], self._cell_weight
        risk = smooth(self._at_risk(slots, now, ages))
        answered = smooth(self.answered[slots, :, :ages])
        shape = self.rate[of, :, :ages] / self._doubt[of, None, None]
        expected = (risk * shape).sum((1, 2))
        total = answered.sum((1, 2))
        self._expected[slots] = expected
        shape *= ((total + least) / (expected + least))[:, None, None]
        answer = (answered + _BIN_WEIGHT * 0.25) / (
            risk + _BIN_WEIGHT * 0.25 / np.maximum(shape, 1e-6)
        )
        fail = np.maximum(self.fail[of, :, :ages], 1e-6)
        fail = (smooth(self.failed[slots, :, :ages]) + 0.5) / (risk + 0.5 / fail)
        move = self.move[of, :, :, :ages] * 2 + smooth(self.moved[slots, :, :, :ages])
        doubt = self._doubt[slots] = 1.0 + _DOUBT / np.sqrt(total + least)
        return answer * doubt[:, None, None], fail, move / (risk[:, None] + 2)

    def _at_risk(self, slots: Ints, now: Array, ages: int) -> Array:
        """Seconds spent ringing in each phase and bin. Who ended or stands in a bin spent half."""
        # Who left a bin less who came into it there: one sum over later bins for both.
        gone = self.left[slots] - self.entered[slots] + now
        reached = np.cumsum(gone[..., ::-1], axis=-1)[..., ::-1] - gone / 2
        return np.maximum(reached[..., :ages], 0)
