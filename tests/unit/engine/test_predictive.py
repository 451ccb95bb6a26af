"""Predictive campaigns: ahead of the agents, inside the rules, and with reasons."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest

from dialer.domain.agent import AgentState
from dialer.domain.call import CallState, Outcome
from dialer.domain.campaign import DialMode, RetryRule
from dialer.domain.lead import LeadState
from dialer.engine.giving_up import GivingUp
from dialer.engine.state import Call
from telephony.events import CallEnd, Progress
from telephony.switch import NotSent, Unanswered
from telephony.twin import Behaviour
from tests.unit.engine.evidence import check
from tests.unit.engine.pool import Pool

pytestmark = [pytest.mark.unit, pytest.mark.looptime(start=0)]


def crowd(pool: Pool, campaign: UUID, count: int, *, seed: int = 1, answers: float = 0.3) -> None:
    """People of whom a share picks up after some rings and talks for a while."""
    rng = random.Random(seed)
    for _ in range(count):
        if rng.random() < answers:
            talk = min(rng.lognormvariate(3.0, 0.6), 90.0)
            person = Behaviour(delay=min(rng.lognormvariate(2.0, 0.5), 18.0), talk=talk)
        elif rng.random() < 0.1:
            person = Behaviour(CallEnd.BUSY, delay=3.0)
        else:
            person = Behaviour(delay=3600.0)
        pool.lead(campaign, person)


async def predictive(
    pool: Pool, agents: int, *, leads: int = 3000, **settings: Any
) -> tuple[UUID, list[UUID]]:
    """A running campaign with its agents ready."""
    campaign = pool.campaign(
        DialMode.PREDICTIVE,
        **{"target_abandon": 0.03, "wrap_up": 3.0, "ring_timeout": 20.0, **settings},
    )
    people = pool.agents(agents, campaign)
    crowd(pool, campaign, leads)
    await pool.start()
    await pool.sign_in(*people)
    return campaign, people


async def test_it_dials_ahead_of_its_agents_and_keeps_its_target() -> None:
    pool = Pool()
    campaign, agents = await predictive(pool, 20)
    ahead = 0
    while pool.now < 900:
        await pool.reach(pool.now + 1.0)
        free = sum(pool.person(a).available for a in agents)
        ahead += sum(c.agent_id is None for c in pool.calls) > free
    ledger = pool.engine.campaigns[campaign].ledger
    assert ahead > 600  # nearly always more calls under way than agents free
    assert ledger.live_answers > 300
    assert ledger.abandoned <= 0.045 * ledger.live_answers  # a quarter of an hour is short
    share = pool.engine.desk.occupancy.share(
        pool.engine.desk.agents.values(), client_id=pool.client, now=pool.now
    )
    assert share is not None and share > 0.75  # one call for each free agent: below 0.55
    await pool.stop()
    check(pool)


async def test_it_says_why_and_keeps_the_reasons() -> None:
    pool = Pool()
    campaign, _ = await predictive(pool, 5)
    await pool.reach(200)
    live = pool.engine.campaigns[campaign].decision
    assert {"calls", "cancelled", "reason", "binding", "theta", "goal", "answer_share"} <= set(live)
    assert "people should answer" in live["reason"] and "goal " in live["reason"]
    await pool.written()
    rows = sorted(pool.store.rows.decisions.values(), key=lambda row: row.at)
    gaps = [(b.at - a.at).total_seconds() for a, b in pairwise(rows)]
    assert rows and min(gaps) >= 1.0
    for (before, after), gap in zip(pairwise(rows), gaps, strict=True):
        assert gap >= 5.0 or before.binding != after.binding
    assert max(gaps) <= pool.settings.decision_idle + 1.1
    assert {row.campaign_id for row in rows} == {campaign}
    placed = len(pool.store.attempts)
    assert placed - 20 <= sum(row.calls for row in rows) <= placed + 20
    await pool.stop()


async def test_more_than_it_may_abandon_and_it_dials_one_for_one() -> None:
    """The cap of the rules, not the campaign's target."""
    pool = Pool()
    await pool.reach(2 * 3600)  # the hours of the rules
    campaign, agents = await predictive(
        pool, 4, rules_profile="us_tsr", caller_id="+12025550199", target_abandon=0.03
    )
    await pool.reach(2 * 3600 + 100)
    assert len(pool.dialed()) > 20
    ledger = pool.engine.campaigns[campaign].ledger
    for _ in range(10):
        ledger.count(Outcome.ABANDONED, abandoned=True, at=pool.clock.now())
    await pool.reach(pool.now + 30)
    for _ in range(60):
        await pool.reach(pool.now + 0.5)
        alone = [c for c in pool.calls if c.agent_id is None and not c.message_played]
        assert len(alone) <= len(agents)
    live = pool.engine.campaigns[campaign].decision
    assert live["budget_left"] < 1 and "too many calls were abandoned" in live["reason"]
    await pool.stop()


async def test_a_node_whose_agents_are_all_busy_gets_its_leads_too() -> None:
    pool = Pool(nodes=("n1", "n2"))
    campaign = pool.campaign(
        DialMode.PREDICTIVE, target_abandon=0.03, wrap_up=3.0, ring_timeout=20.0
    )
    agents = [pool.agent(campaign, node=node) for node in ("n1", "n2") for _ in range(4)]
    crowd(pool, campaign, 500)
    await pool.start()
    await pool.sign_in(*agents)
    await pool.reach(60)
    for agent in agents[:4]:  # only n2 has anybody who may get free
        await pool.does(agent, "pause", reason="break")
    await pool.until(lambda: not any(pool.person(a).available for a in agents), within=300)
    live = pool.engine.ticker._rows()
    assert {row.node: row.leads > 0 for row in live} == {"n1": True, "n2": True}
    await pool.stop()
    check(pool)


# -- giving up


async def test_a_ringing_call_that_nobody_could_take_is_given_up_but_not_before_its_time() -> None:
    pool = Pool()
    rules = {Outcome.NO_ANSWER: RetryRule(77.0, 2), Outcome.CANCELLED: RetryRule(5.0, 9)}
    campaign = pool.campaign(
        DialMode.PREDICTIVE, target_abandon=0.03, wrap_up=3.0, retries=rules, ring_timeout=60.0,
    )  # fmt: skip
    agents = pool.agents(2, campaign)
    lead = pool.lead(campaign, Behaviour(delay=3600.0))
    await pool.start()
    await pool.sign_in(*agents)
    await pool.until(lambda: bool(pool.calls) and pool.calls[0].state is CallState.RINGING)
    (call,) = pool.calls
    giving_up: GivingUp = pool.engine.pacer._giving_up
    await pool.reach(call.rings_since + 14.9)
    assert not giving_up.give_up(call, after=15.0) and not call.given_up
    await pool.reach(call.rings_since + 15.1)
    assert giving_up.give_up(call, after=15.0)
    assert not giving_up.give_up(call, after=15.0)  # once
    await pool.until(lambda: not pool.calls)
    await pool.written()
    assert pool.outcomes() == ["cancelled"]
    row = pool.store.leads[lead]
    assert row.state is LeadState.RETRY and row.next_at is not None
    assert 76.0 <= (row.next_at - pool.clock.now()).total_seconds() <= 77.0  # as a no-answer
    await pool.stop()
    check(pool)


async def test_the_engine_gives_up_lawfully_over_a_long_run() -> None:
    """Agents who are suddenly gone leave calls ringing that nobody would take."""
    pool = Pool()
    campaign, agents = await predictive(
        pool, 12, give_up_after=6.0, rules_profile="laboratory", ring_timeout=40.0
    )
    await pool.reach(240)
    for agent in agents[:11]:
        await pool.does(agent, "pause", reason="all at once")
    await pool.reach(300)
    gone = [row for row in pool.store.attempts.values() if row.outcome is Outcome.CANCELLED]
    assert gone
    for row in gone:
        rang = row.fields["ended_at"] - row.fields["ringing_at"]
        assert rang.total_seconds() >= 6.0
        assert row.fields.get("answered_at") is None
    await pool.stop()
    check(pool)
    assert campaign


class Slow:
    """A switch that takes a hang-up, and answers when told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[str] = []
        self.answer, self.error = asyncio.Event(), error

    async def hang_up(self, channel_id: str) -> None:
        self.asked.append(channel_id)
        await self.answer.wait()
        if self.error is not None:
            raise self.error


async def _ringing(pool: Pool) -> tuple[Call, UUID, Slow, GivingUp]:
    campaign = pool.campaign(DialMode.PREDICTIVE, target_abandon=0.03)
    agent = pool.agent(campaign)
    pool.lead(campaign, Behaviour(delay=20.0, talk=60.0))
    await pool.start()
    await pool.sign_in(agent)
    await pool.until(lambda: bool(pool.calls) and pool.calls[0].state is CallState.RINGING)
    slow = Slow()
    giving_up = GivingUp(
        switch_for=lambda node: slow,  # type: ignore[arg-type,return-value]
        router=pool.engine.router, tasks=pool.engine.tasks, clock=pool.clock,
    )  # fmt: skip
    return pool.calls[0], agent, slow, giving_up


async def test_who_answers_before_the_hang_up_leaves_is_routed_as_anybody() -> None:
    pool = Pool()
    call, agent, slow, giving_up = await _ringing(pool)
    await pool.reach(15.0 + call.sent)
    assert giving_up.give_up(call, after=5.0)
    node = pool.nodes["n1"]
    node._answer(node.channels[call.key])
    node.flush()  # in the same moment, before the hang-up had its turn
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
    assert slow.asked == [] and not call.given_up
    await pool.stop()


async def test_an_answer_that_crosses_the_hang_up_is_held_until_it_is_known_who_won() -> None:
    pool = Pool()
    call, agent, slow, giving_up = await _ringing(pool)
    assert not giving_up.give_up(call, after=99.0)
    await pool.reach(10.0 + call.sent)
    assert giving_up.give_up(call, after=5.0)
    await asyncio.sleep(0)
    assert slow.asked == [call.key]
    await pool.until(lambda: bool(call.answered), within=60)
    await asyncio.sleep(0.2)
    assert pool.state(agent) is AgentState.READY and call.state is CallState.WAITING
    slow.error = NotSent("the link was lost")
    slow.answer.set()
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL)
    assert not call.given_up
    await pool.stop()


async def test_a_hang_up_that_won_over_the_answer_counts_as_abandoned() -> None:
    pool = Pool()
    call, agent, slow, giving_up = await _ringing(pool)
    await pool.reach(10.0 + call.sent)
    giving_up.give_up(call, after=5.0)
    await pool.until(lambda: bool(call.answered), within=60)
    slow.answer.set()
    pool.nodes["n1"].hang_up(call.key)
    await pool.until(lambda: not pool.calls)
    await pool.written()
    assert pool.outcomes() == ["abandoned"]
    assert pool.state(agent) is AgentState.READY
    (row,) = pool.store.leads.values()  # and is called again when abandoned people are
    assert row.next_at is not None
    assert (row.next_at - pool.clock.now()).total_seconds() > 80_000
    await pool.stop()


@pytest.mark.parametrize("error", [NotSent("no link"), Unanswered("no answer")])
async def test_a_hang_up_that_did_not_leave_is_not_repeated(error: Exception) -> None:
    pool = Pool()
    call, agent, slow, giving_up = await _ringing(pool)
    slow.error = error
    slow.answer.set()
    await pool.reach(10.0 + call.sent)
    giving_up.give_up(call, after=5.0)
    await asyncio.sleep(1.0)
    assert not call.given_up and slow.asked == [call.key]
    await pool.until(lambda: pool.state(agent) is AgentState.ON_CALL, within=60)
    await pool.stop()


# -- learning


async def test_a_new_engine_learns_from_the_records_and_a_switch_of_mode_too(logs: Any) -> None:
    pool = Pool()
    campaign, agents = await predictive(pool, 8)
    await pool.reach(400)
    await pool.crash()
    rows = [row for row in pool.store.attempts.values() if row.outcome is not None]
    assert len(rows) > 100
    await pool.start("two")
    assert not logs.of("learnt") or logs.of("learnt")[0]["attempts"] == 0
    await pool.until(lambda: len(logs.of("learnt")) == 2, within=60)
    learnt = logs.of("learnt")[1]
    assert learnt["campaign"] == str(campaign) and learnt["attempts"] >= len(rows) - 30
    ring = pool.engine.pacer.engine.brain.ring
    slot = pool.engine.observer.slot(campaign, "n1")
    answers = sum("answered_at" in row.fields for row in rows)
    assert ring.counts.answered[slot].sum() > 0.5 * min(answers, 300)
    service = pool.engine.pacer.engine.brain.service
    assert service.talk.ended[slot].sum() > 10
    assert agents
    await pool.stop()


async def test_nothing_is_gathered_while_nobody_asks() -> None:
    pool = Pool()
    campaign = pool.campaign(DialMode.PROGRESSIVE, wrap_up=3.0)
    agents = pool.agents(3, campaign)
    crowd(pool, campaign, 100)
    await pool.start()
    await pool.sign_in(*agents)
    await pool.reach(60)
    assert len(pool.engine.observer.take().kind) == 0
    assert not pool.engine.pacer.engine.brain.started
    await pool.change(campaign, mode=DialMode.PREDICTIVE, target_abandon=0.03)
    await pool.reach(90)
    assert pool.engine.pacer.engine.brain.started
    assert pool.engine.observer.wanted
    await pool.change(campaign, mode=DialMode.PROGRESSIVE)
    await pool.reach(95)
    assert not pool.engine.observer.wanted
    await pool.stop()


def test_a_weaker_signal_does_not_weaken_what_was_heard() -> None:
    from dialer.engine.observing import SIGNALS

    order = [None, Progress.TRYING, Progress.RINGING, Progress.EARLY_MEDIA]
    assert [SIGNALS[p] for p in order] == sorted(SIGNALS[p] for p in order)
