"""Agents' legs, wrap-up and descriptions: lost phones in every state, late and repeated words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from dialer.domain.agent import AgentState
from dialer.domain.campaign import DialMode
from dialer.domain.errors import Conflict, NotFound
from dialer.domain.lead import LeadState
from telephony.events import CallEnd
from telephony.twin import Behaviour
from tests.unit.engine.evidence import check
from tests.unit.engine.pool import Pool

pytestmark = [pytest.mark.unit, pytest.mark.looptime(start=0)]

TALKS = Behaviour(delay=2.0, talk=20.0)


async def _talking(**settings: Any) -> tuple[Pool, UUID, UUID]:
    """An agent in a conversation."""
    pool = Pool()
    campaign = pool.campaign(**settings)
    agent, _ = pool.agent(campaign), pool.lead(campaign, TALKS)
    await pool.start()
    await pool.sign_in(agent)
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
    return pool, campaign, agent


async def _wrapping(**settings: Any) -> tuple[Pool, UUID, str]:
    pool, _, agent = await _talking(**settings)
    call = pool.person(agent).call
    assert call is not None
    await pool.until(lambda: pool.state(agent) is AgentState.WRAP_UP)
    return pool, agent, call.key


def _leg(pool: Pool, agent: UUID) -> str:
    return pool.person(agent).leg_id


# -- wrap-up


async def test_wrap_up_ends_by_itself_to_the_second_and_then_the_call_is_closed() -> None:
    pool, agent, call = await _wrapping(wrap_up=17.0)
    since = pool.now
    await pool.until(lambda: pool.state(agent) is AgentState.READY)
    assert pool.now == since + 17.0
    with pytest.raises(Conflict):
        await pool.does(agent, "disposition", call_id=call, code="sale")
    await pool.stop()
    check(pool)


async def test_wrap_up_without_a_limit_waits_for_the_description() -> None:
    pool, agent, call = await _wrapping(wrap_up=0.0)
    await pool.reach(pool.now + 50)
    assert pool.state(agent) is AgentState.WRAP_UP
    await pool.does(agent, "disposition", call_id=call, code="sale", form={"size": 3})
    assert pool.state(agent) is AgentState.READY
    await pool.written()
    (said,) = pool.store.rows.dispositions.values()
    assert (said.code, said.form, said.wrap_up_seconds) == (
        "sale",
        {"size": 3},
        pytest.approx(50.0),
    )
    await pool.stop()
    check(pool)


async def test_a_description_is_taken_once_and_only_for_ones_own_ended_call() -> None:
    pool, _, agent = await _talking(wrap_up=0.0)
    call = pool.person(agent).call
    assert call is not None
    with pytest.raises(Conflict):  # still talking
        await pool.does(agent, "disposition", call_id=call.key, code="sale")
    await pool.until(lambda: pool.state(agent) is AgentState.WRAP_UP)
    with pytest.raises(Conflict):
        await pool.does(agent, "disposition", call_id=str(pool.new_id()), code="sale")
    await pool.does(agent, "pause", reason="breath")  # leaves wrap-up, may still describe
    await pool.does(agent, "disposition", call_id=call.key, code="sale")
    with pytest.raises(Conflict):
        await pool.does(agent, "disposition", call_id=call.key, code="never")
    await pool.written()
    (said,) = pool.store.rows.dispositions.values()
    assert said.code == "sale" and not pool.store.rows.do_not_call
    with pytest.raises(NotFound):
        await pool.does(pool.new_id(), "disposition", call_id=call.key, code="sale")
    await pool.stop()
    check(pool)


@pytest.mark.parametrize(
    ("asked", "then", "state"),
    [
        ("pause", "ready", AgentState.PAUSED),
        ("sign_out", "ready", AgentState.SIGNED_OUT),
        ("sign_out", "pause", AgentState.SIGNED_OUT),
        ("", "pause", AgentState.PAUSED),
        ("", "ready", AgentState.READY),
    ],
)
async def test_what_was_asked_for_during_a_call_comes_after_it(
    asked: str, then: str, state: AgentState
) -> None:
    pool, _, agent = await _talking()
    call = pool.person(agent).call
    assert call is not None
    if asked:
        await pool.does(agent, asked, reason="lunch")
    assert pool.state(agent) is AgentState.ON_CALL
    await pool.until(lambda: pool.state(agent) is AgentState.WRAP_UP)
    await pool.does(agent, "disposition", call_id=call.key, code="sale", then=then)
    assert pool.state(agent) is state
    if state is AgentState.PAUSED:
        await pool.does(agent, "ready")
        assert pool.person(agent).available
    await pool.stop()
    check(pool)


async def test_pausing_in_wrap_up_takes_back_a_sign_out() -> None:
    pool, _, agent = await _talking()
    await pool.does(agent, "sign_out")
    await pool.until(lambda: pool.state(agent) is AgentState.WRAP_UP)
    await pool.does(agent, "pause", reason="changed my mind")
    await pool.does(agent, "ready")
    assert pool.person(agent).available
    await pool.stop()
    check(pool)


async def test_the_agents_hang_up_ends_the_conversation_as_theirs() -> None:
    pool, _, agent = await _talking()
    await pool.does(agent, "hang_up")
    await pool.until(lambda: pool.state(agent) is AgentState.WRAP_UP)
    await pool.written()
    assert pool.outcomes() == ["ended_by_agent"]
    (talk,) = pool.store.rows.conversations.values()
    assert talk.ended_by == "agent"
    with pytest.raises(Conflict):
        await pool.does(agent, "hang_up")
    await pool.stop()
    check(pool)


async def test_a_conversation_that_died_with_its_node_was_ended_by_nobody() -> None:
    pool, _, agent = await _talking()
    pool.nodes["n1"].crash()
    await pool.reach(pool.now + 1.0)
    pool.nodes["n1"].boot()
    await pool.until(lambda: bool(pool.told_agent(agent, "call_ended")), within=60)
    assert pool.told_agent(agent, "call_ended")[-1].data["by"] == "network"
    await pool.stop()


# -- lost phones


async def test_a_phone_lost_in_a_conversation() -> None:
    pool, _, agent = await _talking()
    call = pool.person(agent).call
    assert call is not None
    pool.nodes["n1"].far_hang_up(_leg(pool, agent))
    lost = pool.now
    await pool.until(lambda: pool.state(agent) is AgentState.LEG_LOST)
    await pool.until(lambda: pool.state(agent) is AgentState.PAUSED)
    assert pool.now == lost + 1.0
    await pool.written()
    (outcome,) = pool.outcomes()
    assert outcome in ("ended_by_agent", "ended_by_customer")
    assert pool.told_agent(agent, "call_ended")[-1].data["call_id"] == call.key
    await pool.does(agent, "disposition", call_id=call.key, code="sale")
    await pool.written()
    assert len(pool.store.rows.dispositions) == 1
    await pool.stop()
    check(pool)


async def test_a_phone_lost_while_reserved_gives_the_person_to_the_next_agent() -> None:
    pool = Pool()
    campaign = pool.campaign()
    first, second = pool.agents(2, campaign)
    await pool.start()
    await pool.sign_in(first, second)
    pool.lead(campaign, TALKS)
    await pool.refresh()
    await pool.until(lambda: pool.dialed() != [])
    chosen: list[UUID] = []
    node = pool.nodes["n1"]
    bridge = node.bridge

    def lose(call_id: str, leg_id: str) -> None:
        """The phone goes in the moment of the bridge."""
        if not chosen:
            chosen.append(first if _leg(pool, first) == leg_id else second)
            node.far_hang_up(leg_id)
        bridge(call_id, leg_id)

    node.bridge = lose  # type: ignore[method-assign]
    await pool.until(lambda: any(pool.state(a) is AgentState.ON_CALL for a in (first, second)))
    (lost,) = chosen
    assert pool.state(lost) is AgentState.LEG_LOST
    await pool.quiet()
    assert pool.outcomes() == ["ended_by_customer"]
    await pool.stop()
    check(pool)


@pytest.mark.parametrize("state", ["ready", "paused", "wrap_up", "dialing"])
async def test_a_phone_lost_in_other_states_is_called_again(state: str) -> None:
    pool = Pool()
    campaign = pool.campaign(DialMode.MANUAL if state == "dialing" else DialMode.PROGRESSIVE)
    agent = pool.agent(campaign)
    lead = pool.lead(campaign, TALKS) if state in ("wrap_up", "dialing") else None
    await pool.start()
    await pool.sign_in(agent, ready=state != "paused")
    if state == "dialing":
        await pool.does(agent, "manual_call", campaign_id=str(campaign), lead_id=str(lead))
    await pool.until(lambda: pool.state(agent).value == state)
    pool.nodes["n1"].far_hang_up(_leg(pool, agent))
    await pool.until(lambda: pool.state(agent) is AgentState.LEG_LOST)
    await pool.until(lambda: pool.state(agent) is AgentState.PAUSED)
    await pool.quiet()
    if state == "dialing":
        assert pool.outcomes() == ["cancelled"]
    await pool.does(agent, "ready")
    await pool.stop()
    check(pool)


async def test_a_phone_that_stays_lost_is_signed_out_when_the_grace_is_over() -> None:
    pool = Pool()
    agent = pool.agent(pool.campaign())
    await pool.start()
    await pool.sign_in(agent)
    endpoint = pool.person(agent).view.endpoint
    pool.phones[endpoint] = Behaviour(CallEnd.BUSY, delay=0.5)
    pool.nodes["n1"].far_hang_up(_leg(pool, agent))
    lost = pool.now
    await pool.until(lambda: pool.state(agent) is AgentState.SIGNED_OUT)
    assert 30.0 <= pool.now - lost <= 32.0
    pool.phones[endpoint] = Behaviour()
    await pool.sign_in(agent)
    assert pool.person(agent).available
    await pool.stop()
    check(pool)


async def test_all_phones_lost_at_once() -> None:
    pool = Pool()
    campaign = pool.campaign()
    agents = pool.agents(10, campaign)
    pool.leads(campaign, *[TALKS] * 20)
    await pool.start()
    await pool.sign_in(*agents)
    await pool.until(lambda: sum(pool.state(a) is AgentState.ON_CALL for a in agents) >= 5)
    for agent in agents:
        pool.nodes["n1"].far_hang_up(_leg(pool, agent))
    await pool.until(lambda: all(pool.state(a) is AgentState.PAUSED for a in agents))
    for agent in agents:
        await pool.does(agent, "ready")
    await pool.until(lambda: sum(pool.state(a) is AgentState.ON_CALL for a in agents) >= 5)
    await pool.stop()
    check(pool)


async def test_signing_out_while_the_phone_rings_leaves_no_leg() -> None:
    pool = Pool()
    agent = pool.agent(pool.campaign())
    await pool.start()
    pool.phones[pool.store.agents[agent].endpoint] = Behaviour(delay=3.0)
    await pool.does(agent, "sign_in")
    await pool.reach(pool.now + 1)
    await pool.does(agent, "sign_out")
    await pool.reach(pool.now + 10)
    assert pool.nodes["n1"].channels == {}
    await pool.stop()
    check(pool)


async def test_a_phone_that_rings_after_a_lost_answer_is_the_agents() -> None:
    """Whether it was called only the node knows; once it is up, the agent is at it."""
    pool = Pool()
    agent = pool.agent(pool.campaign())
    await pool.start()
    pool.phones[pool.store.agents[agent].endpoint] = Behaviour(delay=3.0)
    pool.process.switch().lose_answer()
    await pool.does(agent, "sign_in")
    await pool.until(lambda: pool.state(agent) is AgentState.PAUSED)
    assert len(pool.nodes["n1"].channels) == 1
    await pool.does(agent, "sign_out")
    await pool.reach(pool.now + 10)
    assert pool.nodes["n1"].channels == {}
    await pool.stop()
    check(pool)


async def test_a_phone_that_does_not_answer_is_told_and_signed_out() -> None:
    pool = Pool()
    agent = pool.agent(pool.campaign())
    await pool.start()
    pool.phones[pool.store.agents[agent].endpoint] = Behaviour(delay=60.0)
    await pool.does(agent, "sign_in")
    await pool.until(lambda: pool.state(agent) is AgentState.SIGNED_OUT)
    assert pool.now == 20.0
    (notice,) = pool.told_agent(agent, "notice")
    assert notice.data["slug"] == "phone-unreachable"
    await pool.stop()
    check(pool)


async def test_an_agent_taken_out_of_the_pool_finishes_the_call_and_is_signed_out() -> None:
    pool, _, agent = await _talking()
    del pool.store.agents[agent]
    await pool.refresh()
    assert pool.state(agent) is AgentState.ON_CALL
    await pool.until(lambda: pool.state(agent) is AgentState.WRAP_UP)
    await pool.until(lambda: pool.state(agent) is AgentState.SIGNED_OUT)
    await pool.refresh()
    assert agent not in pool.engine.desk.agents
    await pool.stop()
    check(pool)


# -- time


@pytest.mark.parametrize("step", [-7200.0, 7200.0])
async def test_a_stepped_calendar_clock_makes_no_stretch_negative_or_long(step: float) -> None:
    pool = Pool()
    agent = pool.agent(pool.campaign())
    await pool.start()
    await pool.sign_in(agent)
    since = pool.now
    await pool.reach(since + 100)
    object.__setattr__(pool.clock, "start", pool.clock.start + timedelta(seconds=step))
    await pool.does(agent, "pause", reason="x")
    await pool.reach(since + 150)
    await pool.does(agent, "ready")
    await pool.written()
    lasted = [
        (i.state, (i.ended_at - i.started_at).total_seconds())
        for i in pool.store.rows.intervals.values()
    ]
    assert (AgentState.READY, 100.0) in lasted and (AgentState.PAUSED, 50.0) in lasted
    await pool.stop()


async def test_ones_own_time_with_several_calls_adds_up() -> None:
    pool = Pool()
    campaign = pool.campaign(wrap_up=3.0)
    agents = pool.agents(3, campaign)
    pool.leads(campaign, *[Behaviour(delay=1.0, talk=4.0)] * 30)
    await pool.start()
    await pool.sign_in(*agents)
    await pool.until(lambda: len(pool.dialed()) >= 15)
    for agent in agents:
        await pool.does(agent, "sign_out")
    await pool.until(lambda: all(pool.state(a) is AgentState.SIGNED_OUT for a in agents))
    await pool.quiet()
    assert not [r for r in pool.store.leads.values() if r.state is LeadState.DIALING]
    await pool.stop()
    check(pool)
