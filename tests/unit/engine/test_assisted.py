"""Preview and manual calls, and the callbacks that agents promise."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from dialer.domain.agent import AgentState
from dialer.domain.campaign import CampaignState, DialMode
from dialer.domain.errors import Conflict, Invalid, NotFound, Unavailable
from dialer.domain.lead import LeadState
from telephony.events import CallEnd
from telephony.trunks import TrunkSettings
from telephony.twin import Behaviour
from tests.unit.engine.evidence import check
from tests.unit.engine.pool import Pool

pytestmark = [pytest.mark.unit, pytest.mark.looptime(start=0)]

TALKS = Behaviour(delay=5.0, talk=30.0)


async def _pool(mode: DialMode, **settings: Any) -> tuple[Pool, UUID, UUID]:
    pool = Pool()
    campaign = pool.campaign(mode, **settings)
    agent = pool.agent(campaign)
    return pool, campaign, agent


async def test_a_preview_is_shown_and_dialed_with_the_agent_on_the_line() -> None:
    pool, campaign, agent = await _pool(DialMode.PREVIEW)
    lead = pool.lead(campaign, TALKS)
    await pool.start()
    await pool.sign_in(agent)
    await pool.until(lambda: pool.state(agent) is AgentState.PREVIEWING)
    (shown,) = pool.told_agent(agent, "preview")
    assert shown.data["lead"]["id"] == str(lead)
    assert shown.data["customer"]["number"] == pool.number(lead)
    await pool.reach(100)
    assert pool.dialed() == []  # without a time-out the agent decides
    asked = pool.now
    call_id = (await pool.does(agent, "preview_dial"))["call_id"]
    assert pool.state(agent) is AgentState.DIALING
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
    assert pool.now == asked + 5.0
    (pop,) = pool.told_agent(agent, "pop")
    assert pop.data["call_id"] == call_id and pop.data["mode"] == "preview"
    await pool.until(lambda: pool.state(agent) is AgentState.WRAP_UP)
    await pool.does(agent, "disposition", call_id=call_id, code="sale")
    await pool.written()
    assert pool.store.leads[lead].state is LeadState.DONE
    await pool.stop()
    check(pool)


async def test_a_skipped_preview_comes_back_in_ten_minutes() -> None:
    pool, campaign, agent = await _pool(DialMode.PREVIEW)
    lead = pool.lead(campaign, TALKS)
    await pool.start()
    await pool.sign_in(agent)
    await pool.until(lambda: pool.state(agent) is AgentState.PREVIEWING)
    skipped = pool.now
    await pool.does(agent, "preview_skip")
    with pytest.raises(Conflict):
        await pool.does(agent, "preview_skip")
    await pool.written()
    assert pool.store.leads[lead].next_at == pool.after(skipped + 600)
    await pool.until(lambda: len(pool.told_agent(agent, "preview")) == 2, within=700)
    assert 600 <= pool.now - skipped <= 602
    await pool.stop()
    check(pool)


async def test_a_preview_dials_itself_when_its_time_is_over() -> None:
    pool, campaign, agent = await _pool(DialMode.PREVIEW, preview_timeout=15.0)
    pool.lead(campaign, TALKS)
    await pool.start()
    await pool.sign_in(agent)
    await pool.until(lambda: pool.state(agent) is AgentState.PREVIEWING)
    shown = pool.now
    await pool.until(lambda: len(pool.dialed()) == 1)
    assert pool.now == shown + 15.0
    await pool.quiet()
    await pool.stop()
    check(pool)


@pytest.mark.parametrize("how", ["sign_out", "pause", "leg", "campaign", "stop"])
async def test_a_preview_that_cannot_be_dialed_goes_back(how: str) -> None:
    pool, campaign, agent = await _pool(DialMode.PREVIEW, preview_timeout=60.0)
    lead = pool.lead(campaign, TALKS)
    await pool.start()
    await pool.sign_in(agent)
    await pool.until(lambda: pool.state(agent) is AgentState.PREVIEWING)
    if how == "leg":
        pool.nodes["n1"].far_hang_up(pool.person(agent).leg_id)
        await pool.until(lambda: pool.state(agent) is AgentState.LEG_LOST)
    elif how == "campaign":
        await pool.move(campaign, CampaignState.FINISHED)
        assert pool.state(agent) is AgentState.READY
    elif how == "stop":
        await pool.stop()
    else:
        await pool.does(agent, how, reason="lunch")
    if how != "stop":
        await pool.written()
    row = pool.store.leads[lead]
    # Whoever else works the campaign may have it at once; here nobody does, or the hopper has it.
    assert row.state in (LeadState.RETRY, LeadState.HOPPER)
    assert row.next_at is not None and row.next_at <= pool.clock.now()
    if how == "pause":
        assert pool.state(agent) is AgentState.PAUSED
    if how != "stop":
        await pool.reach(pool.now + 90)
        await pool.stop()
    assert pool.dialed() == []
    check(pool)


async def test_a_manual_call_by_number_makes_a_lead_and_returns_a_paused_agent_to_their_pause() -> (
    None
):
    pool, campaign, agent = await _pool(DialMode.MANUAL)
    await pool.start()
    await pool.sign_in(agent, ready=False)
    await pool.does(agent, "pause", reason="back office")
    pool.people["+12025559999"] = Behaviour(CallEnd.BUSY, delay=2.0)
    done = await pool.does(agent, "manual_call", campaign_id=str(campaign), number="+1 2025559999")
    await pool.until(lambda: pool.state(agent) is AgentState.WRAP_UP)
    await pool.does(agent, "ready")
    assert pool.state(agent) is AgentState.READY  # they took the pause back
    await pool.does(agent, "pause", reason="back office")
    again = await pool.does(agent, "manual_call", campaign_id=str(campaign), number="+12025559999")
    assert done["call_id"] != again["call_id"]
    await pool.until(lambda: pool.state(agent) is AgentState.WRAP_UP)
    await pool.does(agent, "disposition", call_id=again["call_id"], code="again")
    assert (pool.state(agent), pool.person(agent).reason) == (AgentState.PAUSED, "back office")
    await pool.written()
    assert len(pool.store.leads) == 1 and pool.outcomes() == ["busy", "busy"]
    await pool.stop()
    check(pool)


async def test_what_cannot_be_called_by_hand_is_refused_and_changes_nothing() -> None:
    pool, campaign, agent = await _pool(DialMode.MANUAL)
    other = pool.campaign(name="other")
    lead, foreign = pool.lead(campaign, TALKS), pool.lead(other, TALKS)
    await pool.start()
    await pool.sign_in(agent)
    call = {"campaign_id": str(campaign)}
    for payload, error in (
        ({}, Invalid),
        ({"number": "12"}, Invalid),
        ({"lead_id": str(foreign)}, NotFound),
        ({"lead_id": str(pool.new_id())}, Conflict),
        ({"campaign_id": str(other), "lead_id": str(foreign)}, NotFound),
    ):
        with pytest.raises(error):
            await pool.does(agent, "manual_call", **(call | payload))
        assert pool.state(agent) is AgentState.READY
    await pool.move(campaign, CampaignState.PAUSED)
    with pytest.raises(Conflict):
        await pool.does(agent, "manual_call", **call, lead_id=str(lead))
    await pool.written()
    assert pool.store.leads[foreign].state in (LeadState.RETRY, LeadState.NEW)
    assert pool.dialed() == [] and pool.store.attempts == {}
    await pool.stop()
    check(pool)


async def test_a_finished_lead_that_the_rules_or_lines_refuse_stays_finished() -> None:
    pool = Pool(trunks=[TrunkSettings("t", "n1", "127.0.0.1", prefixes=("+44",))])
    campaign = pool.campaign(DialMode.MANUAL)
    agent, lead = pool.agent(campaign), pool.lead(campaign, TALKS)
    pool.store.leads[lead].state = LeadState.DONE
    await pool.start()
    await pool.sign_in(agent)
    with pytest.raises(Conflict):
        await pool.does(agent, "manual_call", campaign_id=str(campaign), lead_id=str(lead))
    await pool.written()
    assert pool.store.leads[lead].state is LeadState.DONE
    await pool.stop()
    check(pool)


async def test_a_number_no_trunk_may_ever_call_is_blocked_and_holds_nothing_up() -> None:
    pool = Pool(trunks=[TrunkSettings("t", "n1", "127.0.0.1", prefixes=("+44",))])
    campaign = pool.campaign(DialMode.PROGRESSIVE)
    agent, lead = pool.agent(campaign), pool.lead(campaign, TALKS)
    await pool.start()
    await pool.sign_in(agent)
    await pool.until(lambda: pool.store.leads[lead].state is LeadState.BLOCKED)
    assert pool.dialed() == []
    row = pool.store.leads[lead]
    assert (row.state, row.reason) == (LeadState.BLOCKED, "no_trunk_may_call")
    await pool.stop()
    check(pool)


async def test_a_finished_lead_called_by_hand_in_vain_is_not_taken_up_again() -> None:
    pool, campaign, agent = await _pool(DialMode.MANUAL)
    lead = pool.lead(campaign, Behaviour(CallEnd.BUSY, delay=1.0))
    pool.store.leads[lead].state = LeadState.DONE
    await pool.start()
    await pool.sign_in(agent)
    await pool.does(agent, "manual_call", campaign_id=str(campaign), lead_id=str(lead))
    await pool.quiet()
    assert pool.outcomes() == ["busy"]
    assert pool.store.leads[lead].state is LeadState.DONE
    await pool.stop()
    check(pool)


async def test_a_lead_in_the_hopper_can_be_called_by_hand() -> None:
    pool, campaign, agent = await _pool(DialMode.PROGRESSIVE)
    leads = pool.leads(campaign, *[TALKS] * 5)
    await pool.start()
    await pool.sign_in(agent, ready=False)
    await pool.until(lambda: pool.engine.hopper.size(campaign) == 5)
    await pool.does(agent, "manual_call", campaign_id=str(campaign), lead_id=str(leads[3]))
    await pool.until(lambda: len(pool.dialed()) == 1)
    assert pool.dialed()[0][1] == pool.number(leads[3])
    await pool.quiet()
    await pool.stop()
    check(pool)


async def test_hanging_up_while_it_rings() -> None:
    pool, campaign, agent = await _pool(DialMode.MANUAL)
    lead = pool.lead(campaign, TALKS)
    await pool.start()
    await pool.sign_in(agent)
    await pool.does(agent, "manual_call", campaign_id=str(campaign), lead_id=str(lead))
    await pool.reach(pool.now + 2)
    await pool.does(agent, "hang_up")
    await pool.until(lambda: pool.state(agent) is AgentState.WRAP_UP)
    await pool.written()
    assert pool.outcomes() == ["cancelled"]
    await pool.stop()
    check(pool)


async def test_hanging_up_before_it_has_left() -> None:
    pool, campaign, agent = await _pool(DialMode.MANUAL)
    lead = pool.lead(campaign, TALKS)
    await pool.start()
    await pool.sign_in(agent)
    await pool.does(agent, "manual_call", campaign_id=str(campaign), lead_id=str(lead))
    await pool.does(agent, "hang_up")  # in the same moment
    await pool.quiet()
    assert pool.outcomes() in (["cancelled"], ["expired"])
    await pool.stop()
    check(pool)


async def test_a_phone_lost_while_the_store_is_asked_leaves_nobody_called() -> None:
    pool, campaign, agent = await _pool(DialMode.MANUAL)
    lead = pool.lead(campaign, TALKS)
    await pool.start()
    await pool.sign_in(agent)
    pool.store.latency = 0.5
    asked = asyncio.ensure_future(
        pool.does(agent, "manual_call", campaign_id=str(campaign), lead_id=str(lead))
    )
    await pool.until(lambda: pool.state(agent) is AgentState.DIALING)
    await asyncio.sleep(1.2)
    pool.nodes["n1"].far_hang_up(pool.person(agent).leg_id)
    with pytest.raises(Conflict):
        await asked
    pool.store.latency = 0.0
    await pool.quiet()
    assert pool.dialed() == []
    assert pool.store.leads[lead].state is LeadState.RETRY
    await pool.stop()
    check(pool)


async def test_a_manual_call_with_the_database_away_is_refused() -> None:
    pool, campaign, agent = await _pool(DialMode.MANUAL)
    lead = pool.lead(campaign, TALKS)
    await pool.start()
    await pool.sign_in(agent)
    pool.store.down = True
    with pytest.raises(Unavailable):
        await pool.does(agent, "manual_call", campaign_id=str(campaign), lead_id=str(lead))
    pool.store.down = False
    assert pool.state(agent) is AgentState.READY
    await pool.does(agent, "manual_call", campaign_id=str(campaign), lead_id=str(lead))
    await pool.quiet()
    assert pool.outcomes() == ["ended_by_customer"]
    await pool.stop()
    check(pool)


async def test_a_claim_by_hand_whose_answer_is_lost_loses_no_lead() -> None:
    pool, campaign, agent = await _pool(DialMode.MANUAL)
    lead = pool.lead(campaign, TALKS)
    await pool.start()
    await pool.sign_in(agent)
    pool.store.lose_answers = 1
    with pytest.raises(Unavailable):
        await pool.does(agent, "manual_call", campaign_id=str(campaign), lead_id=str(lead))
    assert pool.store.leads[lead].state is LeadState.HOPPER
    await pool.until(lambda: pool.store.leads[lead].state is LeadState.NEW)
    await pool.stop()
    check(pool)


async def test_no_answer_at_the_agents_bridge_gives_the_person_to_another() -> None:
    pool, campaign, agent = await _pool(DialMode.MANUAL)
    other = pool.agent(campaign)
    lead = pool.lead(campaign, TALKS)
    await pool.start()
    await pool.sign_in(agent, other)
    await pool.does(agent, "manual_call", campaign_id=str(campaign), lead_id=str(lead))
    await pool.until(lambda: pool.dialed() != [])
    await pool.reach(pool.now + 4.5)
    pool.process.switch().refuse()
    await pool.until(lambda: pool.state(other) is AgentState.ON_CALL)
    assert pool.state(agent) is AgentState.READY
    await pool.quiet()
    await pool.stop()
    check(pool)
