"""What was seen of ringing calls: events by age and phase, and the time they rang.

The past fades as answers come, so that the present weighs.
"""

from __future__ import annotations

import numpy as np

from pacing.learning.grid import AGES, PHASES
from pacing.learning.landing import SHORT
from pacing.numbers import between
from pacing.seen import Kind, Seen
from pacing.state import Array, Flags, Floats, Ints, Ragged

#: Phase by `pacing.state.Signal`.
PHASE_OF = np.array([0, 0, 1, 2], dtype=np.int64)
_ENDS = np.array([Kind.ANSWERED, Kind.FAILED, Kind.RANG_OUT, Kind.CANCELLED])
_MEMORY = 800.0  # answers after which a share 1/e is left
_LEAST_KEPT = 0.01  # of the past, before it is brought into the counts
_KNOWN = 60.0  # answers from which an alarm is believed
_AFTER_CHANGE = 40.0  # answers' worth of shape kept when the level changed
_ONE = SHORT(1)


class Counts:
    """Per place, by phase and age (1-s bins)."""

    def __init__(self) -> None:
        shape = (0, PHASES, AGES)
        self.answered, self.failed, self.left = (np.zeros(shape, dtype=SHORT) for _ in range(3))
        self.entered = np.zeros(shape, dtype=SHORT)  # came from a weaker phase
        self.moved = np.zeros((0, 2, PHASES, AGES), dtype=SHORT)  # to phase 1, to phase 2
        # The past fades by one factor per place, brought into the arrays when they are read; until
        # then what comes counts for more.
        self._keep = np.zeros(0)
        self.total = np.zeros(0)  # answers, faded

    def grow(self, places: int) -> None:
        """Room for `places`."""
        more = places - len(self.total)
        if more <= 0:
            return
        for name in ("answered", "failed", "left", "entered", "moved"):
            array = getattr(self, name)
            pad = np.zeros((more, *array.shape[1:]), dtype=array.dtype)
            setattr(self, name, np.concatenate([array, pad]))
        self._keep = np.concatenate([self._keep, np.ones(more)])
        self.total = np.concatenate([self.total, np.zeros(more)])

    @property
    def known(self) -> Flags:
        """Slots with enough answers to tell a fall."""
        enough: Flags = self.total >= _KNOWN
        return enough

    def note(self, seen: Seen) -> Floats:
        """Count events, `slot` being a place; returns the answers per place among them."""
        age = between(seen.seconds, 0, AGES - 1).astype(np.int64)
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
        count = np.bincount(seen.slot[answers], minlength=len(self.total)).astype(np.float64)
        self.total += count
        return count

    def forget(self, answers: Floats) -> None:
        """Let the past fade by as many answers as came, so that the present weighs."""
        keep = np.exp(-answers / _MEMORY)
        self._keep *= keep
        self.total *= keep
        if len(low := np.flatnonzero(self._keep < _LEAST_KEPT)):
            self.bring(low)

    def bring(self, slots: Ints) -> None:
        """Bring what has faded of these slots into their arrays."""
        some = slots[self._keep[slots] < 1.0]
        keep = self._keep[some].astype(SHORT)
        for array in self._counts:
            array[some] *= keep.reshape(-1, *[1] * (array.ndim - 1))
        self._keep[some] = 1.0

    @property
    def _counts(self) -> tuple[Array, ...]:
        return self.answered, self.failed, self.left, self.entered, self.moved

    def change(self, slots: Ints, ratio: Floats, ringing: Floats) -> None:
        """The level changed by `ratio`: keep the shape, with little weight, at the new level; not
        less than what rings (calls), since that has been ringing at the old level too."""
        self.bring(slots)
        keep = np.maximum(_AFTER_CHANGE, ringing / 2)
        weight = np.minimum(keep / np.maximum(self.total[slots], 1e-9), 1.0)
        for array in self._counts:
            array[slots] *= weight.reshape(-1, *[1] * (array.ndim - 1)).astype(SHORT)
        self.answered[slots] *= ratio[:, None, None].astype(SHORT)
        self.total[slots] *= weight * ratio

    def scale(self, places: Ints, ratio: Floats) -> None:
        """As if so many times as many had answered."""
        self.answered[places] *= ratio[:, None, None].astype(SHORT)
        self.total[places] *= ratio

    def ringing(self, slots: Ints, ringing: Ragged, signal: Ints) -> Array:
        """Calls that ring now: (slots, phases, ages)."""
        now = np.zeros((len(slots), PHASES, AGES), dtype=SHORT)
        if not len(ringing.row):
            return now
        where = np.full(len(self.total), -1)
        where[slots] = np.arange(len(slots))
        at = where[ringing.row]
        mine = np.flatnonzero(at >= 0)
        age = np.minimum(ringing.seconds[mine], AGES - 1).astype(np.int64)
        np.add.at(now, (at[mine], PHASE_OF[signal[mine]], age), _ONE)
        return now

    def at_risk(self, slots: Ints, now: Array, ages: int) -> Array:
        """Seconds spent ringing in each phase and bin. Who ended or stands in a bin spent half."""
        # Who left a bin less who came into it there: one sum over later bins for both.
        gone = self.left[slots] - self.entered[slots] + now
        reached = np.cumsum(gone[..., ::-1], axis=-1)[..., ::-1] - gone / 2
        return np.maximum(reached[..., :ages], 0)
