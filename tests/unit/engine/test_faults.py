"""Links, nodes, databases and leases that fail while calls are up."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest

from dialer.domain.agent import AgentState
from dialer.domain.call import Outcome
from dialer.domain.campaign import DialMode, RetryRule
from dialer.domain.errors import Unavailable
from dialer.domain.lead import LeadState
from dialer.domain.work import DispositionWrite, LeadMove, StoreInTrouble
from dialer.engine.settings import EngineSettings
from dialer.engine.state import stretch
from dialer.engine.writer import LeftBehind
from telephony.events import (
    CallAnswered,
    CallBridged,
    CallEnd,
    CallEnded,
    LegParked,
    SwitchEvent,
)
from telephony.trunks import Breaker
from telephony.twin import Behaviour
from tests.unit.engine.evidence import check
from tests.unit.engine.pool import Pool

pytestmark = [pytest.mark.unit, pytest.mark.looptime(start=0)]

TALKS = Behaviour(delay=2.0, talk=20.0)


async def _ringing(
    agents: int = 1, *behaviours: Behaviour, **world: Any
) -> tuple[Pool, list[UUID]]:
    """Agents ready, and their calls on the way."""
    pool = Pool(**world)
    campaign = pool.campaign()
    who = pool.agents(agents, campaign)
    await pool.start()
    await pool.sign_in(*who)
    pool.leads(campaign, *(behaviours or (TALKS,)))
    await pool.refresh()
    await pool.until(lambda: len(pool.dialed()) == min(agents, len(behaviours) or 1))
    return pool, who


# -- bridges


async def test_the_far_end_hangs_up_in_the_moment_of_bridging() -> None:
    pool, (agent,) = await _ringing(1, Behaviour(delay=2.0, talk=0.0), TALKS)
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
    await pool.quiet()
    first, second = pool.outcomes()
    assert first in ("hung_up_waiting", "ended_by_customer") and second == "ended_by_customer"
    await pool.stop()
    check(pool)


async def test_a_refused_bridge_gives_the_person_to_the_next_agent() -> None:
    pool, agents = await _ringing(2)
    pool.process.switch().refuse()
    await pool.until(lambda: any(pool.state(a) is AgentState.ON_CALL for a in agents))
    pops = [len(pool.told_agent(a, "pop")) for a in agents]
    assert pops == [1, 1]
    free = next(a for a in agents if pool.state(a) is not AgentState.ON_CALL)
    assert pool.state(free) is AgentState.READY
    await pool.quiet()
    await pool.stop()
    check(pool)


async def test_bridges_refused_for_ever_end_in_the_message_not_in_silence() -> None:
    pool, (agent,) = await _ringing(1, Behaviour(delay=2.0))
    pool.process.switch().refuse(10)
    await pool.quiet()
    assert pool.outcomes() == ["abandoned"]
    assert pool.state(agent) is AgentState.READY
    pool.process.switch()._refusals = 0
    await pool.stop()
    check(pool)


@pytest.mark.parametrize("lost", ["request", "answer"])
async def test_a_bridge_without_an_answer(lost: str) -> None:
    pool, (agent,) = await _ringing(1, Behaviour(delay=2.0, talk=40.0), TALKS)
    switch = pool.process.switch()
    getattr(switch, f"lose_{lost}")()
    await pool.until(lambda: bool(pool.outcomes()) and pool.outcomes()[0] != "")
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
    await pool.quiet()
    await pool.stop()
    check(pool)


# -- links and nodes


async def test_a_cut_link_loses_no_call_and_no_truth() -> None:
    behaviours = [
        Behaviour(delay=2.0, talk=1.0),
        Behaviour(delay=1.5, talk=40.0),
        Behaviour(CallEnd.BUSY, delay=1.2),
        Behaviour(delay=12.0, talk=5.0),
    ]
    pool, _ = await _ringing(4, *behaviours)
    await pool.reach(pool.now + 1.0)
    pool.process.switch().cut(back=False)
    await pool.reach(pool.now + 5.0)
    pool.process.switch().restore()
    await pool.quiet()
    assert sorted(pool.outcomes()) == sorted(
        ["hung_up_waiting", "ended_by_customer", "busy", "ended_by_customer"]
    )
    # The message had begun for one of them before an agent came: the ledger knows it from CEL.
    (campaign,) = pool.engine.campaigns.values()
    assert campaign.ledger.abandoned == 1
    await pool.stop()
    check(pool)


@pytest.mark.parametrize("agents_asked", [True, False])
async def test_who_hung_up_first_is_in_the_records_when_the_link_came_back_too_late_for_it(
    agents_asked: bool,
) -> None:
    """They hang up, the link comes back, and only then is their channel gone."""
    pool, (agent,) = await _ringing(1, Behaviour(delay=2.0, talk=3.0))
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
    (call,) = pool.calls
    pool.process.switch().cut(back=False)
    if agents_asked:
        await pool.does(agent, "hang_up")
    (node,) = pool.nodes.values()
    await pool.until(lambda: call.key in node.ended)
    end = CallEnded("n1", pool.now, call.key, CallEnd.HUNG_UP_NEAR, True, 16, "")
    pool.engine.on_event(end)
    await pool.until(lambda: not pool.calls)
    pool.process.switch().restore()
    await pool.quiet()
    assert pool.outcomes() == ["ended_by_customer"]
    await pool.stop()
    check(pool)


async def test_an_originate_whose_answer_is_lost_is_not_repeated() -> None:
    pool = Pool()
    campaign = pool.campaign()
    agent = pool.agent(campaign)
    await pool.start()
    await pool.sign_in(agent)
    pool.leads(campaign, TALKS, TALKS)
    pool.process.switch().lose_answer()
    await pool.refresh()
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
    await pool.quiet()
    assert len(pool.dialed()) == len({n for _, n in pool.dialed()})
    await pool.stop()
    check(pool)


async def test_an_originate_that_never_arrived_ends_as_unknown() -> None:
    pool = Pool()
    campaign = pool.campaign()
    agent = pool.agent(campaign)
    await pool.start()
    await pool.sign_in(agent)
    lead = pool.lead(campaign, TALKS)
    pool.process.switch().lose_request()
    await pool.refresh()
    await pool.until(lambda: pool.outcomes() == ["unknown"])
    assert pool.store.leads[lead].state is LeadState.RETRY
    assert pool.dialed() == []
    await pool.stop()
    check(pool)


@pytest.mark.parametrize("recorded", [True, False])
async def test_a_failure_without_a_channel_is_believed_when_the_records_have_none_either(
    recorded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a link that goes half-open just then the failure may come through and the channel not."""
    pool, _ = await _ringing(1, Behaviour(CallEnd.BUSY, delay=2.0))
    (node,) = pool.nodes.values()
    switch = pool.process.switch()
    heard = switch._sink

    def failure(event: SwitchEvent) -> None:
        if isinstance(event, CallEnded):
            event = replace(event, end=CallEnd.FAILED, cause=0, tech_cause="")
            if not recorded:
                node.ended.pop(event.call_id)
        heard(event)

    monkeypatch.setattr(switch, "_sink", failure)
    await pool.until(lambda: not pool.calls)
    await pool.written()
    assert pool.outcomes() == ["busy" if recorded else "failed"]
    await pool.stop()


async def test_an_originate_that_is_refused_calls_nobody() -> None:
    pool = Pool()
    campaign = pool.campaign()
    agent = pool.agent(campaign)
    await pool.start()
    await pool.sign_in(agent)
    pool.lead(campaign, TALKS)
    pool.process.switch().refuse()
    await pool.refresh()
    await pool.until(lambda: pool.outcomes() == ["failed"])
    assert pool.process.lines.trunks["t-n1"].used == 0
    await pool.stop()
    check(pool)


async def test_a_node_goes_down_and_the_other_takes_over_new_calls() -> None:
    pool = Pool(nodes=("n1", "n2"))
    campaign = pool.campaign(wrap_up=3.0)
    agents = pool.agents(4, campaign)
    fixed = pool.agent(campaign, node="n1")
    await pool.start()
    await pool.sign_in(*agents, fixed)
    assert {pool.person(a).leg_node for a in agents} == {"n1", "n2"}
    pool.leads(campaign, *[TALKS] * 60)
    await pool.refresh()
    await pool.until(lambda: sum(pool.state(a) is AgentState.ON_CALL for a in agents) == 4)
    pool.nodes["n1"].crash()
    down = pool.now
    await pool.until(lambda: all(pool.person(a).leg_node == "n2" for a in agents), within=200)
    assert pool.now == pytest.approx(down + pool.settings.leg_grace + 1.0)
    for agent in agents:
        if pool.state(agent) is AgentState.PAUSED:
            await pool.does(agent, "ready")
    await pool.until(lambda: sum(call.node == "n2" for call in pool.calls) > 2, within=200)
    pool.nodes["n1"].boot()
    await pool.until(lambda: all(call.node == "n2" for call in pool.calls))
    assert pool.state(fixed) in (AgentState.LEG_LOST, AgentState.SIGNED_OUT, AgentState.PAUSED)
    await pool.stop()
    check(pool)


async def test_an_agent_whose_own_node_is_away_signs_in_at_another() -> None:
    pool = Pool(nodes=("n1", "n2"))
    agent = pool.agent(pool.campaign(), node="n1")
    await pool.start()
    pool.nodes["n1"].crash()
    await pool.sign_in(agent)
    assert pool.person(agent).leg_node == "n2"
    await pool.does(agent, "sign_out")
    pool.nodes["n1"].boot()
    await pool.until(lambda: not pool.process.board.down())
    await pool.sign_in(agent)
    assert pool.person(agent).leg_node == "n1"
    await pool.stop()
    check(pool)


async def test_waiting_agents_of_a_node_that_stays_away_are_called_from_another() -> None:
    pool = Pool(nodes=("n1", "n2"))
    campaign = pool.campaign()
    agents = pool.agents(4, campaign)
    await pool.start()
    await pool.sign_in(*agents)
    pool.nodes["n1"].crash()
    down = pool.now
    await pool.until(lambda: all(pool.person(a).leg_node == "n2" for a in agents))
    assert pool.now == pytest.approx(down + pool.settings.leg_grace + 1.0)
    pool.nodes["n1"].boot()
    await pool.reach(pool.now + 5)
    assert pool.nodes["n1"].channels == {}
    await pool.stop()
    check(pool)


async def test_calls_of_a_node_that_never_comes_back_end_as_unknown_in_bounded_time() -> None:
    pool = Pool(nodes=("n1", "n2"))
    campaign = pool.campaign(DialMode.RATIO, dial_ratio=2.0, target_abandon=1.0, ring_timeout=60.0)
    agents = pool.agents(4, campaign)
    await pool.start()
    await pool.sign_in(*agents)
    pool.leads(campaign, *[Behaviour(delay=1.0, talk=300.0)] * 4, *[Behaviour(delay=50.0)] * 4)
    await pool.refresh()
    await pool.until(
        lambda: {bool(c.connected) for c in pool.calls if c.node == "n1"} == {True, False}
    )
    lost = [call.key for call in pool.calls if call.node == "n1"]
    pool.nodes["n1"].crash()
    down = pool.now
    await pool.until(lambda: not any(call.node == "n1" for call in pool.calls))
    waits = sum(pool.settings.record_waits)
    assert pool.now == pytest.approx(down + pool.settings.leg_grace + waits, abs=0.3)
    await pool.written()
    rows = {str(row.new.id): row for row in pool.store.attempts.values()}
    assert len(lost) >= 2 and all(rows[key].outcome is not None for key in lost)
    assert pool.process.lines.trunks["t-n1"].used == 0
    assert all(pool.person(a).leg_node == "n2" or not pool.person(a).leg_id for a in agents)
    await pool.stop()
    check(pool)


async def test_a_leg_on_a_node_that_was_only_cut_off_is_put_down_when_it_is_back() -> None:
    pool = Pool(nodes=("n1", "n2"))
    agents = pool.agents(2, pool.campaign())
    await pool.start()
    await pool.sign_in(*agents)
    pool.process.switch("n1").cut(back=False)
    await pool.until(lambda: all(pool.person(a).leg_node == "n2" for a in agents))
    assert len(pool.nodes["n1"].channels) == 1
    pool.process.switch("n1").restore()
    await pool.until(lambda: pool.nodes["n1"].channels == {})
    assert all(pool.person(a).leg_parked for a in agents)
    await pool.stop()
    check(pool)


# -- the database


async def test_with_the_database_away_nothing_is_dialed_and_everything_else_goes_on(
    logs: Any,
) -> None:
    logs.expect("write_failed", "tick_failed", "claim_failed")
    pool, agents = await _ringing(3, *[TALKS] * 3)
    more = pool.leads(next(iter(pool.engine.campaigns)), *[TALKS] * 20)
    await pool.refresh()
    pool.store.down = True
    dialed = len(pool.dialed())
    await pool.until(lambda: all(pool.state(a) is AgentState.ON_CALL for a in agents))
    await pool.reach(pool.now + 3)
    assert len(pool.dialed()) == dialed and pool.engine.writer.backlog > 0
    assert not pool.engine.gate.open
    pool.store.down = False
    await pool.written()
    answered = [a.fields for a in pool.store.attempts.values() if "connected_at" in a.fields]
    assert len(answered) == 3
    await pool.until(lambda: len(pool.dialed()) > dialed)
    assert more
    await pool.stop()
    check(pool)


async def test_an_engine_that_cannot_renew_in_time_stops_and_the_next_one_goes_on(
    logs: Any,
) -> None:
    logs.expect("write_failed", "tick_failed", "claim_failed", "lease_lost")
    pool, agents = await _ringing(2, *[Behaviour(delay=2.0, talk=100.0)] * 2)
    await pool.until(lambda: all(pool.state(a) is AgentState.ON_CALL for a in agents))
    pool.store.down = True
    went = pool.now
    first = pool.engine
    await pool.until(lambda: first.stopped.is_set())
    latest = went + pool.settings.lease - pool.settings.lease_margin
    assert went < pool.now <= latest + 0.001
    with pytest.raises(Unavailable):
        await pool.does(agents[0], "hang_up")
    await pool.process.board.stop()
    pool.mark_crash()
    pool.store.down = False
    second = await pool.start("two")
    assert second.found is not None and second.found.adopted == 2
    assert all(pool.state(a) is AgentState.ON_CALL for a in agents)
    await pool.quiet()
    assert pool.outcomes() == ["ended_by_customer"] * 2
    await pool.stop()
    check(pool)


@pytest.mark.parametrize("step", ["claim", "intend", "write"])
async def test_answers_of_the_database_that_get_lost(step: str, logs: Any) -> None:
    logs.expect("write_failed", "tick_failed", "claim_failed")
    pool = Pool()
    campaign = pool.campaign()
    agents = pool.agents(2, campaign)
    await pool.start()
    await pool.sign_in(*agents, ready=False)
    real = getattr(pool.store, step)
    lost: list[str] = []

    async def forgetful(*args: Any, **kwargs: Any) -> Any:
        done = await real(*args, **kwargs)
        wrote = {"claim": bool(done), "intend": True, "write": len(args) > 1 and bool(args[1])}
        if len(lost) < 3 and wrote[step]:
            lost.append(step)
            raise ConnectionError("the answer was lost")
        return done

    setattr(pool.store, step, forgetful)
    leads = pool.leads(campaign, *[Behaviour(delay=1.0, talk=5.0)] * 6)
    await pool.refresh()
    for agent in agents:
        await pool.does(agent, "ready")
    await pool.until(
        lambda: all(pool.store.leads[i].state is LeadState.DONE for i in leads), within=300
    )
    assert len(lost) == 3
    assert len(pool.dialed()) == 6  # each once
    await pool.quiet()
    await pool.until(lambda: not pool.engine.placer.uncertain)
    # Also what was committed without our knowing, and never dialed, is in the books.
    assert pool.engine.campaigns[campaign].ledger.outcomes == Counter(pool.outcomes())
    await pool.stop()
    check(pool)


async def test_one_impossible_write_does_not_hold_up_the_others(logs: Any) -> None:
    logs.expect("write_failed", "write_refused")
    pool, (agent,) = await _ringing()
    await pool.until(lambda: pool.state(agent) is AgentState.WRAP_UP)
    real = pool.store.rows.apply

    def picky(write: Any) -> Any:
        if isinstance(write, DispositionWrite):
            raise ValueError("a character that the database does not take")
        return real(write)

    pool.store.rows.apply = picky  # type: ignore[method-assign]
    call = pool.person(agent).last_call
    assert call is not None
    await pool.does(agent, "disposition", call_id=call.key, code="never")
    await asyncio.wait_for(pool.written(), 10)
    assert pool.engine.writer.refused == 1 and pool.engine.writer.healthy
    assert len(pool.store.rows.do_not_call) == 1
    await pool.stop()
    check(pool)


async def test_a_full_disk_costs_no_write_however_long_it_is_full(logs: Any) -> None:
    """A store in trouble may well answer: nothing that it cannot take now is given up for that."""
    logs.expect("write_failed", "tick_failed", "claim_failed")
    pool, (agent,) = await _ringing(1, Behaviour(delay=2.0, talk=5.0))
    await pool.until(lambda: pool.state(agent) is AgentState.WRAP_UP)
    await pool.written()
    real, full = pool.store.write, True

    async def write(lease: Any, batch: Any) -> None:
        if full and batch:
            raise StoreInTrouble("the disk is full")
        await real(lease, batch)

    pool.store.write = write  # type: ignore[method-assign]
    call = pool.person(agent).last_call
    assert call is not None
    await pool.does(agent, "disposition", call_id=call.key, code="sale", then="pause")
    await pool.reach(pool.now + 60)
    assert not pool.engine.gate.open and pool.store.rows.dispositions == {}
    full = False
    await pool.written()
    assert len(pool.store.rows.dispositions) == 1 and pool.engine.writer.refused == 0
    await pool.stop()
    check(pool)


# -- the lease


async def test_a_process_that_stood_still_sends_and_writes_nothing_afterwards(logs: Any) -> None:
    logs.expect("lease_lost")
    pool, agents = await _ringing(2, Behaviour(delay=2.0, talk=60.0), TALKS)
    await pool.reach(pool.now + 1.0)
    engine = pool.engine
    switch = pool.process.switch()
    sent: list[str] = []
    real = switch._act

    def act(*args: Any, **kwargs: Any) -> None:
        sent.append(kwargs.get("sent", "") or "action")
        real(*args, **kwargs)

    switch._act = act  # type: ignore[method-assign]
    rows = dict(pool.store.rows.intervals), len(pool.store.attempts)
    engine.lease._deadline -= 100.0  # as if a hundred seconds had gone by unnoticed
    await pool.until(lambda: engine.stopped.is_set())
    await pool.reach(pool.now + 10)
    assert sent == []
    assert (dict(pool.store.rows.intervals), len(pool.store.attempts)) == rows
    assert "lease" in engine.stop_reason
    with pytest.raises(Unavailable):
        await pool.does(agents[0], "ready")
    await pool.process.board.stop()
    pool.mark_crash()
    await pool.start("two")
    await pool.quiet()
    await pool.stop()
    check(pool)


@pytest.mark.parametrize("moment", ["answer", "command", "timer"])
async def test_the_first_thing_after_standing_still_is_not_acted_on(moment: str, logs: Any) -> None:
    logs.expect("lease_lost")
    pool, (agent, other) = await _ringing(2, TALKS)
    engine = pool.engine
    if moment == "timer":
        await pool.until(lambda: pool.state(agent) is AgentState.WRAP_UP
                         or pool.state(other) is AgentState.WRAP_UP)  # fmt: skip
        await pool.reach(pool.now + 9.99)
    engine.lease._deadline -= 100.0
    before = len(pool.posted)
    if moment == "answer":
        (call,) = pool.calls
        engine.on_event(CallAnswered("n1", pool.now, call.key))
    elif moment == "command":
        with pytest.raises(Unavailable):
            await pool.does(agent, "pause", reason="x")
    await pool.reach(pool.now + 15)
    assert engine.stopped.is_set()
    assert len(pool.posted) == before or moment == "timer"
    if moment == "timer":
        assert pool.posted[before:] == []
    await pool.process.board.stop()
    pool.mark_crash()
    await pool.start("two")
    await pool.quiet()
    await pool.stop()
    check(pool)


async def test_a_slow_renewal_is_as_good_as_none(logs: Any) -> None:
    logs.expect("lease_lost", "tick_failed", "claim_failed", "write_failed")
    pool = Pool(settings=EngineSettings(lease=10.0, lease_margin=2.0))
    pool.campaign()
    await pool.start()
    pool.store.latency = 9.0
    await pool.until(lambda: pool.engine.stopped.is_set())
    assert pool.now <= 8.0 + 0.2  # found out by looking
    pool.store.latency = 0.0
    with pytest.raises(Unavailable):
        await pool.command("pool.figures")
    await pool.process.board.stop()


async def test_what_was_decided_before_standing_still_is_not_sent_after_it(logs: Any) -> None:
    logs.expect("lease_lost")
    pool, _ = await _ringing(1, Behaviour(delay=3600.0))
    (call,) = pool.calls
    sent: list[str] = []
    switch = pool.process.switch()
    switch._act = lambda *args, **kwargs: sent.append("action")  # type: ignore[method-assign]
    pool.engine.router.hang_up(call)  # a wish, and before it is sent
    pool.engine.lease._deadline -= 100.0  # the process stands still
    await pool.until(lambda: pool.engine.stopped.is_set())
    assert sent == []
    await pool.process.board.stop()


async def test_what_one_engine_could_not_write_the_next_one_of_its_process_does(
    logs: Any,
) -> None:
    logs.expect("write_failed", "tick_failed", "claim_failed", "lease_lost")
    pool, (agent,) = await _ringing(1, Behaviour(delay=2.0, talk=5.0), TALKS)
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
    await pool.written()
    pool.store.down = True
    await pool.until(lambda: pool.state(agent) is AgentState.WRAP_UP)
    call = pool.person(agent).last_call
    assert call is not None
    await pool.does(agent, "disposition", call_id=call.key, code="never", then="pause")
    first = pool.engine
    await pool.until(lambda: first.stopped.is_set())
    assert pool.store.rows.dispositions == {}
    await pool.process.board.stop()
    pool.mark_crash()
    pool.store.down = False
    await pool.start("two", first.left_behind)
    await pool.written()
    assert len(pool.store.rows.dispositions) == len(pool.store.rows.do_not_call) == 1
    assert pool.outcomes()[0] == "ended_by_customer"
    assert pool.store.leads[call.lead_id].state is LeadState.BLOCKED
    assert pool.engine.left_behind.writes == ()
    await pool.quiet()
    await pool.stop()
    check(pool)


async def test_what_is_left_behind_is_only_facts_when_somebody_else_was_there_meanwhile() -> None:
    pool, (agent,) = await _ringing()
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
    (call,) = pool.calls
    now = pool.clock.now()
    fact = DispositionWrite(call.id, now, agent, "sale", "", {}, now, 0.0)
    move = LeadMove(call.lead_id, LeadState.RETRY, next_at=now)
    # The next owner goes on with an agent's time from what was written: this would count it twice.
    time = stretch(pool.person(agent), now=pool.now, campaign_id=None)
    assert time is not None
    left = LeftBehind(3, (move, fact, time))
    assert (left.for_epoch(4), left.for_epoch(5)) == ((move, fact, time), (fact,))
    await pool.stop()
    check(pool)


@pytest.mark.parametrize("how", ["lost", "pulled out"])
async def test_a_person_whose_agent_is_gone_is_hung_up_on_whatever_the_dialplan_does(
    how: str,
) -> None:
    pool, (agent,) = await _ringing(1, Behaviour(delay=1.0))
    node = pool.nodes["n1"]
    real = node._go_on
    node._go_on = lambda c: real(c) if c.leg else None  # type: ignore[method-assign]
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
    (node.far_hang_up if how == "lost" else node.play)(pool.person(agent).leg_id)
    await pool.quiet(within=5)
    await pool.stop()
    check(pool)


async def test_two_engines_never_own_the_pool_together() -> None:
    pool, (agent,) = await _ringing()
    first = pool.engine
    starting = asyncio.ensure_future(pool.start("two"))
    await pool.reach(pool.now + 30)
    assert not starting.done() and first.lease.held
    pool.processes.pop()
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    assert pool.state(agent) is not AgentState.SIGNED_OUT
    await pool.stop()
    check(pool)


# -- events that make no sense


async def test_events_for_unknown_ids_and_events_twice_do_no_harm() -> None:
    pool, (agent,) = await _ringing(1, Behaviour(delay=2.0, talk=5.0))
    engine = pool.engine
    nobody = str(pool.new_id())
    engine.on_event(CallAnswered("n1", pool.now, nobody))
    engine.on_event(CallBridged("n1", pool.now, nobody, "leg-x", "b"))
    engine.on_event(LegParked("n1", pool.now, "leg-x"))
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
    (call,) = pool.calls
    leg = pool.person(agent).leg_id
    for _ in range(2):
        engine.on_event(CallAnswered("n1", pool.now, call.key))
        engine.on_event(CallBridged("n1", pool.now, call.key, leg, "b"))
    assert len(pool.told_agent(agent, "pop")) == 1
    await pool.quiet()
    await pool.stop()
    check(pool)


async def test_two_short_cuts_are_no_long_one() -> None:
    """The second cut comes half a minute after the first: the phones stay up through both."""
    pool, (agent,) = await _ringing(1, Behaviour(delay=2.0, talk=90.0))
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
    first = pool.now
    pool.process.switch().cut()
    await pool.reach(first + pool.settings.leg_grace - 1.0)
    pool.process.switch().cut(back=False)
    await pool.reach(first + pool.settings.leg_grace + 1.0)
    pool.process.switch().restore()
    await pool.reach(pool.now + 1.0)
    assert pool.state(agent) is AgentState.ON_CALL
    assert not pool.told_agent(agent, "notice")
    await pool.quiet()
    assert pool.outcomes() == ["ended_by_customer"]
    await pool.stop()
    check(pool)


@pytest.mark.parametrize("lost", ["request", "answer"])
async def test_a_phone_whose_call_was_not_answered_for(lost: str) -> None:
    """Whether it was called only the node knows: it is asked when the link is back, and a phone
    that rang is not put down and called anew."""
    pool = Pool()
    campaign = pool.campaign()
    agent = pool.agent(campaign)
    await pool.start()
    getattr(pool.process.switch(), f"lose_{lost}")()
    await pool.does(agent, "sign_in")
    if lost == "answer":
        await pool.until(lambda: pool.state(agent) is AgentState.PAUSED)
        assert not pool.told_agent(agent, "notice")
    else:  # it never rang, and the agent is told
        await pool.until(lambda: pool.state(agent) is AgentState.SIGNED_OUT)
        assert pool.told_agent(agent, "notice")[-1].data["slug"] == "phone-unreachable"
        await pool.sign_in(agent)
    assert len([c for c in pool.nodes["n1"].channels.values() if c.leg]) == 1
    await pool.stop()
    check(pool)


async def test_a_trunk_that_says_nothing_is_taken_out_and_costs_nobody_an_attempt() -> None:
    rule = {Outcome.CONGESTION: RetryRule(1.0, 10)}
    pool = Pool()
    campaign = pool.campaign(ring_timeout=10.0, max_attempts=1, retries=rule)
    agents = pool.agents(4, campaign)
    await pool.start()
    await pool.sign_in(*agents)
    pool.leads(campaign, *(Behaviour(CallEnd.SILENT) for _ in range(60)))
    await pool.refresh()
    trunk = pool.process.lines.trunks["t-n1"]
    await pool.until(lambda: trunk.breaker is Breaker.OPEN, within=300)
    assert len(pool.dialed()) <= trunk.settings.window + len(agents)
    assert trunk.reason.endswith("silence")
    for lead in list(pool.people):  # the trunk recovers
        pool.people[lead] = TALKS
    await pool.until(lambda: trunk.breaker is Breaker.CLOSED, within=120)
    await pool.until(lambda: pool.outcomes().count("ended_by_customer") == 60, within=3600)
    dialed: dict[str, list[float]] = {}
    for at, number in pool.dialed():
        dialed.setdefault(number, []).append(at)
    assert len(dialed) == 60
    # Asterisk repeats an INVITE that nobody answered for 32 s, also after we gave up.
    gaps = [b - a for times in dialed.values() for a, b in pairwise(times)]
    assert gaps and min(gaps) >= 10.0 + 32.0
    await pool.stop()
    check(pool)
