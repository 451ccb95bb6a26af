"""Occupancy: busy time of busy and idle time, over the last minutes, each client apart."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from dialer.domain.agent import AgentState
from dialer.domain.work import AgentView
from dialer.engine.occupancy import WINDOW, Occupancy
from dialer.engine.state import Agent

pytestmark = pytest.mark.unit


def agent(client: UUID, state: AgentState, *, since: float) -> Agent:
    view = AgentView(uuid4(), client, uuid4(), "A", "a", "", frozenset())
    return Agent(view, state=state, since=since)


def test_nothing_is_known_without_agents_at_work() -> None:
    paused = agent(uuid4(), AgentState.PAUSED, since=0)
    assert Occupancy().share([paused], client_id=None, now=100) is None


def test_ended_and_lasting_stretches_count_inside_the_window() -> None:
    client, occupancy = uuid4(), Occupancy()
    one = agent(client, AgentState.READY, since=1000)
    occupancy.ended(one, AgentState.READY, at=1060)
    one.state, one.since = AgentState.ON_CALL, 1060
    assert occupancy.share([one], client_id=client, now=1080) == pytest.approx(20 / 80)
    # Long after, only what lies inside the window counts.
    assert occupancy.share([one], client_id=client, now=1060 + WINDOW) == 1.0
    other = agent(uuid4(), AgentState.READY, since=1000)
    assert occupancy.share([one, other], client_id=client, now=1080) == pytest.approx(20 / 80)
    assert occupancy.share([one, other], client_id=None, now=1080) == pytest.approx(20 / 160)


def test_pauses_are_neither_busy_nor_idle_and_old_stretches_are_forgotten() -> None:
    occupancy, one = Occupancy(), agent(uuid4(), AgentState.PAUSED, since=0)
    occupancy.ended(one, AgentState.PAUSED, at=50)
    one.since = 50
    occupancy.ended(one, AgentState.WRAP_UP, at=60)
    assert occupancy.share([], client_id=None, now=60) == 1.0
    one.since = 60
    occupancy.ended(one, AgentState.READY, at=60 + WINDOW + 1)
    assert len(occupancy._stretches) == 1
