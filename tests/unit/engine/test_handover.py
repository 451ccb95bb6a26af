"""A dialer stops while another one stands in line: phones, conversations and agents go over."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from dialer.domain.agent import AgentState
from dialer.domain.campaign import DialMode
from dialer.domain.errors import Unavailable
from dialer.engine.handover import read_handover
from dialer.engine.settings import EngineSettings
from telephony.twin import Behaviour
from tests.lab.evidence import agent_time_adds_up
from tests.unit.engine.evidence import check
from tests.unit.engine.pool import Pool, Process

pytestmark = [pytest.mark.unit, pytest.mark.looptime(start=0)]

TALKS = Behaviour(delay=1.0, talk=60.0)
SETTINGS = EngineSettings(lease=6.0, lease_margin=2.0)


async def _in_line(pool: Pool) -> tuple[Process, asyncio.Future[None]]:
    """Another dialer that waits for the pool."""
    heir = Process(pool, "two", None)
    await heir.board.start()
    standing = asyncio.ensure_future(heir.engine.start())
    await asyncio.sleep(0.1)
    return heir, standing


async def _hand_over(pool: Pool) -> float:
    """The first dialer leaves, the next one goes on; seconds in which nobody owned the pool."""
    heir, standing = await _in_line(pool)
    await pool.engine.leave()
    begun = pool.now
    heir.engine.lease.freed()
    await pool.process.board.stop()
    await standing
    pool.processes.append(heir)
    return pool.now - begun


def _stretches(pool: Pool) -> list[dict[str, object]]:
    return [
        {
            "session_id": i.session_id,
            "started_at": i.started_at,
            "ended_at": i.ended_at,
            "state": i.state.value,
        }
        for i in pool.store.rows.intervals.values()
    ]


async def _working(*behaviours: Behaviour, agents: int = 1) -> tuple[Pool, UUID, list[UUID]]:
    pool = Pool(settings=SETTINGS)
    campaign = pool.campaign(wrap_up=30.0)
    who = pool.agents(agents, campaign)
    await pool.start()
    await pool.sign_in(*who)
    pool.leads(campaign, *behaviours)
    await pool.refresh()
    return pool, campaign, who


async def test_agents_and_conversations_go_over_as_they_are() -> None:
    pool, campaign, (talks, wraps) = await _working(TALKS, Behaviour(delay=1.0, talk=5.0), agents=2)
    await pool.until(lambda: len(pool.calls) == 2 and all(c.connected for c in pool.calls))
    if pool.calls[0].agent_id != talks:
        talks, wraps = wraps, talks
    paused, ready = pool.agents(2, campaign)
    await pool.refresh()
    await pool.sign_in(paused, ready)
    await pool.does(paused, "pause", reason="lunch")
    await pool.does(talks, "pause", reason="after this one")
    await pool.until(lambda: pool.state(wraps) is AgentState.WRAP_UP)
    described = pool.person(wraps).last_call
    assert described is not None
    sessions = {a: pool.person(a).session_id for a in (talks, wraps, paused, ready)}

    assert await _hand_over(pool) < 0.5
    assert pool.processes[0].engine.writer.backlog == 0  # all is told, nothing is left

    assert {a: pool.person(a).session_id for a in sessions} == sessions
    assert pool.state(ready) is AgentState.READY
    assert (pool.state(paused), pool.person(paused).reason) == (AgentState.PAUSED, "lunch")
    # The conversation goes on, and ends when the person wants it to; then the pause comes.
    assert pool.state(talks) is AgentState.ON_CALL
    snapshot = await pool.does(talks, "snapshot")
    assert snapshot["call"]["customer"]["name"].startswith("Person +1202555")
    assert snapshot["call"]["customer"]["attributes"]
    assert snapshot["pending"] == "pause"
    # Who was describing a call still can.
    told = await pool.does(wraps, "disposition", call_id=described.key, code="sale")
    assert told["state"] == "ready"
    await pool.until(lambda: not pool.calls)
    await pool.does(talks, "disposition", call_id=pool.person(talks).last_call.key, code="sale")  # type: ignore[union-attr]
    assert (pool.state(talks), pool.person(talks).reason) == (AgentState.PAUSED, "after this one")
    pool.leads(campaign, Behaviour(delay=1.0, talk=3.0))
    await pool.until(lambda: len(pool.dialed()) == 3)
    await pool.quiet()
    assert pool.outcomes() == ["ended_by_customer"] * 3
    await pool.stop()
    agent_time_adds_up(_stretches(pool))
    check(pool)


async def test_calls_that_ring_are_waited_for_and_reach_an_agent() -> None:
    """Nobody answers while the pool has no owner."""
    pool, _, (agent,) = await _working(Behaviour(delay=9.0, talk=30.0))
    await pool.until(lambda: len(pool.dialed()) == 1)
    leaving = asyncio.ensure_future(_hand_over(pool))
    await pool.until(lambda: pool.processes[0].engine.gate.stopping)
    await leaving
    assert pool.state(agent) is AgentState.ON_CALL
    await pool.quiet()
    assert pool.outcomes() == ["ended_by_customer"]
    await pool.stop()
    check(pool)


async def test_a_call_that_rings_for_longer_than_the_drain_goes_over_too() -> None:
    pool, _, (agent,) = await _working(Behaviour(delay=24.0, talk=30.0))
    await pool.until(lambda: len(pool.dialed()) == 1)
    await _hand_over(pool)
    assert [c.state.value for c in pool.calls] == ["ringing"]
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
    await pool.quiet()
    assert pool.outcomes() == ["ended_by_customer"]
    await pool.stop()
    check(pool)


async def test_what_ends_between_two_owners_is_found_out() -> None:
    """A conversation and a phone end in the moment in which nobody listens."""
    pool, _, (talks, idle) = await _working(TALKS, agents=2)
    await pool.until(lambda: any(c.connected for c in pool.calls))
    if pool.state(talks) is not AgentState.ON_CALL:
        talks, idle = idle, talks
    (call,) = pool.calls
    leg = pool.person(idle).leg_id
    heir, standing = await _in_line(pool)
    await pool.engine.leave()
    pool.nodes["n1"].far_hang_up(call.key)
    pool.nodes["n1"].far_hang_up(leg)
    heir.engine.lease.freed()
    await pool.process.board.stop()
    await standing
    pool.processes.append(heir)
    assert pool.state(talks) is AgentState.WRAP_UP
    assert pool.state(idle) is AgentState.LEG_LOST  # and called again
    await pool.until(lambda: pool.state(idle) is AgentState.PAUSED)
    await pool.written()
    assert pool.outcomes() == ["ended_by_customer"]
    await pool.does(talks, "disposition", call_id=call.key, code="sale")
    await pool.stop()
    agent_time_adds_up(_stretches(pool))
    check(pool)


async def test_nothing_is_changed_once_everything_is_told() -> None:
    pool, _, (agent,) = await _working()
    await pool.reach(pool.now + 1.0)
    pool.store.latency = 0.5
    leaving = asyncio.ensure_future(pool.engine.leave())
    await pool.until(lambda: pool.engine.gate.leaving)
    with pytest.raises(Unavailable, match="being handed"):
        await pool.engine._commands.handle(
            "agent.pause", {"agent_id": str(agent), "reason": "late"}
        )
    await leaving
    await pool.process.board.stop()


async def test_an_owner_that_died_in_between_makes_the_words_untrue() -> None:
    pool, _, (agent,) = await _working()
    await pool.engine.leave()
    await pool.process.board.stop()
    between = await pool.store.acquire(pool.id, owner="between", seconds=1.0)
    assert between is not None
    await pool.start("two")
    assert pool.state(agent) is AgentState.PAUSED  # found at the phone, asked to say what they do
    await pool.stop()


def test_words_of_another_version_are_not_guessed_at() -> None:
    assert read_handover(None) is None
    assert read_handover({"settled": True, "agents": [{"id": "x"}]}) is None
    assert read_handover({"agents": []}) is None


async def test_a_ratio_campaign_hands_over_without_an_abandoned_person() -> None:
    pool = Pool(settings=SETTINGS)
    campaign = pool.campaign(DialMode.RATIO, dial_ratio=1.0, target_abandon=1.0, wrap_up=1.0)
    agents = pool.agents(10, campaign)
    await pool.start()
    await pool.sign_in(*agents)
    pool.leads(campaign, *[Behaviour(delay=float(i % 7), talk=4.0 + i % 5) for i in range(120)])
    await pool.refresh()
    for _ in range(3):
        await pool.until(lambda: sum(bool(c.connected) for c in pool.calls) >= 3)
        await _hand_over(pool)
    await pool.quiet()
    await pool.until(lambda: pool.outcomes().count("ended_by_customer") == 120, within=300)
    await pool.stop()
    agent_time_adds_up(_stretches(pool))
    check(pool)
