"""Callbacks at their time, for anyone or for the agent who promised; do-not-call; retries."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any
from uuid import UUID

import pytest

from dialer.domain.agent import AgentState
from dialer.domain.call import Outcome
from dialer.domain.campaign import DialMode, RetryRule
from dialer.domain.errors import Conflict, Invalid
from dialer.domain.lead import LeadState
from telephony.events import CallEnd
from telephony.trunks import TrunkSettings
from telephony.twin import Behaviour
from tests.unit.engine.evidence import check, evidence
from tests.unit.engine.pool import Pool

pytestmark = [pytest.mark.unit, pytest.mark.looptime(start=0)]

TALKS = Behaviour(delay=2.0, talk=20.0)


async def _promise(pool: Pool, agent: UUID, seconds: float, **more: Any) -> None:
    """The agent's present call ends with a callback in `seconds`."""
    await pool.until(lambda: pool.state(agent) is AgentState.WRAP_UP)
    call = pool.person(agent).last_call
    assert call is not None
    at = pool.after(pool.now + seconds).isoformat()
    await pool.does(agent, "disposition", call_id=call.key, code="later", callback_at=at, **more)


async def test_a_callback_for_anyone_comes_at_its_time_before_other_leads() -> None:
    pool = Pool()
    campaign = pool.campaign()
    agent = pool.agent(campaign)
    (lead,) = pool.leads(campaign, TALKS)
    await pool.start()
    await pool.sign_in(agent)
    await _promise(pool, agent, 120)
    due = pool.now + 120
    await pool.does(agent, "pause", reason="x")
    row = pool.store.leads[lead]
    await pool.written()
    assert (row.state, row.next_at) == (LeadState.CALLBACK, pool.after(due))
    await pool.reach(due - 30)
    pool.leads(campaign, *[TALKS] * 3)
    await pool.reach(due + 3)
    await pool.does(agent, "ready")
    await pool.until(lambda: len(pool.dialed()) == 2)
    # The other leads were claimed before it was due; of those claimed after that it is the first.
    await pool.until(lambda: pool.number(lead) in [n for _, n in pool.dialed()][1:], within=300)
    await pool.stop()
    check(pool)


async def test_a_promised_callback_reaches_its_agent_and_nobody_else() -> None:
    pool = Pool()
    campaign = pool.campaign(wrap_up=5.0)
    mine, other = pool.agents(2, campaign)
    (lead,) = pool.leads(campaign, TALKS)
    await pool.start()
    await pool.sign_in(mine)
    await pool.until(lambda: pool.state(mine) is AgentState.ON_CALL)
    await pool.sign_in(other)
    await _promise(pool, mine, 60, callback_mine=True)
    due = pool.now + 60
    await pool.until(lambda: pool.state(mine) is AgentState.READY)
    await pool.does(mine, "pause", reason="lunch")
    await pool.reach(due + 300)  # the other one is free all the time
    assert len(pool.dialed()) == 1
    ready = pool.now
    await pool.does(mine, "ready")
    await pool.until(lambda: pool.state(mine) is AgentState.ON_CALL)
    assert pool.now <= ready + 2.0 + pool.settings.empty_poll + pool.settings.wake_gap
    assert pool.told_agent(mine, "pop")[-1].data["lead"]["id"] == str(lead)
    assert pool.told_agent(mine, "pop")[-1].data["lead"]["callback_at"] is not None
    assert pool.told_agent(other, "pop") == []
    await pool.quiet()
    await pool.stop()
    check(pool)


async def test_a_promised_callback_finds_a_busy_agent_between_two_calls() -> None:
    pool = Pool()
    campaign = pool.campaign(wrap_up=5.0)
    mine, other = pool.agents(2, campaign)
    (lead,) = pool.leads(campaign, TALKS)
    await pool.start()
    await pool.sign_in(mine)
    await _promise(pool, mine, 60, callback_mine=True)
    due = pool.now + 60
    pool.leads(campaign, *[TALKS] * 60)
    await pool.sign_in(other)
    await pool.until(lambda: [n for _, n in pool.dialed()].count(pool.number(lead)) == 2)
    assert due <= pool.now <= due + 35  # the call it had, its wrap-up, and no other in between
    call = next(c for c in pool.calls if c.number == pool.number(lead))
    assert call.agent_id == mine
    await pool.stop()
    check(pool)


@pytest.mark.parametrize("mode", [DialMode.PREVIEW, DialMode.MANUAL])
async def test_where_agents_start_the_calls_the_promised_one_is_shown(mode: DialMode) -> None:
    pool = Pool()
    campaign = pool.campaign(mode)
    mine, other = pool.agents(2, campaign)
    lead = pool.lead(campaign, TALKS)
    row = pool.store.leads[lead]
    row.state, row.next_at, row.callback_agent = LeadState.CALLBACK, pool.after(30), mine
    await pool.start()
    await pool.sign_in(other, mine)
    await pool.until(lambda: pool.state(mine) is AgentState.PREVIEWING)
    assert 30 <= pool.now <= 32
    assert pool.told_agent(other, "preview") == []
    await pool.does(mine, "sign_out")
    await pool.written()
    assert (row.state, row.callback_agent, row.next_at) == (
        LeadState.CALLBACK, mine, pool.after(30)
    )  # fmt: skip
    await pool.sign_in(mine)
    await pool.until(lambda: pool.state(mine) is AgentState.PREVIEWING)
    await pool.does(mine, "preview_dial")
    await pool.quiet()
    await pool.stop()
    check(pool)


async def test_a_promised_callback_that_is_busy_stays_with_its_agent() -> None:
    pool = Pool()
    campaign = pool.campaign(wrap_up=1.0, retries={Outcome.BUSY: RetryRule(60, 3)})
    mine, other = pool.agents(2, campaign)
    lead = pool.lead(campaign, Behaviour(CallEnd.BUSY, delay=1.0))
    row = pool.store.leads[lead]
    row.state, row.next_at, row.callback_agent = LeadState.CALLBACK, pool.after(10), mine
    await pool.start()
    await pool.sign_in(mine, other)
    await pool.until(lambda: len(pool.dialed()) == 1)
    pool.people[pool.number(lead)] = TALKS
    await pool.until(lambda: len(pool.dialed()) == 2)
    assert 60 <= pool.dialed()[1][0] - pool.dialed()[0][0] - 1.0 <= 63
    await pool.until(lambda: pool.state(mine) is AgentState.ON_CALL)
    assert pool.told_agent(other, "pop") == []
    await pool.stop()
    check(pool)


async def test_a_callback_of_an_agent_who_left_the_campaign_is_anyones() -> None:
    pool = Pool()
    campaign = pool.campaign()
    gone, other = pool.agent(), pool.agent(campaign)
    lead = pool.lead(campaign, TALKS)
    row = pool.store.leads[lead]
    row.state, row.next_at, row.callback_agent = LeadState.CALLBACK, pool.after(10), gone
    await pool.start()
    await pool.sign_in(other)
    await pool.until(lambda: pool.state(other) is AgentState.ON_CALL)
    await pool.stop()
    check(pool)


@pytest.mark.parametrize("fault", ["line", "database", "crash", "stop"])
async def test_a_callback_stays_one_whatever_keeps_it_from_being_dialed(
    fault: str, logs: Any
) -> None:
    logs.expect("tick_failed", "claim_failed", "write_failed")
    pool = Pool(trunks=[TrunkSettings("t", "n1", "127.0.0.1", lines=1)])
    campaign = pool.campaign()
    agent, second = pool.agents(2, campaign)
    lead = pool.lead(campaign, TALKS)
    row = pool.store.leads[lead]
    row.state, row.next_at, row.callback_agent = LeadState.CALLBACK, pool.after(10), agent
    await pool.start()
    if fault == "line":
        pool.process.lines.adopt("t")
    await pool.sign_in(agent, second, ready=False)
    await pool.until(lambda: row.state is LeadState.HOPPER)
    if fault == "database":
        pool.store.down = True
        await pool.does(agent, "ready")
        await pool.reach(pool.now + 3)
        pool.store.down = False
    elif fault == "crash":
        await pool.crash()
        await pool.start("two")
    elif fault == "stop":
        await pool.stop()
        await pool.start("two")
    elif fault == "line":
        await pool.does(agent, "ready")
        await pool.reach(pool.now + 3)
        await pool.written()
    if fault in ("line", "crash", "stop"):
        assert row.state in (LeadState.CALLBACK, LeadState.HOPPER)
        assert row.callback_agent == agent
    if fault == "line":
        pool.process.lines.release("t")
    if fault == "stop":
        await pool.sign_in(agent, second)
    else:
        await pool.does(agent, "ready")
        await pool.does(second, "ready")
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
    await pool.quiet()
    await pool.stop()
    check(pool)


# -- do-not-call


async def test_never_again_by_disposition_holds_everywhere_at_once() -> None:
    pool = Pool()
    first, second = pool.campaign(name="a"), pool.campaign(name="b")
    third = pool.campaign(name="c")
    agent = pool.agent(first, second)
    person = pool.new_id()
    number = "+12025558000"
    one = pool.lead(first, TALKS, number=number, person=person)
    two = pool.lead(second, TALKS, number=number, person=person)
    three = pool.lead(third, TALKS, number=number, person=person)
    pool.store.leads[three].state = LeadState.RETRY
    pool.store.leads[three].next_at = pool.after(5000)
    await pool.start()
    await pool.sign_in(agent)
    await pool.until(lambda: pool.state(agent) is AgentState.WRAP_UP)
    call = pool.person(agent).last_call
    assert call is not None
    await pool.does(agent, "disposition", call_id=call.key, code="never")
    await pool.reach(pool.now + 60)
    await pool.written()
    assert len(pool.dialed()) == 1
    assert {pool.store.leads[i].state for i in (one, two, three)} == {LeadState.BLOCKED}
    await pool.stop()
    check(pool)


@pytest.mark.parametrize("after", [n / 100 for n in range(-1, 25)])
async def test_never_again_holds_before_it_is_written(after: float) -> None:
    """A second agent calls the same number by hand, and so many seconds later (below 0: before
    that) the first one says never again."""
    pool = Pool(latency=0.04)
    campaign, other = pool.campaign(name="a"), pool.campaign(DialMode.MANUAL, name="b")
    agent, second = pool.agent(campaign), pool.agent(other)
    number = pool.number(pool.lead(campaign, Behaviour(delay=2.0, talk=3.0)))
    await pool.start()
    await pool.sign_in(agent, second)
    await pool.until(lambda: pool.state(agent) is AgentState.WRAP_UP)
    call = pool.person(agent).last_call
    assert call is not None
    await pool.written()

    async def never() -> float:
        await pool.does(agent, "disposition", call_id=call.key, code="never")
        return pool.now

    async def manual() -> None:
        with contextlib.suppress(Conflict):
            await pool.does(second, "manual_call", campaign_id=str(other), number=number)

    if after < 0:
        said = await never()
        await manual()
    else:
        calling = asyncio.create_task(manual())
        await asyncio.sleep(after)
        said = await never()
        await calling
    await pool.quiet()
    assert [at for at, _ in pool.dialed() if at > said] == []
    await pool.stop()
    check(pool)


async def test_the_opt_out_key_blocks_the_lead_of_the_call_itself() -> None:
    pool = Pool()
    campaign = pool.campaign()
    agent = pool.agent(campaign)
    lead = pool.lead(campaign, Behaviour(delay=2.0, opts_out=True))
    await pool.start()
    await pool.sign_in(agent)
    await pool.until(lambda: pool.dialed() != [])
    await pool.does(agent, "pause", reason="x")
    await pool.quiet()
    assert pool.outcomes() == ["abandoned"]
    assert pool.store.leads[lead].state is LeadState.BLOCKED
    await pool.stop()
    check(pool)


async def test_a_number_listed_from_outside_is_taken_from_hopper_previews_and_calls() -> None:
    pool = Pool()
    campaign, shown = pool.campaign(name="a"), pool.campaign(DialMode.PREVIEW, name="b")
    caller, viewer = pool.agent(campaign), pool.agent(shown)
    leads = pool.leads(campaign, Behaviour(delay=20.0, end=CallEnd.BUSY), *[TALKS] * 3)
    preview = pool.lead(shown, TALKS)
    await pool.start()
    await pool.sign_in(caller, viewer)
    await pool.until(lambda: pool.state(viewer) is AgentState.PREVIEWING)
    await pool.until(lambda: len(pool.calls) == 1 and pool.engine.hopper.size(campaign) == 3)
    numbers = [pool.number(i) for i in (leads[0], leads[2], preview)]
    for number in numbers:
        pool.store.rows.apply(_entry(pool, number))
    done = await pool.command(
        "pool.do_not_call", {"client_id": str(pool.client), "numbers": numbers}
    )
    assert done == {"blocked": 1}
    with pytest.raises(Conflict):
        await pool.does(viewer, "preview_dial")
    await pool.until(lambda: len(pool.dialed()) == 3)
    await pool.quiet()
    assert numbers[1] not in [n for _, n in pool.dialed()]
    assert {pool.store.leads[i].state for i in (leads[0], leads[2], preview)} == {LeadState.BLOCKED}
    await pool.stop()
    check(pool)


def _entry(pool: Pool, number: str) -> Any:
    from dialer.domain.work import DoNotCall

    return DoNotCall(pool.client, number, None, "client", "api", pool.clock.now())


# -- retries


async def test_retries_by_outcome_at_their_exact_times_and_no_more_than_allowed() -> None:
    rules = {Outcome.BUSY: RetryRule(60, 2), Outcome.NO_ANSWER: RetryRule(90, 9)}
    pool = Pool()
    campaign = pool.campaign(retries=rules, max_attempts=3)
    agent = pool.agent(campaign)
    busy = pool.lead(campaign, Behaviour(CallEnd.BUSY, delay=1.0))
    silent = pool.lead(campaign, Behaviour(CallEnd.NO_ANSWER, delay=5.0))
    wrong = pool.lead(campaign, Behaviour(CallEnd.INVALID_NUMBER, delay=1.0))
    await pool.start()
    await pool.sign_in(agent)
    await pool.reach(600)
    await pool.quiet()
    times = {
        i: [at for at, n in pool.dialed() if n == pool.number(i)] for i in (busy, silent, wrong)
    }
    assert [len(times[i]) for i in (busy, silent, wrong)] == [3, 3, 1]
    most = pool.settings.empty_poll + pool.settings.tick + 5.0
    for lead, delay, rings in ((busy, 60, 1.0), (silent, 90, 5.0)):
        for before, after in zip(times[lead], times[lead][1:], strict=False):
            assert delay <= after - before - rings <= delay + most
    reasons = [pool.store.leads[i].reason for i in (busy, silent, wrong)]
    assert reasons == ["max_attempts", "max_attempts", "invalid_number"]
    found = evidence(pool)
    found.delays, found.max_attempts = {"busy": 60.0, "no_answer": 90.0}, 3
    await pool.stop()
    check(pool)


async def test_congestion_costs_no_attempt() -> None:
    pool = Pool()
    campaign = pool.campaign(
        retries={Outcome.CONGESTION: RetryRule(30, 4), Outcome.BUSY: RetryRule(30, 9)},
        max_attempts=1,
    )
    agent = pool.agent(campaign)
    lead = pool.lead(campaign, Behaviour(CallEnd.CONGESTION, delay=1.0))
    await pool.start()
    await pool.sign_in(agent)
    await pool.until(lambda: len(pool.dialed()) == 3)
    pool.people[pool.number(lead)] = Behaviour(CallEnd.BUSY, delay=1.0)
    await pool.reach(300)
    assert pool.outcomes() == ["congestion", "congestion", "congestion", "busy"]
    assert pool.store.leads[lead].reason == "max_attempts"
    await pool.stop()
    check(pool)


async def test_an_expired_attempt_costs_none_and_calls_nobody() -> None:
    pool = Pool()
    campaign = pool.campaign(max_attempts=1)
    agent, lead = pool.agent(campaign), pool.lead(campaign, TALKS)
    await pool.start()
    await pool.sign_in(agent, ready=False)
    await pool.until(lambda: pool.store.leads[lead].state is LeadState.HOPPER)
    pool.store.latency = 0.8  # the store takes so long that the moment has gone
    await pool.does(agent, "ready")
    await pool.until(lambda: pool.outcomes() == ["expired"])
    assert pool.dialed() == []
    pool.store.latency = 0.0
    await pool.quiet()
    await pool.until(lambda: len(pool.dialed()) == 1)
    await pool.quiet()
    assert pool.outcomes()[-1] == "ended_by_customer"
    await pool.stop()
    check(pool)


async def test_a_callback_needs_a_time_and_a_future_one() -> None:
    pool = Pool()
    campaign = pool.campaign()
    agent, _ = pool.agent(campaign), pool.lead(campaign, TALKS)
    await pool.start()
    await pool.sign_in(agent)
    await pool.until(lambda: pool.state(agent) is AgentState.WRAP_UP)
    call = pool.person(agent).last_call
    assert call is not None
    for at in (None, "", "tomorrow", "2030-01-01T00:00:00", pool.after(1).isoformat()):
        with pytest.raises(Invalid):
            await pool.does(agent, "disposition", call_id=call.key, code="later", callback_at=at)
    assert pool.state(agent) is AgentState.WRAP_UP
    await pool.stop()
    check(pool)
