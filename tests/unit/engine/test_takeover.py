"""A dialer dies at any step of a call's life, and the next one takes over: each attempt ends once,
nobody is dialed twice, nobody is left in silence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from dialer.domain.agent import AgentState
from dialer.domain.call import CallState
from dialer.domain.campaign import DialMode
from dialer.domain.lead import LeadState
from dialer.engine.settings import EngineSettings
from telephony.events import CallEnd
from telephony.twin import Behaviour
from tests.unit.engine.evidence import check
from tests.unit.engine.pool import Pool, Process

pytestmark = [pytest.mark.unit, pytest.mark.looptime(start=0)]

TALKS = Behaviour(delay=4.0, talk=30.0)
SHORT = EngineSettings(lease=3.0, lease_margin=1.0)


async def _pool(*behaviours: Behaviour, **campaign: Any) -> tuple[Pool, UUID]:
    """An agent ready, leads loaded, a store that takes its time."""
    pool = Pool(settings=SHORT, latency=0.02)
    agent = pool.agent(pool.campaign(**campaign))
    await pool.start()
    await pool.sign_in(agent)
    pool.leads(next(iter(pool.engine.campaigns)), *(behaviours or (TALKS,)))
    await pool.refresh()
    return pool, agent


def _in(pool: Pool, *states: CallState) -> bool:
    return any(call.state in states for call in pool.calls)


STEPS: dict[str, Callable[[Pool, UUID], bool]] = {
    "claimed": lambda pool, _: any(r.state is LeadState.HOPPER for r in pool.store.leads.values()),
    "intended": lambda pool, _: bool(pool.store.attempts),
    "sent": lambda pool, _: bool(pool.dialed()),
    "ringing": lambda pool, _: _in(pool, CallState.RINGING),
    "connecting": lambda pool, _: _in(pool, CallState.CONNECTING),
    "connected": lambda pool, _: _in(pool, CallState.CONNECTED),
    "wrap-up": lambda pool, agent: pool.state(agent) is AgentState.WRAP_UP,
}


@pytest.mark.parametrize("away", [0.0, 8.0, 60.0])
@pytest.mark.parametrize("step", STEPS)
async def test_a_dialer_dies(step: str, away: float) -> None:
    pool, agent = await _pool(TALKS, Behaviour(CallEnd.BUSY, delay=2.0), TALKS)
    async with asyncio.timeout(60):
        while not STEPS[step](pool, agent):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    await pool.crash()
    await asyncio.sleep(away)
    await pool.start("two")
    if pool.state(agent) is AgentState.SIGNED_OUT:
        await pool.sign_in(agent, ready=False)
    if pool.state(agent) is AgentState.PAUSED:
        await pool.does(agent, "ready")
    await pool.until(lambda: pool.state(agent) in (AgentState.READY, AgentState.WRAP_UP))
    numbers = [number for _, number in pool.dialed()]
    assert len(numbers) == len(set(numbers))  # their retry rules are hours away
    await pool.quiet()
    await pool.stop()
    check(pool)


@pytest.mark.parametrize("away", [0.0, 8.0, 600.0])
async def test_a_call_is_described_though_the_dialer_died_in_wrap_up(away: float) -> None:
    pool, agent = await _pool(TALKS, TALKS, wrap_up=30.0)
    await pool.until(lambda: pool.state(agent) is AgentState.WRAP_UP)
    call = pool.told_agent(agent, "call_ended")[-1].data["call_id"]
    await pool.reach(pool.now + 5.0)
    await pool.crash()
    await asyncio.sleep(away)
    await pool.start("two")
    assert pool.state(agent) is AgentState.WRAP_UP
    shown = await pool.does(agent, "snapshot")
    assert shown["call"]["call_id"] == call and shown["call"]["state"] == "ended"
    await pool.reach(pool.now + 20.0)  # the time for wrap-up began anew
    assert (await pool.does(agent, "disposition", call_id=call, code="sale"))["state"] == "ready"
    await pool.quiet()
    await pool.stop()
    (said,) = [d for d in pool.store.rows.dispositions.values() if str(d.attempt_id) == call]
    assert said.code == "sale"
    assert len({i.session_id for i in pool.store.rows.intervals.values()}) == 1
    check(pool)


async def test_who_spoke_while_the_dialer_was_dead_wraps_up_when_it_is_back() -> None:
    pool, agent = await _pool(TALKS)
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
    await pool.written()
    await pool.crash()
    await asyncio.sleep(60.0)  # they talk on, and hang up
    await pool.start("two")
    assert pool.state(agent) is AgentState.WRAP_UP
    (call,) = pool.store.attempts
    assert (await pool.does(agent, "disposition", call_id=str(call), code="sale"))["state"]
    await pool.quiet()
    await pool.stop()
    check(pool)


async def test_a_phone_lost_while_the_dialer_was_dead_ends_the_agents_time_there() -> None:
    pool, agent = await _pool(TALKS)
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
    await pool.written()
    await pool.crash()
    await asyncio.sleep(7.0)
    lost = pool.clock.now()
    pool.nodes["n1"].hang_up(next(c.id for c in pool.nodes["n1"].channels.values() if c.leg))
    await asyncio.sleep(50.0)
    await pool.start("two")
    assert pool.state(agent) is AgentState.SIGNED_OUT
    await pool.written()
    last = max(pool.store.rows.intervals.values(), key=lambda i: i.ended_at)
    assert (last.state, last.ended_at) == (AgentState.ON_CALL, lost)
    await pool.sign_in(agent)
    await pool.stop()
    check(pool)


async def test_a_dialer_dies_while_a_person_waits() -> None:
    pool, agent = await _pool(Behaviour(delay=4.0))
    await pool.until(lambda: pool.dialed() != [])
    await pool.does(agent, "pause", reason="x")
    await pool.until(lambda: _in(pool, CallState.WAITING))
    await pool.crash()
    await pool.start("two")
    await pool.quiet()
    assert pool.outcomes() == ["abandoned"]
    (campaign,) = pool.engine.campaigns.values()
    assert (campaign.ledger.live_answers, campaign.ledger.abandoned) == (1, 1)
    await pool.stop()
    check(pool)


@pytest.mark.parametrize("analyse", [False, True])
@pytest.mark.parametrize("delay", [n / 4 for n in range(4, 56, 3)])
async def test_who_answers_while_the_next_dialer_looks_around_meets_an_agent(
    delay: float, analyse: bool
) -> None:
    """Also between its reading of the channels and of the records, which takes a while here."""
    person = Behaviour(delay=delay, talk=30.0)
    pool, agent = await _pool(person, connect_window=60.0, analyse=analyse)
    pool.records_take = 1.5
    await pool.until(lambda: pool.dialed() != [])
    await pool.crash()
    await pool.start("two")
    if pool.state(agent) is AgentState.PAUSED:
        await pool.does(agent, "ready")
    await pool.quiet()
    assert pool.outcomes() == ["ended_by_customer"]
    await pool.stop()
    check(pool, window=60.0)


async def test_the_opt_out_of_a_person_whom_nobody_heard_is_honoured() -> None:
    pool, agent = await _pool(Behaviour(delay=4.0, opts_out=True))
    await pool.until(lambda: pool.dialed() != [])
    await pool.does(agent, "pause", reason="x")
    await pool.crash()
    await asyncio.sleep(20)
    await pool.start("two")
    await pool.written()
    (lead,) = pool.store.leads.values()
    assert pool.outcomes() == ["abandoned"] and lead.state is LeadState.BLOCKED
    assert len(pool.store.rows.do_not_call) == 1
    await pool.stop()
    check(pool)


@pytest.mark.parametrize("answered", [False, True])
async def test_a_manual_call_goes_on_with_the_agent_who_asked(answered: bool) -> None:
    pool, agent = await _pool(TALKS, mode=DialMode.MANUAL)
    other = pool.agent(*pool.engine.campaigns)
    await pool.refresh()
    await pool.sign_in(other)
    campaign, lead = next(iter(pool.engine.campaigns)), next(iter(pool.store.leads))
    await pool.does(agent, "manual_call", campaign_id=str(campaign), lead_id=str(lead))
    await pool.until(lambda: pool.dialed() != [])
    if answered:
        await pool.reach(pool.dialed()[0][0] + 3.9)
    await pool.crash()
    pool.store._leases[pool.id].owner = ""  # the lease is over just now
    await pool.start("two")
    await pool.does(other, "ready")
    if answered:
        await pool.quiet()
        assert pool.outcomes()[0] in ("abandoned", "ended_by_customer")
    else:
        await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
        await pool.until(lambda: pool.state(agent) is AgentState.WRAP_UP)
    assert pool.state(other) is AgentState.READY
    await pool.quiet()
    await pool.stop()
    check(pool)


async def test_events_between_looking_and_hearing_are_not_lost() -> None:
    """The call ends in the moment between the reading of the channels and the reconciliation."""
    pool, agent = await _pool(Behaviour(delay=1.0, talk=20.0))
    pool.records_take = 0.1
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
    (call,) = pool.calls
    await pool.crash()
    node = pool.nodes["n1"]
    real = node.snapshot
    asked: list[int] = []

    def snapshot() -> Any:
        found = real()
        asked.append(1)
        if len(asked) == 2:  # NodeUp carries one, the reconciliation asks for another
            node.far_hang_up(call.key)
        return found

    node.snapshot = snapshot  # type: ignore[method-assign]
    await pool.start("two")
    await pool.until(lambda: not pool.calls)
    await pool.written()
    assert len(asked) >= 2 and pool.outcomes() == ["ended_by_customer"]
    assert pool.state(agent) in (AgentState.WRAP_UP, AgentState.PAUSED)
    await pool.stop()
    check(pool)


async def test_a_node_that_is_away_at_the_takeover_is_judged_when_it_is_back() -> None:
    pool = Pool(
        nodes=("n1", "n2"), settings=EngineSettings(lease=3.0, lease_margin=1.0, node_wait=2.0)
    )
    campaign = pool.campaign()
    agents = pool.agents(2, campaign)
    await pool.start()
    await pool.sign_in(*agents)
    pool.leads(campaign, *[Behaviour(delay=1.0, talk=60.0)] * 2)
    await pool.refresh()
    await pool.until(lambda: all(pool.state(a) is AgentState.ON_CALL for a in agents))
    await pool.crash()
    # The new dialer cannot reach n1, where a conversation goes on.
    node = pool.nodes["n1"]
    node.running = False
    await pool.start("two")
    assert pool.engine.found is not None and pool.engine.found.adopted == 1
    node.running = True
    pool.process.switch("n1").restore()
    await pool.until(lambda: all(pool.state(a) is AgentState.ON_CALL for a in agents))
    await pool.quiet()
    assert pool.outcomes() == ["ended_by_customer"] * 2
    await pool.stop()
    check(pool)


async def test_a_node_that_is_away_at_the_takeover_and_never_comes_back_is_given_up() -> None:
    pool = Pool(
        nodes=("n1", "n2"),
        settings=EngineSettings(lease=3.0, lease_margin=1.0, node_wait=2.0, leg_grace=10.0),
    )
    campaign = pool.campaign()
    agents = pool.agents(2, campaign)
    await pool.start()
    await pool.sign_in(*agents)
    pool.leads(campaign, *[Behaviour(delay=1.0, talk=60.0)] * 2)
    await pool.refresh()
    await pool.until(lambda: all(pool.state(a) is AgentState.ON_CALL for a in agents))
    await pool.crash()
    pool.nodes["n1"].crash()
    await pool.start("two")
    assert pool.outcomes().count("") == 2
    begun = pool.now
    await pool.until(lambda: pool.outcomes().count("") == 1)
    assert pool.now - begun <= 12
    await pool.until(lambda: pool.outcomes().count("") == 0)
    await pool.stop()
    check(pool)


async def test_a_takeover_does_not_wait_for_a_node_that_has_been_away_for_long() -> None:
    pool = Pool(nodes=("n1", "n2"), settings=EngineSettings(lease=3.0, lease_margin=1.0))
    agent = pool.agent(pool.campaign())
    await pool.start()
    await pool.sign_in(agent)
    pool.nodes["n1"].crash()
    heir = Process(pool, "two", None)
    await heir.board.start()
    standing = asyncio.ensure_future(heir.engine.start())
    await pool.reach(pool.now + pool.settings.node_wait)
    await pool.crash()
    begun = pool.now
    await standing
    assert pool.now - begun <= pool.settings.lease + 1.0
    pool.processes.append(heir)
    await pool.stop()


async def test_asterisk_and_dialer_die_together() -> None:
    pool, agent = await _pool(TALKS, TALKS)
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
    await pool.written()
    await pool.crash()
    pool.nodes["n1"].crash()
    pool.nodes["n1"].boot()
    await pool.start("two")
    await pool.written()
    assert pool.outcomes()[0] in ("unknown", "ended_by_customer")
    assert pool.state(agent) is AgentState.SIGNED_OUT
    await pool.sign_in(agent)
    await pool.quiet()
    await pool.stop()
    check(pool)


async def test_many_deaths_in_a_row() -> None:
    pool, agent = await _pool(*[Behaviour(delay=2.0, talk=6.0)] * 12, wrap_up=1.0)
    for n in range(6):
        await pool.until(lambda: bool(pool.calls), within=300)
        await asyncio.sleep(0.7 * n)
        await pool.crash()
        await pool.start(f"again-{n}")
        if pool.state(agent) is AgentState.PAUSED:
            await pool.does(agent, "ready")
    await pool.quiet()
    numbers = [number for _, number in pool.dialed()]
    assert len(numbers) == len(set(numbers))
    await pool.stop()
    check(pool)


# -- an orderly stop


async def test_a_stop_lets_conversations_end_and_dials_no_more() -> None:
    pool, agent = await _pool(Behaviour(delay=2.0, talk=10.0), TALKS, TALKS)
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
    began = pool.now
    dialed = len(pool.dialed())
    await pool.stop()
    assert 9.0 <= pool.now - began <= 11.0
    assert len(pool.dialed()) == dialed and pool.outcomes() == ["ended_by_customer"]
    held = {row.state for row in pool.store.leads.values()} & {
        LeadState.HOPPER, LeadState.DIALING
    }  # fmt: skip
    assert held == set()
    assert pool.nodes["n1"].channels == {}
    check(pool)
    await pool.start("two")  # the pool is free at once
    assert pool.now - began <= 11.5
    await pool.stop()


async def test_a_stop_ends_what_does_not_end_by_itself() -> None:
    pool, agent = await _pool(Behaviour(delay=2.0, talk=1000.0))
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
    began = pool.now
    await pool.stop()
    assert pool.now - began <= pool.settings.drain + pool.settings.originate_time + 1.0
    assert pool.outcomes() == ["ended_by_agent"] and pool.nodes["n1"].channels == {}
    check(pool)


async def test_a_stop_with_the_database_away_ends_all_the_same(logs: Any) -> None:
    logs.expect("write_failed", "stop_unwritten", "lease_lost", "engine_died", "claim_failed")
    pool, agent = await _pool(Behaviour(delay=2.0, talk=5.0))
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
    pool.store.down = True
    await pool.stop()
    assert pool.engine.stopped.is_set()
    pool.mark_crash()
    pool.store.down = False
    await pool.start("two")
    await pool.written()
    await pool.stop()
    check(pool)


async def test_the_lines_of_a_lost_engine_are_free_for_the_next_one_of_the_same_process(
    logs: Any,
) -> None:
    logs.expect("lease_lost", "engine_died")
    pool, agent = await _pool(Behaviour(delay=2.0, talk=100.0))
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
    trunk = pool.process.lines.trunks["t-n1"]
    assert trunk.used == 1
    pool.engine.lease._deadline = 0.0
    await pool.until(lambda: pool.engine.stopped.is_set())
    assert trunk.used == 0
    await pool.process.board.stop()
