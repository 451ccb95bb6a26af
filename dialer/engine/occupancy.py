"""How busy signed-in agents were: the share of their working time spent on calls and wrap-up.

Time waiting for a call is idle; pauses and lost phones are neither. Kept over a few minutes, for
the board; the records have the whole day.
"""

from __future__ import annotations

from collections import defaultdict, deque
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
    """Stretches of agents' time that ended lately; those that last are asked from the agents.

    Sums are kept as stretches come and go: with many agents there are a hundred thousand of them in
    the window, too many to be looked at once a second.
    """

    def __init__(self) -> None:
        # client, from, to (monotonic), busy; in the order of their ends
        self._stretches: deque[tuple[UUID, float, float, bool]] = deque()
        self._sums: dict[tuple[UUID, bool], float] = defaultdict(float)  # s, of whole stretches
        self._longest = 0.0  # s, no stretch lasted longer

    def ended(self, agent: Agent, state: AgentState, *, at: float) -> None:
        """`agent` leaves `state` now."""
        if state in _IDLE or state in _BUSY:
            client_id, busy, lasted = agent.view.client_id, state in _BUSY, at - agent.since
            self._stretches.append((client_id, agent.since, at, busy))
            self._sums[client_id, busy] += lasted
            self._longest = max(self._longest, lasted)
        self._forget(at - WINDOW)

    def _forget(self, horizon: float) -> None:
        while self._stretches and self._stretches[0][2] < horizon:
            client_id, start, end, busy = self._stretches.popleft()
            self._sums[client_id, busy] -= end - start
        if not self._stretches:
            self._sums.clear()
            self._longest = 0.0

    def share(self, agents: Iterable[Agent], *, client_id: UUID | None, now: float) -> float | None:
        """Busy time of busy and idle time in the window; None when there was neither."""
        horizon = now - WINDOW
        self._forget(horizon)
        seconds = {True: 0.0, False: 0.0}
        for (whose, busy), lasted in self._sums.items():
            if client_id is None or whose == client_id:
                seconds[busy] += lasted
        for whose, start, end, busy in self._stretches:
            if end >= horizon + self._longest:
                break  # this one and all after it lie inside the window
            if start < horizon and (client_id is None or whose == client_id):
                seconds[busy] -= horizon - start
        for agent in agents:
            at_work = agent.state in _IDLE or agent.state in _BUSY
            if at_work and (client_id is None or agent.view.client_id == client_id):
                lasting = max(now - max(agent.since, horizon), 0.0)
                seconds[agent.state in _BUSY] += lasting
        total = seconds[True] + seconds[False]
        return round(seconds[True] / total, 4) if total > 0 else None
