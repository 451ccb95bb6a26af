"""One way to write a state machine: an enum of states, an enum of events, one transition table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

S = TypeVar("S", bound=Enum)
E = TypeVar("E", bound=Enum)


class IllegalTransition(Exception):
    """An event came that the state does not know."""

    def __init__(self, machine: str, state: Enum, event: Enum, expected: tuple[Enum, ...]) -> None:
        names = ", ".join(sorted(e.value for e in expected)) or "none (final state)"
        super().__init__(f"{machine} in {state.value}: expected one of {names}, got {event.value}")
        self.state, self.event, self.expected = state, event, expected


@dataclass(frozen=True, slots=True)
class Machine(Generic[S, E]):
    """A named transition table; pure."""

    name: str
    table: Mapping[S, Mapping[E, S]]

    def next(self, state: S, event: E) -> S:
        """The state after `event`; raises IllegalTransition."""
        row = self.table.get(state, {})
        try:
            return row[event]
        except KeyError:
            raise IllegalTransition(self.name, state, event, tuple(row)) from None

    def allows(self, state: S, event: E) -> bool:
        return event in self.table.get(state, {})

    def before(self, state: S) -> frozenset[S]:
        """States from which one event leads to `state`."""
        return frozenset(s for s, row in self.table.items() if state in row.values())

    def final(self) -> frozenset[S]:
        """States that nothing leaves."""
        return frozenset(s for s, row in self.table.items() if not row)
