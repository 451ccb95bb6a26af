"""What happened since the last decision, as arrays: what the engine learns from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np

from pacing.state import Flags, Floats, Ints


class Kind(IntEnum):
    """One thing that happened; `seconds` of an event is what is said here."""

    ANSWERED = 0  # somebody or something picked up: s since dial
    FAILED = 1  # busy, rejected, invalid, congestion: s since dial
    RANG_OUT = 2  # the ring timeout: s since dial
    CANCELLED = 3  # given up by us: s since dial
    PROGRESS = 4  # a stronger signal came (`became`): s since dial
    PERSON = 5  # analysed: a person; without analysis at once: s since the answer
    MACHINE = 6  # analysed: not a person: s since the answer
    TALK_ENDED = 7  # s of talk
    WRAP_ENDED = 8  # s of wrap-up
    CONNECTED = 9  # a person met an agent: s waited
    ABANDONED = 10  # a person met nobody within the window: s waited
    GAVE_UP = 11  # a person hung up before the window was over: s waited
    PLACED = 12  # a call was placed: 0


def _ints() -> Ints:
    return np.zeros(0, dtype=np.int64)


def _floats() -> Floats:
    return np.zeros(0, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Seen:
    """Events since the last decision, equally long arrays.

    `slot`: see `PacingInput`; `signal`: the strongest signal of the call before this event
    (`pacing.state.Signal`), 0 where there is none; `became`: the signal of a PROGRESS event, else
    0. `signal` and `became` may be left out when there are none. `cell`: of a call, see
    `PacingInput`; `agent`: the number of the agent whose talk or wrap-up ended; both may be left
    out, and are less than 0 for none."""

    kind: Ints = field(default_factory=_ints)
    slot: Ints = field(default_factory=_ints)
    seconds: Floats = field(default_factory=_floats)
    signal: Ints = field(default_factory=_ints)
    became: Ints = field(default_factory=_ints)
    cell: Ints = field(default_factory=_ints)
    agent: Ints = field(default_factory=_ints)

    def __post_init__(self) -> None:
        n = len(self.kind)
        for name in ("cell", "agent"):
            if getattr(self, name).shape not in ((0,), (n,)):
                raise ValueError(
                    f"{name}: expected shape ({n},) or (0,), got {getattr(self, name).shape}"
                )
        for name in ("signal", "became"):
            if getattr(self, name).shape == (0,):
                object.__setattr__(self, name, np.zeros(n, dtype=np.int64))
        for name in ("slot", "seconds", "signal", "became"):
            if getattr(self, name).shape != (n,):
                raise ValueError(f"{name}: expected shape ({n},), got {getattr(self, name).shape}")

    def part(self, at: slice | Flags | Ints) -> Seen:
        """Some of the events."""
        return Seen(
            self.kind[at], self.slot[at], self.seconds[at], self.signal[at], self.became[at],
            *(a[at] if len(a) else a for a in (self.cell, self.agent)),
        )  # fmt: skip

    @property
    def of_cells(self) -> Seen:
        """The events of calls that have a cell, as events of that cell."""
        if not len(self.cell):
            return Seen()
        mine = self.part((self.cell >= 0) & (self.cell != self.slot))
        return replace(mine, slot=mine.cell, cell=_ints(), agent=_ints())
