"""What pacing sees: all campaigns and node groups at one instant, as arrays.

A row is one campaign on one node group (the agents whose legs are there). Things of which a row has
many (ringing calls, talking agents) are ragged: one flat array with the row index beside it. Times
are seconds; nothing here knows a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Array = NDArray[np.floating]


class Mode(IntEnum):
    PREVIEW = 0
    MANUAL = 1
    PROGRESSIVE = 2
    RATIO = 3
    PREDICTIVE = 4


class Signal(IntEnum):
    """The strongest thing the network said of a ringing call."""

    NONE = 0
    TRYING = 1
    RINGING = 2
    EARLY_MEDIA = 3


def _ints() -> Ints:
    return np.zeros(0, dtype=np.int64)


def _floats() -> Floats:
    return np.zeros(0, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Ragged:
    """Many per row: `row` (which row, int64) and `seconds` (age, float64), equally long."""

    row: Ints = field(default_factory=_ints)
    seconds: Floats = field(default_factory=_floats)


@dataclass(frozen=True, slots=True)
class Trunks:
    """Shared limits. `row`/`trunk` list which row may use which trunk (pairs)."""

    lines: Floats = field(default_factory=_floats)  # free lines per trunk
    tokens: Floats = field(default_factory=_floats)  # calls that may leave now per trunk
    row: Ints = field(default_factory=_ints)
    trunk: Ints = field(default_factory=_ints)


@dataclass(frozen=True, slots=True)
class Coming:
    """The calls placed next, by cell: `share` of a row's next leads; what a row has here need not
    sum to one. A row that has nothing here is taken as a whole."""

    row: Ints = field(default_factory=_ints)
    cell: Ints = field(default_factory=_ints)
    share: Floats = field(default_factory=_floats)

    def __post_init__(self) -> None:
        n = len(self.row)
        for name in ("cell", "share"):
            if getattr(self, name).shape != (n,):
                raise ValueError(f"{name}: expected shape ({n},), got {getattr(self, name).shape}")


@dataclass(frozen=True, slots=True)
class Windows:
    """Abandon budgets that apply, as many per row as rules and centre ask for.

    `row`: whose; `live`, `abandoned`: counted in the window so far; `cap`: share of live answers;
    `seconds_left`: until the window closes, inf for one that rolls on."""

    row: Ints = field(default_factory=_ints)
    live: Floats = field(default_factory=_floats)
    abandoned: Floats = field(default_factory=_floats)
    cap: Floats = field(default_factory=_floats)
    seconds_left: Floats = field(default_factory=_floats)


@dataclass(frozen=True, slots=True)
class Sharing:
    """Who may serve what, where rows share agents. A group is the agents who serve the same rows.

    `row`/`group` list which row is served by which group (pairs); `free`: free agents per group;
    `talking`, `wrapping`: the group of each of `PacingInput.talking` and `wrapping`, to which the
    agent comes back; -1 for one who does not. Groups no pair names serve nobody. Empty: nothing is
    shared, and agents belong to the rows they are given in."""

    row: Ints = field(default_factory=_ints)
    group: Ints = field(default_factory=_ints)
    free: Ints = field(default_factory=_ints)
    talking: Ints = field(default_factory=_ints)
    wrapping: Ints = field(default_factory=_ints)

    def check(self, rows: int, talking: int, wrapping: int) -> None:
        """Raises ValueError when the parts do not fit together or into a pool of so many rows."""
        groups = len(self.free)
        for name, expected in (
            ("group", len(self.row)), ("talking", talking), ("wrapping", wrapping),
        ):  # fmt: skip
            if getattr(self, name).shape != (expected,):
                raise ValueError(
                    f"sharing.{name}: expected shape ({expected},), got {getattr(self, name).shape}"
                )
        for name, least, most in (
            ("row", 0, rows), ("group", 0, groups), ("talking", -1, groups),
            ("wrapping", -1, groups),
        ):  # fmt: skip
            values = getattr(self, name)
            if len(values) and not (least <= values.min() and values.max() < most):
                raise ValueError(f"sharing.{name}: expected {least} to {most - 1}, got {values}")


@dataclass(frozen=True, slots=True)
class PacingInput:
    """All rows at one instant. Every per-row array has the same length n.

    Optional per-row arrays may be empty: `slot` (where the engine keeps what it learnt of this row;
    default: the row's own number), `ring_timeout` (s; 25), `cancel_after` (s a call must have rung
    before it may be given up; inf, the default: never).

    Where rows share agents, `sharing` says who serves what. `agents_free` is then how many free
    agents are lent to a row, each agent to one row, which is what rows that do not plan ahead go
    by; a busy agent's row stays the row of the call."""

    mode: Ints
    ratio: Floats  # calls per free agent (ratio mode)
    ratio_cap: Floats
    target_abandon: Floats  # share of live answers
    connect_window: Floats  # s
    agents_free: Ints
    agents_busy: Ints
    in_flight: Ints  # placed and not answered yet (intended, sent, ringing)
    analysing: Ints
    waiting: Ints  # answered persons without an agent
    live_answers: Ints  # in the abandon window
    abandoned: Ints
    leads: Ints
    trunks: Trunks = field(default_factory=Trunks)
    ringing: Ragged = field(default_factory=Ragged)
    ringing_signal: Ints = field(default_factory=_ints)  # Signal per ringing call
    analysing_since: Ragged = field(default_factory=Ragged)  # s since the answer
    talking: Ragged = field(default_factory=Ragged)
    wrapping: Ragged = field(default_factory=Ragged)
    windows: Windows = field(default_factory=Windows)
    slot: Ints = field(default_factory=_ints)
    ring_timeout: Floats = field(default_factory=_floats)
    cancel_after: Floats = field(default_factory=_floats)
    turn: Floats = field(default_factory=_floats)
    ringing_cell: Ints = field(default_factory=_ints)
    coming: Coming = field(default_factory=Coming)
    talking_agent: Ints = field(default_factory=_ints)
    wrapping_agent: Ints = field(default_factory=_ints)
    tick: float = 1.0  # s since the last decision, and until the next
    sharing: Sharing = field(default_factory=Sharing)

    def __post_init__(self) -> None:
        n = len(self.mode)
        for name in (
            "ratio", "ratio_cap", "target_abandon", "connect_window", "agents_free",
            "agents_busy", "in_flight", "analysing", "waiting", "live_answers", "abandoned",
            "leads",
        ):  # fmt: skip
            if getattr(self, name).shape != (n,):
                raise ValueError(f"{name}: expected shape ({n},), got {getattr(self, name).shape}")
        for name, default in (
            ("slot", np.arange(n)), ("ring_timeout", np.full(n, 25.0)),
            ("cancel_after", np.full(n, np.inf)), ("turn", np.ones(n)),
        ):  # fmt: skip
            if getattr(self, name).shape == (0,):
                object.__setattr__(self, name, default)
            elif getattr(self, name).shape != (n,):
                raise ValueError(f"{name}: expected shape ({n},), got {getattr(self, name).shape}")
        if len(self.sharing.row):
            self.sharing.check(n, len(self.talking.row), len(self.wrapping.row))

        for name, beside in (
            ("ringing_cell", self.ringing), ("talking_agent", self.talking),
            ("wrapping_agent", self.wrapping),
        ):  # fmt: skip
            shape = getattr(self, name).shape
            if shape not in ((0,), beside.row.shape):
                raise ValueError(f"{name}: expected shape {beside.row.shape} or (0,), got {shape}")

    @property
    def rows(self) -> int:
        return len(self.mode)

    @property
    def ringing_places(self) -> Ints:
        """Where the engine looks up each ringing call: its cell, or its row's slot."""
        return self._places(self.ringing.row, self.ringing_cell)

    @property
    def coming_places(self) -> Ints:
        """The same for `coming`."""
        return self._places(self.coming.row, self.coming.cell)

    def _places(self, row: Ints, cell: Ints) -> Ints:
        slot = self.slot[row]
        return np.where(cell >= 0, cell, slot) if len(cell) else slot
