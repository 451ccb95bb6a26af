"""Somebody sets the dialer's calendar clock: by two hours or a second, ahead or back, or slowly.

Whom we may call is asked of the calendar, and so is when a retry is due; how long something takes,
and whose the pool is, of the clock that only goes forward.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from dialer.domain.agent import AgentState
from dialer.domain.call import Outcome
from dialer.domain.campaign import RetryRule
from dialer.domain.lead import LeadState
from dialer.engine.settings import EngineSettings
from telephony.clock import ManualClock, SteppedClock
from telephony.events import CallEnd
from telephony.twin import Behaviour
from tests.unit.engine.pool import START, Pool

pytestmark = [pytest.mark.unit, pytest.mark.looptime(start=0)]

STEPS = (-7200.0, -1.0, 1.0, 7200.0)
WASHINGTON = ZoneInfo("America/New_York")
EVENING = datetime(2026, 3, 3, 20, 59, 50, tzinfo=WASHINGTON)  # ten seconds before the end


async def calling(pool: Pool, *behaviours: Behaviour, **settings: Any) -> tuple[UUID, list[UUID]]:
    """Two agents at work on these people; the agents, and the leads."""
    campaign = pool.campaign(**settings)
    agents = pool.agents(2, campaign)
    await pool.start()
    await pool.sign_in(*agents)
    leads = pool.leads(campaign, *behaviours)
    await pool.refresh()
    return agents[0], leads


def set_to(pool: Pool, wanted: datetime) -> None:
    pool.dialer_clock.step((wanted - pool.dialer_clock.now()).total_seconds())


@pytest.mark.parametrize("second", [-1.0, 1.0, -0.001, 0.001])
async def test_no_step_brings_a_call_outside_the_hours_or_a_second_one(second: float) -> None:
    """Around nine in the evening, to and fro: each person at most once, and nobody after nine."""
    pool = Pool()
    set_to(pool, EVENING)
    busy = [Behaviour(CallEnd.BUSY, delay=0.5)] * 60
    _, leads = await calling(
        pool, *busy, rules_profile="us_tsr", caller_id="+12025550199", ring_timeout=20.0,
        retries={}, max_attempts=1,
    )  # fmt: skip
    for step in (0.0, second, 7200.0, -7200.0, second, -7200.0, 7200.0, 7200.0, -7200.0):
        pool.dialer_clock.step(step)
        await pool.reach(pool.now + 3.0)
        edge = pool.dialer_clock.now().astimezone(WASHINGTON).replace(hour=21, minute=0, second=0)
        set_to(pool, edge - timedelta(seconds=1.5))  # it passes while calls are placed
        await pool.reach(pool.now + 4.0)
    evening = len(pool.dialed())
    assert 4 <= evening < len(leads)
    set_to(pool, datetime(2026, 3, 4, 8, 0, 1, tzinfo=WASHINGTON))
    await pool.until(
        lambda: all(pool.store.leads[i].state is LeadState.DONE for i in leads), within=600
    )
    numbers = [number for _, number in pool.dialed()]
    assert sorted(numbers) == sorted(pool.number(i) for i in leads)  # all of them, each once
    for attempt in pool.store.attempts.values():
        for at in (attempt.new.intended_at, attempt.fields["sent_at"]):
            local = at.astimezone(WASHINGTON).time()
            assert time(8) <= local < time(21), local
    await pool.stop()


@pytest.mark.parametrize("step", STEPS)
async def test_a_retry_comes_once_when_the_calendar_says_so(step: float) -> None:
    pool = Pool()
    _, (lead,) = await calling(
        pool, Behaviour(CallEnd.BUSY, delay=0.5), max_attempts=2,
        retries={Outcome.BUSY: RetryRule(30.0, 1)},
    )  # fmt: skip
    await pool.until(lambda: pool.store.leads[lead].state is LeadState.RETRY)
    due = pool.store.leads[lead].next_at
    assert due is not None
    pool.dialer_clock.step(step)
    await pool.reach(pool.now + 60)
    assert len(pool.dialed()) == (1 if step < -60 else 2)
    set_to(pool, due + timedelta(seconds=1))
    await pool.until(lambda: pool.store.leads[lead].state is LeadState.DONE)
    await pool.reach(pool.now + 30)
    first, second = sorted(pool.store.attempts.values(), key=lambda a: a.new.intended_at)
    assert second.new.intended_at >= due > first.new.intended_at
    assert len(pool.dialed()) == 2
    await pool.stop()


@pytest.mark.parametrize("step", STEPS)
async def test_a_promised_callback_comes_once_when_the_calendar_says_so(step: float) -> None:
    pool = Pool()
    agent, (lead,) = await calling(pool, Behaviour(delay=0.5, talk=2.0))
    await pool.until(
        lambda: any(a.state is AgentState.WRAP_UP for a in pool.engine.desk.agents.values())
    )
    who = next(i for i, a in pool.engine.desk.agents.items() if a.state is AgentState.WRAP_UP)
    call = pool.person(who).last_call
    assert call is not None
    promised = pool.dialer_clock.now() + timedelta(seconds=40)
    await pool.does(
        who, "disposition", call_id=call.key, code="later", callback_at=promised.isoformat()
    )
    await pool.written()
    pool.dialer_clock.step(step)
    await pool.reach(pool.now + 80)
    assert len(pool.dialed()) == (1 if step < -60 else 2)
    set_to(pool, max(promised, pool.dialer_clock.now()) + timedelta(seconds=1))
    await pool.until(lambda: len(pool.dialed()) == 2)
    await pool.reach(pool.now + 30)
    times = sorted(a.new.intended_at for a in pool.store.attempts.values())
    assert len(times) == 2 and times[1] >= promised
    assert pool.store.leads[lead].state is LeadState.DONE
    assert agent
    await pool.stop()


@pytest.mark.parametrize("step", STEPS)
async def test_no_step_gives_the_pool_away_or_keeps_it_longer(step: float, logs: Any) -> None:
    logs.expect("lease_lost", "write_failed", "tick_failed", "claim_failed")
    pool = Pool(settings=EngineSettings(lease=10.0, lease_margin=2.0))
    pool.campaign()
    engine = await pool.start()
    second = asyncio.ensure_future(pool.start("two"))
    for _ in range(4):
        pool.dialer_clock.step(step)
        await pool.reach(pool.now + 15)
        assert engine.lease.held and not second.done()
    pool.store.down = True
    went = pool.now
    pool.dialer_clock.step(step)
    await pool.until(engine.stopped.is_set)
    assert went < pool.now <= went + 8.0 + 0.2
    pool.store.down = False
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    for process in pool.processes:
        await process.board.stop()


@pytest.mark.parametrize("step", STEPS)
async def test_how_long_a_person_waited_is_told_by_one_clock(step: float) -> None:
    """They hung up within the window while no dialer was there; ours have another calendar than
    Asterisk's records, and the second one another one than the first."""
    pool = Pool()
    pool.dialer_clock.step(step)
    _, (lead,) = await calling(pool, Behaviour(delay=2.0, talk=1.2), retries={})
    await pool.until(lambda: len(pool.dialed()) == 1)
    pool.process.switch().refuse(20)  # no agent can be joined to them
    await pool.until(lambda: any(call.answered for call in pool.calls))
    await pool.written()
    await pool.crash()
    pool.dialer_clock.step(-step / 2)
    await pool.reach(pool.now + 5.0)
    await pool.start("two")
    await pool.quiet()
    assert pool.outcomes() == ["hung_up_waiting"]
    assert pool.store.leads[lead].state is LeadState.DONE
    await pool.stop()


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("talk", "analyse", "outcome"),
    [(19.5, False, "hung_up_waiting"), (20.5, True, "abandoned")],  # the message comes after both
)
async def test_how_long_a_person_waited_who_still_waits_is_told_by_one_clock(
    step: float, talk: float, analyse: bool, outcome: str
) -> None:
    """As above, but the second dialer is there before they hang up."""
    pool = Pool()
    people = Behaviour(delay=2.0, talk=talk)
    await calling(pool, people, retries={}, connect_window=20.0, analyse=analyse)
    await pool.until(lambda: len(pool.dialed()) == 1)
    pool.process.switch().refuse(20)  # no agent can be joined to them
    await pool.until(lambda: any(call.answered for call in pool.calls))
    await pool.written()
    await pool.crash()
    pool.dialer_clock.step(step)
    await pool.start("two")
    pool.process.switch().refuse(20)
    assert [call.key for call in pool.calls] == [str(i) for i in pool.store.attempts]
    await pool.quiet()
    assert pool.outcomes() == [outcome]
    await pool.stop()


@pytest.mark.parametrize("rate", [-0.05, -0.0005, 0.0005, 0.05])
async def test_an_agents_time_is_what_passed_whatever_the_calendar_does(rate: float) -> None:
    """A shift with conversations, steps and a clock that is slewed the while."""
    pool = Pool()
    talks = [Behaviour(delay=0.5, talk=4.0)] * 8
    agent, _ = await calling(pool, *talks, wrap_up=2.0)
    begun = (
        pool.now
        - sum(  # signed in a moment ago, when no step had been made
            (START + timedelta(seconds=pool.now) - p.at).total_seconds()
            for p in pool.told_agent(agent, "state")[:1]
        )
    )
    pool.dialer_clock.slew(rate)
    for step in (*STEPS, *STEPS):
        await pool.reach(pool.now + 6.0)
        pool.dialer_clock.step(step)
    await pool.until(lambda: pool.state(agent) is AgentState.READY)
    await pool.does(agent, "sign_out")
    await pool.until(lambda: pool.state(agent) is AgentState.SIGNED_OUT)
    ended = pool.now
    await pool.written()
    stretches = [i for i in pool.store.rows.intervals.values() if i.agent_id == agent]
    total = sum(((i.ended_at - i.started_at) for i in stretches), timedelta()).total_seconds()
    assert total == pytest.approx(ended - begun, abs=0.3)
    assert all(i.ended_at > i.started_at for i in stretches)
    assert len({i.session_id for i in stretches}) == 1
    await pool.stop()


def test_a_slewed_clock_goes_on_from_where_it_was() -> None:
    real = ManualClock(datetime(2026, 3, 2, tzinfo=UTC))
    clock = SteppedClock(real)
    clock.step(10.0)
    clock.slew(0.5)
    seen = [clock.now()]
    for rate in (0.5, -0.25, 0.0):
        real.advance(4.0)
        clock.slew(rate)
        seen.append(clock.now())
    assert [(b - a).total_seconds() for a, b in pairwise(seen)] == [6.0, 6.0, 3.0]
    assert clock.off == 13.0 and clock.monotonic() == 12.0
