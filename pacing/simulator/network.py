"""Calls between dialing and the answer: what is ringing, what the network says, how it ends.

Calls live in numbered places of preallocated columns; `ringing` and `analysing` list the places in
use, oldest call first, so that a view of all of them is one gather.
"""

from __future__ import annotations

import numpy as np

from pacing.simulator.fates import Fate
from pacing.simulator.scenario import Campaign, Signals
from pacing.state import Flags, Floats, Ints, Signal

RANG_OUT, FAILED, ANSWERED = range(3)


class Calls:
    """The columns. Times are s since the start of the run."""

    _FLOATS = ("placed", "ends", "talk", "wrap", "patience", "verdict", "rings", "media")
    _INTS = ("row", "slot", "cell", "outcome", "tries")
    _FLAGS = ("machine", "passes")

    def __init__(self, places: int) -> None:
        self._size = places
        self.row, self.slot, self.cell, self.outcome, self.tries = (
            np.zeros(places, dtype=np.int64) for _ in self._INTS
        )
        (
            self.placed, self.ends, self.talk, self.wrap, self.patience, self.verdict,
            self.rings, self.media,
        ) = (np.zeros(places) for _ in self._FLOATS)  # fmt: skip
        self.machine, self.passes = (np.zeros(places, dtype=np.bool_) for _ in self._FLAGS)
        self._free: Ints = np.arange(places)[::-1].copy()
        self._left = places
        self.ringing: Ints = np.zeros(0, dtype=np.int64)
        self.analysing: Ints = np.zeros(0, dtype=np.int64)

    def reserve(self, count: int) -> Ints:
        """Places for `count` new calls, which ring from now on."""
        while count > self._left:
            self._grow()
        self._left -= count
        places = self._free[self._left : self._left + count].copy()
        self.ringing = np.concatenate((self.ringing, places))
        return places

    def release(self, places: Ints) -> None:
        """These calls are over."""
        self._free[self._left : self._left + len(places)] = places
        self._left += len(places)

    def signal(self, places: Ints, times: Floats | float) -> Ints:
        """The strongest signal of each of these calls at `times`."""
        heard = np.where(self.rings[places] <= times, int(Signal.RINGING), int(Signal.TRYING))
        return np.where(self.media[places] <= times, int(Signal.EARLY_MEDIA), heard)

    def _grow(self) -> None:
        size = self._size
        for name in (*self._FLOATS, *self._INTS, *self._FLAGS):
            column = getattr(self, name)
            setattr(self, name, np.concatenate((column, np.zeros_like(column))))
        free = np.zeros(2 * size, dtype=np.int64)
        free[: self._left] = self._free[: self._left]
        free[self._left : self._left + size] = np.arange(size, 2 * size)
        self._free, self._left, self._size = free, self._left + size, 2 * size


class Network:
    """Turns draws into calls. Rows are runs times campaigns."""

    def __init__(self, campaigns: tuple[Campaign, ...], runs: int) -> None:
        def column(name: str) -> Floats:
            return np.tile([float(getattr(c, name)) for c in campaigns], runs)

        self._busy, self._timeout = column("busy"), column("timeout")
        self._patience = column("patience")
        self._number = np.tile(np.arange(len(campaigns)), runs)
        self._campaigns = campaigns
        self.has_signals = any(c.signals for c in campaigns)
        self.has_machines = any(c.machines for c in campaigns)
        self.has_analysis = any(c.machines and c.machines.analysis for c in campaigns)
        self.has_patience = any(np.isfinite(c.patience) for c in campaigns)

    def dial(
        self,
        calls: Calls,
        rows: Ints,
        fates: Floats,
        *,
        time: float,
        p: Floats,
        talk: Floats,
        later: Floats | float = 0.0,
    ) -> Ints:
        """Place calls at `time`; `p`, `talk` (mean) and `later` (s to every answer) per call.
        Returns their places."""
        at = calls.reserve(len(rows))
        luck = fates[:, Fate.ANSWER]
        answered = luck < p
        busy = ~answered & (luck > 1.0 - self._busy[rows])
        timeout = self._timeout[rows]
        seconds = np.where(answered, fates[:, Fate.RING] + later, timeout)
        answered &= seconds < timeout  # who would have answered later does not
        seconds = np.minimum(seconds, timeout)
        seconds = np.where(busy, fates[:, Fate.FAIL], seconds)
        calls.row[at] = rows
        calls.placed[at] = time
        calls.ends[at] = time + seconds
        calls.outcome[at] = np.where(answered, ANSWERED, np.where(busy, FAILED, RANG_OUT))
        calls.talk[at] = talk * fates[:, Fate.TALK]
        calls.wrap[at] = fates[:, Fate.WRAP]
        if self.has_patience:
            calls.patience[at] = self._patience[rows] * fates[:, Fate.PATIENCE]
        else:
            calls.patience[at] = np.inf
        if self.has_machines:
            self._machines(calls, at, rows, fates)
        if self.has_signals:
            self._signals(calls, at, rows, fates, answered=answered, busy=busy, seconds=seconds)
        return at

    def _machines(self, calls: Calls, at: Ints, rows: Ints, fates: Floats) -> None:
        for number, campaign in enumerate(self._campaigns):
            mine = self._number[rows] == number
            place, fate = at[mine], fates[mine]
            machines = campaign.machines
            if machines is None:
                calls.machine[place], calls.passes[place] = False, True
                calls.verdict[place] = 0.0
                continue
            machine = fate[:, Fate.MACHINE] < machines.share
            calls.machine[place] = machine
            calls.talk[place] = np.where(machine, fate[:, Fate.LISTEN], calls.talk[place])
            analysis = machines.analysis
            if analysis is None:
                calls.passes[place] = True
                calls.verdict[place] = 0.0
                continue
            wrong = fate[:, Fate.MISTAKE] < np.where(
                machine, analysis.machine_missed, analysis.person_missed
            )
            calls.passes[place] = machine == wrong
            calls.verdict[place] = fate[:, Fate.VERDICT]

    def _signals(
        self,
        calls: Calls,
        at: Ints,
        rows: Ints,
        fates: Floats,
        *,
        answered: Flags,
        busy: Flags,
        seconds: Floats,
    ) -> None:
        for number, campaign in enumerate(self._campaigns):
            mine = self._number[rows] == number
            said = campaign.signals
            if said is None:
                calls.rings[at[mine]] = calls.media[at[mine]] = np.inf
                continue
            rings, media = _said(said, fates[mine], answered[mine], busy[mine], seconds[mine])
            placed = calls.placed[at[mine]]
            calls.rings[at[mine]], calls.media[at[mine]] = placed + rings, placed + media


def _said(
    said: Signals, fates: Floats, answered: Flags, busy: Flags, seconds: Floats
) -> tuple[Floats, Floats]:
    """s after dial of 180 and of early media, inf for never."""
    luck = fates[:, Fate.SIGNAL]
    ringing = np.minimum(fates[:, Fate.RINGING], said.latest * seconds)
    dead = ~answered & ~busy
    announced = dead & (luck < said.announced)
    silent = dead & ~announced & (luck < said.announced + said.silent)
    # Of the calls that ring, the same share rings as early media whether answered or not.
    lost = np.where(dead, said.announced + said.silent, 0.0)
    tone = (luck - lost) < said.ringback * (1.0 - lost)
    heard = ~busy & ~announced & ~silent
    rings = np.where(heard & ~tone, ringing, np.inf)
    media = np.where(heard & tone, ringing, np.inf)
    return rings, np.where(announced, np.minimum(fates[:, Fate.ANNOUNCED], seconds), media)
