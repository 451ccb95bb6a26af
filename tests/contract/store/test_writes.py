"""Writes: only under the current epoch, in order, and the same when repeated."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from dialer.domain.agent import AgentState
from dialer.domain.call import Outcome
from dialer.domain.campaign import CampaignState
from dialer.domain.errors import LeaseLost
from dialer.domain.lead import LeadState
from dialer.domain.work import (
    AgentInterval,
    AgentNow,
    AttemptUpdate,
    CampaignMove,
    Conversation,
    DecisionWrite,
    DispositionWrite,
    DoNotCall,
    LeadMove,
    Lease,
    NewAttempt,
    RecordingWrite,
    Write,
)
from tests.contract.store.house import NOW, House

pytestmark = pytest.mark.contract

LATER = NOW + timedelta(hours=1)


async def test_a_lease_goes_to_one_owner_and_each_owner_has_a_higher_epoch(house: House) -> None:
    old = await house.own()
    acquire = house.store.acquire
    assert await acquire(house.pool, owner="two", seconds=60) is None
    assert await acquire(house.pool, owner="one", seconds=60) is None  # nor the same one twice
    assert (await house.store.renew(old)).epoch == old.epoch
    await house.store.release(old)
    new = await house.own(owner="two", seconds=-1)  # over at once, by the store's own clock
    third = await house.own(owner="three")
    assert (old.epoch, new.epoch, third.epoch) == (1, 2, 3)
    other = await house.own(house.other_pool)
    assert other.epoch == 1


@pytest.mark.parametrize(
    "what",
    ["claim", "claim_one", "ensure", "unclaim", "intend", "write", "finish", "renew", "release"],
)
async def test_an_old_epoch_changes_nothing(house: House, what: str) -> None:
    old = await house.own(seconds=0.05)
    leads = await house.claim(old, house.first, 2)
    await house.store.release(old)
    new = await house.own(owner="two")
    store = house.store
    stale: dict[str, Callable[[Lease], Awaitable[object]]] = {
        "claim": lambda lease: house.claim(lease, house.first),
        "claim_one": lambda lease: store.claim_one(lease, lead_id=leads[0].lead_id, now=NOW),
        "ensure": lambda lease: store.ensure_lead(
            lease, campaign_id=house.first, number="+12025559876", now=NOW
        ),
        "unclaim": lambda lease: store.unclaim_all(lease),
        "intend": lambda lease: store.intend(lease, [house.attempt(leads[0])]),
        "write": lambda lease: store.write(lease, [LeadMove(leads[0].lead_id, LeadState.DONE)]),
        "finish": lambda lease: store.finish_campaign(lease, campaign_id=house.first, reason="x"),
        "renew": lambda lease: store.renew(lease),
        "release": lambda lease: store.release(lease),
    }
    before = await house.store.lead_counts(house.first, NOW)
    with pytest.raises(LeaseLost):
        await stale[what](old)
    assert await house.store.lead_counts(house.first, NOW) == before
    assert await house.store.open_attempts(house.pool) == []
    assert (await house.store.renew(new)).epoch == new.epoch


async def test_what_an_owner_leaves_is_told_to_the_next_one_once(house: House) -> None:
    told = {"settled": True, "agents": [{"id": "x", "age": 1.5}]}
    first = await house.own()
    await house.store.release(first, handover=told)
    second = await house.own()
    assert await house.store.take_handover(second) == told
    assert await house.store.take_handover(second) is None
    await house.store.release(second)
    third = await house.own()
    assert await house.store.take_handover(third) is None


async def test_what_an_owner_left_is_not_true_any_more_after_another_one(house: House) -> None:
    await house.store.release(await house.own(), handover={"settled": True, "agents": []})
    await house.store.release(await house.own())  # it never asked
    assert await house.store.take_handover(await house.own()) is None


async def test_ended_attempts_are_found_by_name_with_the_person(house: House) -> None:
    lease = await house.own()
    (lead,) = await house.claim(lease, house.first)
    attempt = house.attempt(lead, at=house.clock_now())  # its id tells when it was intended
    await house.store.intend(lease, [attempt])
    assert await house.store.open_attempts(house.pool, ended=[attempt.id]) == []
    (found,) = await house.store.open_attempts(house.pool)
    assert (found.name, found.attributes, found.mode) == (lead.name, lead.attributes, attempt.mode)
    outcome = AttemptUpdate(
        attempt.id, attempt.intended_at, ended_at=NOW, outcome=Outcome.ABANDONED
    )
    await house.store.write(lease, [outcome])
    assert [a.id for a in await house.store.open_attempts(house.pool, ended=[attempt.id])] == [
        attempt.id
    ]
    assert await house.store.open_attempts(house.other_pool, ended=[attempt.id]) == []


async def test_the_first_outcome_stays_and_the_person_is_free_again(house: House) -> None:
    lease = await house.own()
    (lead,) = await house.claim(lease, house.first)
    attempt = await house.dial(lease, lead)
    (found,) = await house.store.open_attempts(house.pool)
    assert (found.id, found.was, found.attempts) == (attempt.id, LeadState.NEW, 0)
    assert await house.store.open_attempts(house.other_pool) == []
    batch: list[Write] = [
        AttemptUpdate(attempt.id, NOW, answered_at=NOW),
        AttemptUpdate(attempt.id, NOW, ended_at=NOW, outcome=Outcome.ABANDONED),
        LeadMove(lead.lead_id, LeadState.DONE, only_from=LeadState.DIALING),
    ]
    for _ in range(2):
        await house.store.write(lease, batch)
    await house.store.write(
        lease, [AttemptUpdate(attempt.id, NOW, outcome=Outcome.MACHINE, answered_at=LATER)]
    )
    assert await house.outcome(attempt) == "abandoned"
    assert await house.store.open_attempts(house.pool) == []
    others = await house.claim(lease, house.second, 20)
    (same,) = [o for o in others if o.customer_id == lead.customer_id]
    assert same.history.person_attempts == (NOW,) and same.history.last_abandon == NOW


async def test_a_repeated_batch_adds_nothing(house: House) -> None:
    lease = await house.own()
    (lead,) = await house.claim(lease, house.first)
    attempt = await house.dial(lease, lead)
    session = house.new_id()
    batch: list[Write] = [
        AttemptUpdate(
            attempt.id, NOW, sent_at=NOW, answered_at=NOW, connected_at=NOW, ended_at=NOW,
            outcome=Outcome.ENDED_BY_AGENT, agent_id=house.agent,
        ),
        Conversation(
            attempt.id, NOW, house.client, house.first, lead.customer_id, lead.lead_id,
            house.agent, NOW, LATER, "agent",
        ),
        DispositionWrite(attempt.id, NOW, house.agent, "sale", "note", {"a": 1}, NOW, 3.0),
        AgentInterval(
            house.agent, house.client, session, AgentState.READY, "", NOW, LATER, house.first
        ),
        RecordingWrite(attempt.id, NOW, house.client, house.first, "a", "x.wav", NOW),
        DoNotCall(house.client, lead.number, lead.customer_id, "client", "agent", NOW),
        LeadMove(lead.lead_id, LeadState.DONE),
        LeadMove(lead.lead_id, LeadState.BLOCKED, reason="do_not_call"),
    ]  # fmt: skip
    for _ in range(3):
        await house.store.write(lease, batch)
    for kind in ("conversations", "dispositions", "intervals", "recordings", "do_not_call"):
        assert await house.rows(kind) == 1, kind
    assert (await house.lead(lead.lead_id)).state == "blocked"
    again = (await house.store.hour_counts({house.first: NOW - timedelta(hours=1)}))[house.first]
    assert [(c.outcome, c.attempts, c.live) for c in again] == [("ended_by_agent", 1, 1)]


async def test_of_several_moves_the_last_counts_and_a_condition_is_looked_at_in_turn(
    house: House,
) -> None:
    lease = await house.own()
    one, two, three = await house.claim(lease, house.first, 3)
    await house.dial(lease, one)
    done = {"state": LeadState.DONE, "only_from": LeadState.DIALING}
    await house.store.write(
        lease,
        [
            LeadMove(one.lead_id, **done),  # type: ignore[arg-type]
            LeadMove(one.lead_id, LeadState.CALLBACK, next_at=LATER, callback_agent=house.agent),
            LeadMove(two.lead_id, **done),  # type: ignore[arg-type]
            LeadMove(three.lead_id, LeadState.RETRY, next_at=NOW, only_from=LeadState.HOPPER),
            LeadMove(three.lead_id, LeadState.RETRY, next_at=LATER, only_from=LeadState.HOPPER),
        ],
    )
    called = await house.lead(one.lead_id)
    assert (called.state, called.callback_agent) == ("callback", house.agent)
    assert (await house.lead(two.lead_id)).state == "hopper"  # it was not dialing
    assert (await house.lead(three.lead_id)).next_at == NOW
    # Who was not moved is still held: nobody else may call that person.
    names = {lead.name for lead in await house.claim(lease, house.second, 20)}
    assert two.name not in names and {one.name, three.name} <= names


async def test_an_update_of_an_attempt_that_is_not_there_is_no_obstacle(house: House) -> None:
    lease = await house.own()
    (lead,) = await house.claim(lease, house.first)
    await house.store.write(
        lease,
        [
            AttemptUpdate(house.new_id(), NOW, outcome=Outcome.EXPIRED),
            LeadMove(lead.lead_id, LeadState.DONE),
        ],
    )
    assert (await house.lead(lead.lead_id)).state == "done"
    await house.store.write(lease, [])


async def test_a_do_not_call_entry_blocks_waiting_leads_of_every_campaign_and_pool(
    house: House,
) -> None:
    lease, theirs = await house.own(), await house.own(house.other_pool)
    number = house.number(3)
    (held,) = await house.claim(lease, house.first)
    entry = DoNotCall(house.client, number, None, "client", "agent", NOW)
    taken = DoNotCall(house.client, held.number, None, "client", "agent", NOW)
    await house.store.write(lease, [entry, entry, taken])
    for campaign, due in ((house.first, 18), (house.second, 18), (house.third, 18)):
        assert (await house.store.lead_counts(campaign, NOW)).due == due
    assert (await house.lead(held.lead_id)).state == "hopper"
    for owner, campaign in ((lease, house.second), (theirs, house.third)):
        numbers = {lead.number for lead in await house.claim(owner, campaign, 20)}
        assert not {number, held.number} & numbers
    blocked = house.store.blocked_by_do_not_call
    assert await blocked(house.client, [number, house.number(4)]) == {number}
    assert await blocked(house.new_id(), [number]) == frozenset()


async def test_a_campaign_moves_only_where_its_machine_has_a_way(house: House) -> None:
    lease = await house.own()
    drained = CampaignMove(house.first, CampaignState.PAUSED, "drained", NOW)
    await house.store.write(lease, [drained])
    assert await house.campaign_state(house.first) == "running"
    await house.move_campaign(house.first, CampaignState.PAUSING)
    await house.store.write(lease, [drained])
    assert await house.campaign_state(house.first) == "paused"
    await house.move_campaign(house.first, CampaignState.RUNNING)
    await house.store.write(lease, [drained])
    assert await house.campaign_state(house.first) == "running"


async def test_a_finished_campaign_is_not_loaded(house: House) -> None:
    assert {c.id for c in (await house.store.load(house.pool)).campaigns} == {
        house.first, house.second
    }  # fmt: skip
    await house.move_campaign(house.second, CampaignState.FINISHED)
    view = await house.store.load(house.pool)
    assert [c.id for c in view.campaigns] == [house.first]
    works = {agent.id: agent.campaigns for agent in view.agents}
    assert works == {house.agent: {house.first, house.second}, house.stranger: frozenset()}


async def test_a_campaign_is_finished_once_and_only_without_open_leads(house: House) -> None:
    lease = await house.own()
    claimed = await house.claim(lease, house.first, 20)
    moves: list[Write] = [LeadMove(lead.lead_id, LeadState.DONE) for lead in claimed[1:]]
    await house.store.write(
        lease, [*moves, LeadMove(claimed[0].lead_id, LeadState.CALLBACK, next_at=LATER)]
    )
    counts = await house.store.lead_counts(house.first, NOW)
    assert (counts.total, counts.open, counts.due, counts.next_at) == (20, 1, 0, LATER)
    assert counts.states == {LeadState.DONE: 19, LeadState.CALLBACK: 1}
    finish = house.store.finish_campaign
    assert not await finish(lease, campaign_id=house.first, reason="all done")
    await house.store.write(lease, [LeadMove(claimed[0].lead_id, LeadState.DONE)])
    assert await finish(lease, campaign_id=house.first, reason="all done")
    assert not await finish(lease, campaign_id=house.first, reason="again")
    assert await house.campaign_state(house.first) == "finished"


async def test_attempts_are_known_as_their_pools_alive_or_ended(house: House) -> None:
    lease, theirs = await house.own(), await house.own(house.other_pool)
    one, two = await house.claim(lease, house.first, 2)
    (other,) = await house.claim(theirs, house.third)
    mine, ended = [house.attempt(lead, at=house.clock_now()) for lead in (one, two)]
    foreign = house.attempt(other, at=house.clock_now())
    await house.store.intend(lease, [mine, ended])
    await house.store.intend(theirs, [foreign])
    await house.store.write(
        lease, [AttemptUpdate(ended.id, ended.intended_at, outcome=Outcome.UNKNOWN)]
    )
    ids = [mine.id, ended.id, foreign.id, house.new_id()]
    ask = house.store.attempts_of_pool
    assert await ask(house.pool, ids) == {mine.id, ended.id}
    assert await ask(house.other_pool, ids) == {foreign.id}
    assert await ask(house.pool, []) == frozenset()


async def test_the_ledger_is_what_the_records_say(house: House) -> None:
    lease = await house.own()
    leads = await house.claim(lease, house.first, 6)
    attempts = [house.attempt(lead) for lead in leads]
    await house.store.intend(lease, attempts)
    how: list[dict[str, object]] = [
        {"outcome": Outcome.ABANDONED, "answered_at": NOW},
        {"outcome": Outcome.ENDED_BY_AGENT, "answered_at": NOW, "connected_at": NOW},
        # The message had begun when the agent came; answered and nobody knows; never answered.
        {
            "outcome": Outcome.ENDED_BY_CUSTOMER, "answered_at": NOW, "connected_at": NOW,
            "message_played": True,
        },
        {"outcome": Outcome.UNKNOWN, "answered_at": NOW},
        {"outcome": Outcome.UNKNOWN},
    ]  # fmt: skip
    await house.store.write(
        lease,
        [
            AttemptUpdate(a.id, a.intended_at, **f)  # type: ignore[arg-type]
            for a, f in zip(attempts, how, strict=False)
        ],
    )
    counts = await house.store.hour_counts(
        {house.first: NOW - timedelta(hours=1), house.second: NOW}
    )
    assert list(counts[house.second]) == []
    told: dict[str, list[int]] = {}
    for count in counts[house.first]:
        assert count.hour == NOW
        sums = told.setdefault(count.outcome, [0, 0, 0])
        for n, value in enumerate((count.attempts, count.live, count.abandoned)):
            sums[n] += value
    assert told == {
        "abandoned": [1, 1, 1],
        "ended_by_agent": [1, 1, 0],
        "ended_by_customer": [1, 1, 1],
        "unknown": [2, 1, 1],
    }
    later = await house.store.hour_counts({house.first: NOW + timedelta(seconds=1)})
    assert list(later[house.first]) == []


async def test_what_an_agent_does_now_is_told_to_the_next_owner(house: House) -> None:
    lease = await house.own()
    one, two = await house.claim(lease, house.first, 2)
    over, on = await house.dial(lease, one), await house.dial(lease, two)
    session = house.new_id()

    def now(state: AgentState, since: datetime, of: NewAttempt | None = None) -> AgentNow:
        return AgentNow(
            house.agent, house.client, house.pool, session, state, "x", since, house.first,
            "leg-1", of.id if of else None, of.intended_at if of else None,
        )  # fmt: skip

    await house.store.write(
        lease,
        [
            now(AgentState.READY, NOW),
            now(AgentState.ON_CALL, NOW, on),
        ],
    )
    (was,) = await house.store.agents_now(house.pool)
    assert was == now(AgentState.ON_CALL, NOW, on)
    await house.store.write(lease, [now(AgentState.WRAP_UP, LATER, over)])
    assert await house.store.agents_now(house.pool) == [now(AgentState.WRAP_UP, LATER, over)]
    assert await house.store.agents_now(house.other_pool) == []
    gone = replace(now(AgentState.SIGNED_OUT, LATER), session_id=None)
    await house.store.write(lease, [now(AgentState.READY, LATER), gone])
    assert await house.store.agents_now(house.pool) == []


async def test_a_stretch_of_time_that_went_on_gets_longer_and_never_shorter(house: House) -> None:
    lease = await house.own()
    session = house.new_id()

    def stretch(until: datetime) -> AgentInterval:
        return AgentInterval(
            house.agent, house.client, session, AgentState.READY, "", NOW, until, house.first
        )

    for until in (LATER, LATER + timedelta(hours=1), LATER):
        await house.store.write(lease, [stretch(until)])
    assert await house.rows("intervals") == 1
    assert await house.longest_interval() == timedelta(hours=1) + (LATER - NOW)


async def test_what_a_pacing_engine_learns_from_is_what_left_and_ended(house: House) -> None:
    lease = await house.own()
    leads = await house.claim(lease, house.first, 6)
    attempts = [house.attempt(lead, at=NOW + timedelta(minutes=i)) for i, lead in enumerate(leads)]
    await house.store.intend(lease, attempts)

    def ended(i: int, outcome: Outcome, **changes: datetime) -> AttemptUpdate:
        at = attempts[i].intended_at
        update = AttemptUpdate(
            attempts[i].id, at, sent_at=at, ended_at=at + timedelta(seconds=40), outcome=outcome
        )
        return replace(update, **changes)

    def after(i: int, seconds: float) -> datetime:
        return attempts[i].intended_at + timedelta(seconds=seconds)

    talked = ended(
        1, Outcome.ENDED_BY_AGENT, ringing_at=after(1, 2), answered_at=after(1, 9),
        connected_at=after(1, 9.5),
    )  # fmt: skip
    await house.store.write(
        lease,
        [
            ended(0, Outcome.NO_ANSWER),
            replace(talked, agent_id=house.agent),
            DispositionWrite(talked.id, talked.intended_at, house.agent, "x", "", {}, NOW, 7.5),
            ended(2, Outcome.BUSY),
            replace(ended(3, Outcome.EXPIRED), sent_at=None),  # never left
            AttemptUpdate(attempts[4].id, attempts[4].intended_at, sent_at=after(4, 0)),  # rings
            ended(5, Outcome.BUSY),
        ],
    )
    recent = house.store.recent_attempts
    all_of_them = await recent(house.first, since=NOW, until=LATER, limit=10)
    assert [a.outcome for a in all_of_them] == [
        Outcome.NO_ANSWER, Outcome.ENDED_BY_AGENT, Outcome.BUSY, Outcome.BUSY,
    ]  # fmt: skip
    spoke = all_of_them[1]
    assert (spoke.node, spoke.ringing_at, spoke.answered_at) == ("a", after(1, 2), after(1, 9))
    assert (spoke.connected_at, spoke.ended_at) == (after(1, 9.5), after(1, 40))
    assert (spoke.sent_at, spoke.wrap_up) == (after(1, 0), 7.5)
    assert (spoke.list_id, spoke.trunk, spoke.agent_id) == (leads[1].list_id, "t", house.agent)
    assert all_of_them[0].agent_id is None
    assert all_of_them[0].wrap_up is None
    assert await recent(house.first, since=NOW, until=LATER, limit=2) == all_of_them[-2:]
    early = await recent(house.first, since=NOW, until=after(2, 30), limit=10)
    assert early == all_of_them[:2]
    assert await recent(house.first, since=after(2, 0), until=LATER, limit=9) == all_of_them[2:]
    assert await recent(house.second, since=NOW, until=LATER, limit=9) == []


async def test_a_centre_counts_what_other_campaigns_abandoned(house: House) -> None:
    lease, other = await house.own(), await house.own(house.other_pool)
    outcomes = (Outcome.ABANDONED, Outcome.ENDED_BY_AGENT, Outcome.BUSY)
    for owner, campaign in ((lease, house.first), (other, house.third)):
        for lead, outcome in zip(await house.claim(owner, campaign, 3), outcomes, strict=True):
            attempt = await house.dial(owner, lead)
            await house.store.write(
                owner, [AttemptUpdate(attempt.id, NOW, ended_at=NOW, outcome=outcome)]
            )
    counts = house.store.centre_counts
    assert await counts(house.client, since=NOW, without=[]) == (4, 2)
    assert await counts(house.client, since=NOW, without=[house.first]) == (2, 1)
    assert await counts(house.client, since=LATER, without=[]) == (0, 0)
    assert await counts(house.agent, since=NOW, without=[]) == (0, 0)


async def test_decisions_are_kept_once(house: House) -> None:
    lease = await house.own()
    decision = DecisionWrite(
        house.first, house.client, "a", NOW, 1, 3, 0, "risk", {"reason": "why", "theta": 0.1}
    )
    for _ in range(2):  # repeated after a lost answer
        await house.store.write(lease, [decision, replace(decision, node="b")])
    assert await house.rows("decisions") == 2
