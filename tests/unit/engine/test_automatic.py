"""Progressive and ratio: how many calls leave, when, and who gets the person."""

from __future__ import annotations

import pytest

from dialer.domain.agent import AgentState
from dialer.domain.campaign import CampaignState, DialMode
from dialer.domain.lead import LeadState
from telephony.events import CallEnd
from telephony.trunks import Breaker, TrunkSettings
from telephony.twin import Behaviour
from tests.unit.engine.evidence import check
from tests.unit.engine.pool import Pool

pytestmark = [pytest.mark.unit, pytest.mark.looptime(start=0)]

TALKS = Behaviour(delay=5.0, talk=30.0)
RINGS = Behaviour(delay=3600.0)


async def test_progressive_places_one_call_for_each_free_agent_and_none_without() -> None:
    pool = Pool()
    campaign = pool.campaign()
    agents = pool.agents(3, campaign)
    pool.leads(campaign, *[TALKS] * 10)
    await pool.start()
    await pool.reach(5)
    assert pool.dialed() == []
    await pool.sign_in(*agents, ready=False)
    await pool.reach(10)
    assert pool.dialed() == []
    for agent in agents:
        await pool.does(agent, "ready")
    await pool.reach(14)
    assert len(pool.dialed()) == 3
    await pool.until(lambda: all(pool.state(a) is AgentState.ON_CALL for a in agents))
    await pool.reach(30)
    assert len(pool.dialed()) == 3
    await pool.stop()
    check(pool)


async def test_a_failed_call_is_followed_by_the_next_at_once() -> None:
    pool = Pool()
    campaign = pool.campaign()
    agent = pool.agent(campaign)
    busy = Behaviour(CallEnd.BUSY, delay=1.0)
    pool.leads(campaign, busy, busy, TALKS, TALKS)
    await pool.start()
    await pool.sign_in(agent)
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
    first, second, third = [at for at, _ in pool.dialed()]
    gap = pool.settings.wake_gap
    assert 1.0 <= second - first <= 1.0 + gap + 0.001
    assert 1.0 <= third - second <= 1.0 + gap + 0.001
    await pool.stop()
    check(pool)


async def test_ratio_places_so_many_per_agent_up_to_its_cap() -> None:
    pool = Pool()
    campaign = pool.campaign(DialMode.RATIO, dial_ratio=2.5, ratio_cap=2.0)
    agents = pool.agents(3, campaign)
    pool.leads(campaign, *[RINGS] * 20)
    await pool.start()
    await pool.sign_in(*agents)
    await pool.reach(10)
    assert len(pool.calls) == 6
    await pool.change(campaign, ratio_cap=3.0)  # settings changed while running
    await pool.reach(13)
    assert len(pool.calls) == 7
    await pool.stop()
    check(pool)


async def test_a_spent_abandon_budget_brings_the_ratio_back_to_one() -> None:
    pool = Pool()
    campaign = pool.campaign(DialMode.RATIO, dial_ratio=3.0, target_abandon=0.03)
    agents = pool.agents(2, campaign)
    pool.leads(campaign, *[Behaviour(delay=1.0, talk=4.0)] * 200)
    await pool.start()
    await pool.sign_in(*agents)
    ledger = pool.engine.campaigns[campaign].ledger
    await _work(pool, agents, until=lambda: ledger.live_answers >= 20)
    assert ledger.abandoned > 0.03 * ledger.live_answers
    before = len(pool.dialed())
    await _work(pool, agents, until=lambda: len(pool.dialed()) >= before + 6)
    unassigned = [c for c in pool.calls if c.agent_id is None and not c.message_played]
    free = [a for a in agents if pool.person(a).available]
    assert len(unassigned) <= max(len(free), 2)
    assert "abandoned" in pool.engine.campaigns[campaign].decision["reason"] or not free
    await pool.stop()
    check(pool)


async def _work(pool: Pool, agents: list, until) -> None:  # type: ignore[no-untyped-def,type-arg]
    """Agents describe each call the moment it ends."""
    while not until():
        await pool.until(
            lambda: until() or any(pool.state(a) is AgentState.WRAP_UP for a in agents)
        )
        for agent in agents:
            if pool.state(agent) is AgentState.WRAP_UP:
                call = pool.person(agent).last_call
                assert call is not None
                await pool.does(agent, "disposition", call_id=call.key, code="sale")


async def test_the_longest_idle_agent_gets_the_person() -> None:
    pool = Pool()
    campaign = pool.campaign()
    first, second, third = pool.agents(3, campaign)
    await pool.start()
    await pool.sign_in(second)
    await pool.reach(20)
    await pool.sign_in(third)
    await pool.reach(30)
    await pool.sign_in(first)
    pool.leads(campaign, *[Behaviour(delay=1.0, talk=60.0)] * 1)
    await pool.refresh()
    await pool.until(lambda: pool.state(second) is AgentState.ON_CALL)
    pool.leads(campaign, *[Behaviour(delay=1.0, talk=60.0)] * 1)
    await pool.refresh()
    await pool.until(lambda: pool.state(third) is AgentState.ON_CALL)
    assert pool.state(first) is AgentState.READY
    await pool.stop()
    check(pool)


async def test_an_answered_person_waits_for_an_agent_who_comes_inside_the_window() -> None:
    pool = Pool()
    campaign = pool.campaign()
    agent, late = pool.agents(2, campaign)
    pool.leads(campaign, Behaviour(delay=4.0, talk=30.0))
    await pool.start()
    await pool.sign_in(agent)
    await pool.sign_in(late, ready=False)
    await pool.until(lambda: len(pool.dialed()) == 1)
    (dialed, _), *_ = pool.dialed()
    await pool.does(agent, "pause", reason="away")
    await pool.reach(dialed + 5.9)  # answered 1.9 s ago; the window is 2 s
    await pool.does(late, "ready")
    await pool.until(lambda: pool.state(late) is AgentState.ON_CALL)
    assert pool.now == pytest.approx(dialed + 5.9)
    (pop,) = pool.told_agent(late, "pop")
    assert pop.at == pool.after(pool.now)
    await pool.quiet()
    assert pool.outcomes() == ["ended_by_customer"]
    await pool.stop()
    check(pool)


async def test_nobody_within_the_window_is_an_abandoned_call_with_its_message() -> None:
    pool = Pool()
    campaign = pool.campaign()
    agent = pool.agent(campaign)
    (lead,) = pool.leads(campaign, Behaviour(delay=4.0))
    await pool.start()
    await pool.sign_in(agent)
    await pool.until(lambda: len(pool.dialed()) == 1)
    (dialed, _), *_ = pool.dialed()
    await pool.does(agent, "pause", reason="away")
    await pool.reach(dialed + 6.5)
    await pool.does(agent, "ready")  # too late: the message plays
    await pool.quiet()
    assert pool.outcomes() == ["abandoned"]
    ledger = pool.engine.campaigns[campaign].ledger
    assert (ledger.live_answers, ledger.abandoned) == (1, 1)
    row = pool.store.leads[lead]
    assert row.state is LeadState.RETRY and row.next_at == pool.after(pool.now + 86400)
    assert pool.state(agent) is AgentState.READY
    await pool.stop()
    check(pool)


async def test_hung_up_while_waiting() -> None:
    pool = Pool()
    campaign = pool.campaign()
    agent = pool.agent(campaign)
    pool.leads(campaign, Behaviour(delay=4.0, talk=1.5))
    await pool.start()
    await pool.sign_in(agent)
    await pool.until(lambda: len(pool.dialed()) == 1)
    await pool.does(agent, "pause", reason="away")
    await pool.quiet()
    assert pool.outcomes() == ["hung_up_waiting"]
    await pool.stop()
    check(pool)


async def test_trunk_full() -> None:
    pool = Pool(trunks=[TrunkSettings("t", "n1", "127.0.0.1", lines=2)])
    campaign = pool.campaign()
    agents = pool.agents(5, campaign)
    pool.leads(campaign, *[TALKS] * 10)
    await pool.start()
    await pool.sign_in(*agents)
    await pool.until(lambda: len(pool.calls) == 2)
    await pool.reach(20)
    assert len(pool.dialed()) == 2 and pool.process.lines.trunks["t"].used == 2
    await pool.until(lambda: len(pool.dialed()) >= 4)
    await pool.quiet()
    await pool.stop()
    assert pool.process.lines.trunks["t"].used == 0
    check(pool)


async def test_a_trunk_that_fails_everything_is_left_alone_and_burns_no_list() -> None:
    pool = Pool(trunks=[TrunkSettings("t", "n1", "127.0.0.1", window=5, trip_share=0.8, rest=60.0)])
    campaign = pool.campaign()
    agents = pool.agents(2, campaign)
    leads = pool.leads(campaign, *[Behaviour(CallEnd.CONGESTION, delay=0.5)] * 40)
    await pool.start()
    await pool.sign_in(*agents)
    trunk = pool.process.lines.trunks["t"]
    await pool.until(lambda: trunk.breaker is Breaker.OPEN)
    dialed = len(pool.dialed())
    assert dialed <= 7
    await pool.reach(pool.now + 50)
    assert len(pool.dialed()) <= dialed + 1
    await pool.written()
    tried = [pool.store.leads[i] for i in leads if pool.store.leads[i].state is LeadState.RETRY]
    assert all(pool.store._counts(row.lead.lead_id)["congestion"] <= 1 for row in tried)
    await pool.stop()
    check(pool)


async def test_a_pause_drains_and_a_start_goes_on() -> None:
    pool = Pool()
    campaign = pool.campaign()
    agents = pool.agents(2, campaign)
    pool.leads(campaign, *[TALKS] * 10)
    await pool.start()
    await pool.sign_in(*agents)
    await pool.until(lambda: pool.state(agents[0]) is AgentState.ON_CALL)
    await pool.move(campaign, CampaignState.PAUSING)
    dialed = len(pool.dialed())
    await pool.until(lambda: not pool.calls)
    await pool.reach(pool.now + 12)
    assert len(pool.dialed()) == dialed
    assert pool.store.campaigns[campaign].state is CampaignState.PAUSED
    held = [r for r in pool.store.leads.values() if r.state is LeadState.HOPPER]
    assert held == []
    await pool.move(campaign, CampaignState.RUNNING)
    await pool.until(lambda: len(pool.dialed()) > dialed)
    await pool.stop()
    check(pool)


async def test_a_start_right_after_a_pause_is_not_undone_by_the_drain() -> None:
    pool = Pool()
    campaign = pool.campaign()
    await pool.start()
    pool.store.latency = 1.0
    await pool.move(campaign, CampaignState.PAUSING)
    await pool.until(lambda: pool.engine.campaigns[campaign].view.state is CampaignState.PAUSED)
    pool.store.campaigns[campaign] = pool.store.campaigns[campaign].moved(CampaignState.RUNNING)
    await pool.written()
    assert pool.store.campaigns[campaign].state is CampaignState.RUNNING
    await pool.stop()


async def test_a_stopped_campaign_dials_no_more_and_its_calls_are_finished() -> None:
    pool = Pool()
    campaign = pool.campaign(wrap_up=0.0)
    agents = pool.agents(2, campaign)
    pool.leads(campaign, *[TALKS] * 3, *[RINGS] * 10)
    await pool.start()
    await pool.sign_in(*agents)
    await pool.until(lambda: all(pool.state(a) is AgentState.ON_CALL for a in agents))
    await pool.move(campaign, CampaignState.FINISHED)
    dialed = len(pool.dialed())
    await pool.until(lambda: all(pool.state(a) is AgentState.WRAP_UP for a in agents))
    for agent in agents:
        call = pool.person(agent).last_call
        assert call is not None
        await pool.does(agent, "disposition", call_id=call.key, code="sale")
    await pool.reach(pool.now + 5)
    assert len(pool.dialed()) == dialed
    assert len(pool.store.rows.dispositions) == 2
    await pool.refresh()
    shown = pool.engine.campaigns[campaign]
    assert (shown.view.state, shown.reason) == (CampaignState.FINISHED, "stopped")
    await pool.stop()
    check(pool)


async def test_an_agent_of_two_campaigns_earns_one_call() -> None:
    pool = Pool()
    first, second = pool.campaign(name="a"), pool.campaign(name="b")
    agent = pool.agent(first, second)
    pool.leads(first, RINGS)
    pool.leads(second, *[RINGS] * 5)
    await pool.start()
    await pool.sign_in(agent)
    await pool.reach(15)  # the first campaign's only lead rings, its hopper is empty
    assert len(pool.calls) == 1
    await pool.stop()
    check(pool)


async def test_an_agent_needed_for_a_ringing_call_is_shown_no_preview() -> None:
    pool = Pool()
    dialed = pool.campaign(name="a")
    shown = pool.campaign(DialMode.PREVIEW, name="b")
    agent = pool.agent(dialed, shown)
    pool.leads(dialed, Behaviour(delay=10.0, talk=5.0))
    pool.leads(shown, TALKS)
    await pool.start()
    await pool.sign_in(agent)
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
    await pool.until(lambda: pool.state(agent) is AgentState.PREVIEWING)
    assert pool.outcomes() == ["ended_by_customer"]
    await pool.stop()
    check(pool)


async def test_analysis_switched_on_while_it_rings_is_for_later_calls() -> None:
    pool = Pool()
    campaign = pool.campaign()
    agent = pool.agent(campaign)
    pool.leads(campaign, Behaviour(delay=5.0, talk=5.0), Behaviour(delay=1.0, machine=True))
    await pool.start()
    await pool.sign_in(agent)
    await pool.until(lambda: len(pool.calls) == 1)
    await pool.change(campaign, analyse=True, connect_window=1.0)
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
    await pool.until(lambda: "machine" in pool.outcomes() and not pool.calls)
    assert pool.outcomes() == ["ended_by_customer", "machine"]
    await pool.stop()
    check(pool)


async def test_a_window_made_shorter_while_it_rings_is_for_later_calls() -> None:
    pool = Pool()
    campaign = pool.campaign()
    agent = pool.agent(campaign)
    pool.leads(campaign, Behaviour(delay=5.0, talk=1.5))
    await pool.start()
    await pool.sign_in(agent)
    await pool.until(lambda: len(pool.calls) == 1)
    await pool.does(agent, "pause", reason="away")
    await pool.change(campaign, connect_window=1.0)
    await pool.quiet()
    assert pool.outcomes() == ["hung_up_waiting"]  # inside the two seconds that its dialplan had
    await pool.stop()
    check(pool)
