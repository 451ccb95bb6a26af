"""How busy signed-in agents were: the share of their working time spent on calls and wrap-up.

Time waiting for a call is idle; pauses and lost phones are neither. Kept over a few minutes, for
the board; the records have the whole day.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from uuid import UUID

from dialer.domain.agent import AgentState
from dialer.engine.state import Agent

WINDOW = 300.0  # s
_IDLE = frozenset({AgentState.READY})
_BUSY = frozenset(
    {
        AgentState.RESERVED,
        AgentState.PREVIEWING,
        AgentState.DIALING,
        AgentState.ON_CALL,
        AgentState.CONSULTING,
        AgentState.WRAP_UP,
    }
)


class Occupancy:
    """Stretches of agents' time that ended lately; those that last are asked from the agents."""

    def __init__(self) -> None:
        # client, from, to (monotonic), busy
        self._stretches: deque[tuple[UUID, float, float, bool]] = deque()

    def ended(self, agent: Agent, state: AgentState, *, at: float) -> None:
        """`agent` leaves `state` now."""
        if state in _IDLE or state in _BUSY:
            self._stretches.append((agent.view.client_id, agent.since, at, state in _BUSY))
        while self._stretches and self._stretches[0][2] < at - WINDOW:
            self._stretches.popleft()

    def share(self, agents: Iterable[Agent], *, client_id: UUID | None, now: float) -> float | None:
        """Busy time of busy and idle time in the window; None when there was neither."""
        busy = total = 0.0
        going = (
            (a.view.client_id, a.since, now, a.state in _BUSY)
            for a in agents
            if a.state in _IDLE or a.state in _BUSY
        )
        for whose, start, end, is_busy in (*self._stretches, *going):
            if client_id is None or whose == client_id:
                seconds = max(end - max(start, now - WINDOW), 0.0)
                total += seconds
                busy += seconds if is_busy else 0.0
        return round(busy / total, 4) if total else None
