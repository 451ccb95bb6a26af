"""Claims: exclusive, a person once across campaigns and pools, in order, and given back."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from dialer.domain.call import Outcome
from dialer.domain.errors import Conflict, Invalid
from dialer.domain.lead import LeadState
from dialer.domain.work import AttemptUpdate, LeadMove
from tests.contract.store.house import NOW, PEOPLE, House

pytestmark = pytest.mark.contract

EARLIER, LATER = NOW - timedelta(hours=1), NOW + timedelta(hours=1)


async def _retry(house: House, lease, lead_id: UUID, **move) -> None:  # type: ignore[no-untyped-def]
    values = {"state": LeadState.RETRY, "next_at": EARLIER} | move
    await house.store.write(lease, [LeadMove(lead_id, **values)])


async def test_no_lead_no_person_and_no_number_is_claimed_twice_at_once(house: House) -> None:
    mine, theirs = await house.own(), await house.own(house.other_pool)
    turns = [(mine, house.first), (mine, house.second), (theirs, house.third)] * 4
    claims = await asyncio.gather(*(house.claim(lease, campaign, 7) for lease, campaign in turns))
    leads = [lead for claim in claims for lead in claim]
    for field in ("lead_id", "customer_id", "number"):
        assert len({getattr(lead, field) for lead in leads}) == len(leads)
    # Whoever lost a race finds what is left when asked again: everybody is called by somebody.
    for lease, campaign in turns:
        leads += await house.claim(lease, campaign, PEOPLE)
    assert len(leads) == len({lead.customer_id for lead in leads}) == PEOPLE


async def test_a_person_held_elsewhere_under_another_number_is_passed_over_not_waited_for(
    house: House,
) -> None:
    mine, theirs = await house.own(), await house.own(house.other_pool)
    held = await house.claim(mine, house.first, PEOPLE)
    assert len(held) == PEOPLE
    assert await house.claim(theirs, house.third, PEOPLE) == []
    last = next(lead for lead in held if lead.name == f"P{PEOPLE - 1}")
    for lead in held:
        if lead is not last:
            await _retry(house, mine, lead.lead_id, next_at=LATER)
    # P19 is known to the third campaign by another number, and is held all the same.
    got = await house.claim(theirs, house.third, PEOPLE)
    assert {lead.name for lead in got} == {f"P{n}" for n in range(PEOPLE - 1)}
    await _retry(house, mine, last.lead_id)
    (freed,) = await house.claim(theirs, house.third, 1)
    assert freed.customer_id == last.customer_id and freed.number != last.number


async def test_a_page_of_held_people_does_not_hide_the_others(house: House) -> None:
    mine, theirs = await house.own(), await house.own(house.other_pool)
    held = await house.claim(mine, house.first, 5)
    got = await house.claim(theirs, house.third, 5)
    assert len(got) == 5
    assert not {lead.customer_id for lead in got} & {lead.customer_id for lead in held}


async def test_due_callbacks_come_first_then_retries_then_new_ones_in_list_order(
    house: House,
) -> None:
    lease = await house.own()
    leads = await house.claim(lease, house.first, 6)
    assert [lead.name for lead in leads] == [f"P{n}" for n in range(6)]
    ids = [lead.lead_id for lead in leads]
    await _retry(house, lease, ids[0], next_at=EARLIER + timedelta(minutes=2))
    await _retry(house, lease, ids[1], next_at=EARLIER + timedelta(minutes=1))
    await _retry(house, lease, ids[2], state=LeadState.CALLBACK, next_at=NOW)
    await _retry(house, lease, ids[3], state=LeadState.CALLBACK, next_at=LATER)
    await _retry(house, lease, ids[4], next_at=LATER)
    await _retry(house, lease, ids[5], state=LeadState.DONE, next_at=None)
    got = await house.claim(lease, house.first, 5)
    assert [lead.name for lead in got] == ["P2", "P1", "P0", "P6", "P7"]
    assert [lead.was for lead in got[:4]] == [
        LeadState.CALLBACK, LeadState.RETRY, LeadState.RETRY, LeadState.NEW
    ]  # fmt: skip
    assert (got[0].callback_at, got[1].callback_at) == (NOW, None)


async def test_what_is_promised_by_an_agent_is_kept_for_them(house: House) -> None:
    lease = await house.own()
    ids = [lead.lead_id for lead in await house.claim(lease, house.first, 4)]
    states = (LeadState.CALLBACK, LeadState.RETRY, LeadState.CALLBACK, LeadState.CALLBACK)
    owners = (house.agent, house.agent, house.stranger, None)
    for n, (lead_id, state, owner) in enumerate(zip(ids, states, owners, strict=True)):
        at = EARLIER + timedelta(minutes=n)
        await _retry(house, lease, lead_id, state=state, next_at=at, callback_agent=owner)
    got = await house.claim(lease, house.first, 4)
    # The stranger does not work this campaign: that callback is anyone's.
    assert [lead.name for lead in got] == ["P2", "P3", "P4", "P5"]
    claim = house.store.claim
    mine = await claim(lease, campaign_id=house.first, limit=9, now=NOW, agents=[house.agent])
    assert [(lead.name, lead.callback_agent) for lead in mine] == [("P0", house.agent)]
    nobody = await claim(lease, campaign_id=house.first, limit=9, now=NOW, agents=[house.stranger])
    assert nobody == []
    mine = await claim(lease, campaign_id=house.first, limit=9, now=NOW, agents=[house.agent])
    assert [lead.name for lead in mine] == ["P1"]


async def test_one_lead_by_hand_finished_ones_too_but_nobody_in_a_call(house: House) -> None:
    lease = await house.own()
    (lead,) = await house.claim(lease, house.first)
    one = house.store.claim_one
    assert await one(lease, lead_id=lead.lead_id, now=NOW) is None
    assert await one(lease, lead_id=house.new_id(), now=NOW) is None
    await house.store.write(lease, [LeadMove(lead.lead_id, LeadState.DONE)])
    again = await one(lease, lead_id=lead.lead_id, now=NOW)
    assert again is not None and again.was is LeadState.DONE
    await house.store.write(lease, [LeadMove(lead.lead_id, LeadState.BLOCKED)])
    assert await one(lease, lead_id=lead.lead_id, now=NOW) is None


async def test_leads_in_the_hopper_come_back_as_what_they_were(house: House) -> None:
    lease = await house.own()
    ids = [lead.lead_id for lead in await house.claim(lease, house.first, 3)]
    await _retry(
        house, lease, ids[0], state=LeadState.CALLBACK, next_at=NOW, callback_agent=house.stranger
    )
    await _retry(house, lease, ids[1])
    await _retry(house, lease, ids[2], state=LeadState.DONE, next_at=None)
    claimed = await house.claim(lease, house.first, 5)
    by_hand = await house.store.claim_one(lease, lead_id=ids[2], now=NOW)
    assert by_hand is not None
    dialed, kept = claimed[3], claimed[4]
    await house.dial(lease, dialed)
    before = [await house.lead(i) for i in ids]
    assert {row.state for row in before} == {"hopper"}
    assert await house.store.unclaim_all(lease, keep=[kept.lead_id]) == 4
    states = [(await house.lead(i)).state for i in ids]
    assert states == ["callback", "retry", "done"]
    callback = await house.lead(ids[0])
    assert (callback.next_at, callback.callback_agent) == (NOW, house.stranger)
    assert (await house.lead(claimed[2].lead_id)).state == "new"
    assert (await house.lead(dialed.lead_id)).state == "dialing"
    assert (await house.lead(kept.lead_id)).state == "hopper"
    again = await house.claim(lease, house.first, PEOPLE)
    assert [lead.name for lead in again][:3] == ["P0", "P1", claimed[2].name]
    # Another pool's hopper is not ours to empty.
    theirs = await house.own(house.other_pool)
    await house.store.unclaim_all(lease)
    await house.claim(theirs, house.third, 4)
    assert await house.store.unclaim_all(lease) == 0


async def test_a_lead_by_number_is_found_or_made_once(house: House) -> None:
    lease = await house.own()
    ensure = house.store.ensure_lead
    known = await ensure(lease, campaign_id=house.first, number=house.number(3), now=NOW)
    (fourth,) = [
        lead for lead in await house.claim(lease, house.first, PEOPLE) if lead.name == "P3"
    ]
    assert known == fourth.lead_id
    made = await ensure(lease, campaign_id=house.first, number="+1 (202) 555-9876", now=NOW)
    again = await ensure(lease, campaign_id=house.first, number="+12025559876", now=NOW)
    assert made == again
    lead = await house.store.claim_one(lease, lead_id=made, now=NOW)
    assert lead is not None and lead.number == "+12025559876" and not lead.consent
    for bad in ("", "12", "call me", "+" + "1" * 60):
        with pytest.raises(Invalid):
            await ensure(lease, campaign_id=house.first, number=bad, now=NOW)


async def test_the_past_that_limits_are_counted_from(house: House) -> None:
    lease = await house.own()
    (lead,) = await house.claim(lease, house.first)
    outcomes = [Outcome.ABANDONED, Outcome.EXPIRED, Outcome.MACHINE, Outcome.CONGESTION]
    for n, outcome in enumerate(outcomes):
        at = NOW + timedelta(minutes=n)
        attempt = house.attempt(lead, at=at)
        await house.store.intend(lease, [attempt])
        await house.store.write(
            lease,
            [
                AttemptUpdate(attempt.id, at, ended_at=at, outcome=outcome),
                LeadMove(lead.lead_id, LeadState.RETRY, next_at=at),
            ],
        )
        found = await house.store.claim_one(
            lease, lead_id=lead.lead_id, now=NOW + timedelta(hours=1)
        )
        assert found is not None
        lead = found
    minutes = [(at - NOW).total_seconds() / 60 for at in lead.history.person_attempts]
    assert minutes == [3, 2, 0]  # an expired one called nobody
    assert lead.history.number_attempts == lead.history.person_attempts
    assert lead.history.last_abandon == NOW
    assert lead.history.last_machine == NOW + timedelta(minutes=2)
    assert lead.attempts == 2  # neither expired nor congestion cost one
    assert lead.outcome_counts == {o.value: 1 for o in outcomes}


async def test_intending_is_all_or_nothing(house: House) -> None:
    lease = await house.own()
    one, two = await house.claim(lease, house.first, 2)
    await house.dial(lease, one)
    with pytest.raises(Conflict):
        await house.store.intend(lease, [house.attempt(two), house.attempt(one)])
    assert (await house.lead(two.lead_id)).state == "hopper"
    assert len(await house.store.open_attempts(house.pool)) == 1
