"""The pool store's promises, the same on both databases."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.domain.call import Outcome
from dialer.domain.errors import Conflict, LeaseLost
from dialer.domain.ids import NewId, id_source
from dialer.domain.lead import LeadState
from dialer.domain.work import (
    AttemptUpdate,
    ClaimedLead,
    DoNotCall,
    LeadMove,
    Lease,
    NewAttempt,
    Write,
)
from dialer.store import claims
from dialer.store import schema as t
from dialer.store.database import Database
from dialer.store.leads import NewLead, insert_leads
from dialer.store.pool_store import SqlPoolStore
from telephony.clock import SystemClock

pytestmark = pytest.mark.integration
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class House:
    store: SqlPoolStore
    new_id: NewId
    client: UUID
    pool: UUID
    campaigns: tuple[UUID, UUID]


@pytest.fixture
async def house(database: Database) -> House:
    """One client, one pool, two campaigns that call the same twenty people."""
    new_id = id_source(SystemClock())
    client, pool, first, second = new_id(), new_id(), new_id(), new_id()
    rows = [
        NewLead(f"+1202555{n:04}", "US", "mobile", f"P{n}", f"k{n}", "", True, {})
        for n in range(20)
    ]
    async with database.begin() as db:
        await db.execute(sa.insert(t.client).values(id=client, name="house", created_at=NOW))
        await db.execute(sa.insert(t.pool).values(id=pool, client_id=client, name="pool"))
        await db.execute(
            sa.insert(t.pool_lease).values(pool_id=pool, epoch=0, owner="", expires=0.0)
        )
        for campaign in (first, second):
            await db.execute(
                sa.insert(t.campaign).values(
                    id=campaign, client_id=client, pool_id=pool, name=str(campaign),
                    state="running", reason="", version=1, created_at=NOW,
                )
            )  # fmt: skip
            await insert_leads(
                db, rows, client_id=client, campaign_id=campaign, list_name="list", now=NOW,
                new_id=new_id,
            )  # fmt: skip
    return House(SqlPoolStore(database, new_id=new_id), new_id, client, pool, (first, second))


async def _lease(house: House, owner: str = "one", seconds: float = 60) -> Lease:
    lease = await house.store.acquire(house.pool, owner=owner, seconds=seconds)
    assert lease is not None
    return lease


def _attempt(house: House, lead: ClaimedLead) -> NewAttempt:
    return NewAttempt(
        id=house.new_id(), lead_id=lead.lead_id, client_id=lead.client_id,
        campaign_id=lead.campaign_id, customer_id=lead.customer_id, number_id=lead.number_id,
        number=lead.number, caller_id="+12025550199", node="a", trunk="t", mode="progressive",
        intended_at=NOW, settings_version=1, script_version=1, form_version=1,
        rules_profile="lab@1", verdict={},
    )  # fmt: skip


async def test_no_lead_and_no_person_is_claimed_twice(house: House) -> None:
    lease = await _lease(house)
    claims = await asyncio.gather(
        *(
            house.store.claim(lease, campaign_id=house.campaigns[n % 2], limit=7, now=NOW)
            for n in range(8)
        )
    )
    leads = [lead for claim in claims for lead in claim]
    assert len(leads) > 0
    for field in ("lead_id", "customer_id", "number"):
        assert len({getattr(lead, field) for lead in leads}) == len(leads)


async def test_a_lease_is_taken_over_only_when_over_and_the_old_epoch_is_refused(
    house: House,
) -> None:
    old = await _lease(house)
    assert await house.store.acquire(house.pool, owner="two", seconds=60) is None
    await house.store.release(old)
    new = await _lease(house, "two", seconds=-1)  # over at once, by the database's clock
    third = await _lease(house, "three")
    assert (old.epoch, new.epoch, third.epoch) == (1, 2, 3)
    for stale in (old, new):
        with pytest.raises(LeaseLost):
            await house.store.claim(stale, campaign_id=house.campaigns[0], limit=1, now=NOW)
        with pytest.raises(LeaseLost):
            await house.store.write(stale, [])
        with pytest.raises(LeaseLost):
            await house.store.renew(stale)


async def test_the_first_outcome_stays_and_the_person_is_free_again(
    house: House, database: Database
) -> None:
    lease = await _lease(house)
    (lead,) = await house.store.claim(lease, campaign_id=house.campaigns[0], limit=1, now=NOW)
    attempt = _attempt(house, lead)
    await house.store.intend(lease, [attempt])
    with pytest.raises(Conflict):
        await house.store.intend(lease, [_attempt(house, lead)])
    assert [a.id for a in await house.store.open_attempts(house.pool)] == [attempt.id]
    batch: list[Write] = [
        AttemptUpdate(attempt.id, NOW, ended_at=NOW, outcome=Outcome.ABANDONED),
        LeadMove(lead.lead_id, LeadState.DONE),
    ]
    await house.store.write(lease, batch)
    await house.store.write(lease, batch)
    await house.store.write(lease, [AttemptUpdate(attempt.id, NOW, outcome=Outcome.MACHINE)])
    async with database.begin() as db:
        assert (await db.execute(sa.select(t.attempt.c.outcome))).scalars().all() == ["abandoned"]
    others = await house.store.claim(lease, campaign_id=house.campaigns[1], limit=20, now=NOW)
    (same,) = [o for o in others if o.customer_id == lead.customer_id]
    assert same.history.person_attempts == (NOW,)
    assert same.history.number_attempts == (NOW,)
    assert same.history.last_abandon == NOW


async def test_a_do_not_call_entry_blocks_waiting_leads_of_every_campaign(house: House) -> None:
    lease = await _lease(house)
    number = "+12025550003"
    entry = DoNotCall(house.client, number, None, "client", "agent", NOW)
    await house.store.write(lease, [entry, entry])
    for campaign in house.campaigns:
        assert (await house.store.lead_counts(campaign, NOW)).due == 19
    claimed = await house.store.claim(lease, campaign_id=house.campaigns[0], limit=20, now=NOW)
    assert number not in {lead.number for lead in claimed}


async def test_leads_in_the_hopper_come_back_after_a_crash(house: House) -> None:
    lease = await _lease(house)
    first = house.campaigns[0]
    claimed = await house.store.claim(lease, campaign_id=first, limit=5, now=NOW)
    await house.store.intend(lease, [_attempt(house, claimed[0])])
    assert await house.store.unclaim_all(lease) == 4
    assert (await house.store.lead_counts(first, NOW)).due == 19


async def test_the_ledger_is_what_the_records_say(house: House) -> None:
    lease = await _lease(house)
    leads = await house.store.claim(lease, campaign_id=house.campaigns[0], limit=6, now=NOW)
    attempts = [_attempt(house, lead) for lead in leads]
    await house.store.intend(lease, attempts)
    how: list[dict[str, Any]] = [
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
        [AttemptUpdate(a.id, a.intended_at, **f) for a, f in zip(attempts, how, strict=False)],
    )
    first, second = house.campaigns
    counts = await house.store.hour_counts({first: NOW - timedelta(hours=1), second: NOW})
    assert counts[second] == []
    assert {c.hour for c in counts[first]} == {NOW}
    told = {c.outcome: (c.attempts, c.live, c.abandoned) for c in counts[first]}
    assert told == {
        "abandoned": (1, 1, 1),
        "ended_by_agent": (1, 1, 0),
        "ended_by_customer": (1, 1, 1),
        "unknown": (2, 1, 1),
    }
    later = await house.store.hour_counts({first: NOW + timedelta(seconds=1)})
    assert later == {first: []}


async def test_a_claim_reads_leads_in_the_order_of_an_index(
    database: Database, house: House
) -> None:
    """A list of a million must not be sorted for the next twenty of it."""
    plans: list[str] = []

    class Explaining:
        """A connection that shows how it would run a query."""

        def __init__(self, db: AsyncConnection) -> None:
            self._db = db

        async def execute(self, query: sa.Select[Any]) -> Any:
            text = query.compile(
                dialect=database.engine.dialect, compile_kwargs={"literal_binds": True}
            )
            how = "EXPLAIN (COSTS OFF)" if database.is_postgres else "EXPLAIN QUERY PLAN"
            shown = await self._db.exec_driver_sql(f"{how} {text}")
            plans.append("\n".join(str(row[-1]) for row in shown))
            return await self._db.execute(query)

    async with database.begin() as db:
        if database.is_postgres:  # a list this short would rather be read whole
            for node in ("sort", "seqscan", "bitmapscan", "hashjoin", "mergejoin"):
                await db.exec_driver_sql(f"SET LOCAL enable_{node} = off")
        rows = await claims.due(
            Explaining(db),  # type: ignore[arg-type]
            house.campaigns[0], limit=5, now=NOW, lock=database.is_postgres,
        )  # fmt: skip
    assert [r.number for r in rows] == [f"+1202555{n:04}" for n in range(5)]
    assert len(plans) == 3
    for plan in plans:
        assert "ix_lead_due" in plan, plan
        assert "Sort" not in plan, plan
        assert "TEMP B-TREE" not in plan, plan


async def test_a_campaign_is_finished_once_and_only_without_open_leads(
    house: House, database: Database
) -> None:
    lease, (first, second) = await _lease(house), house.campaigns
    later = NOW + timedelta(hours=1)
    claimed = await house.store.claim(lease, campaign_id=first, limit=20, now=NOW)
    moves: list[Write] = [LeadMove(lead.lead_id, LeadState.DONE) for lead in claimed[1:]]
    await house.store.write(
        lease, [*moves, LeadMove(claimed[0].lead_id, LeadState.CALLBACK, next_at=later)]
    )
    counts = await house.store.lead_counts(first, NOW)
    assert (counts.total, counts.open, counts.due) == (20, 1, 0)
    assert counts.next_at == later
    assert counts.states == {LeadState.DONE: 19, LeadState.CALLBACK: 1}
    finish = house.store.finish_campaign
    assert not await finish(lease, campaign_id=first, reason="all done")
    await house.store.write(lease, [LeadMove(claimed[0].lead_id, LeadState.DONE)])
    assert await finish(lease, campaign_id=first, reason="all done")
    assert not await finish(lease, campaign_id=first, reason="again")
    async with database.begin() as db:
        query = sa.select(t.campaign.c.state, t.campaign.c.reason).order_by(t.campaign.c.id)
        found = {tuple(row) for row in await db.execute(query)}
    assert found == {("finished", "all done"), ("running", "")}
    async with database.begin() as db:  # a campaign without a list waits for one
        await db.execute(sa.delete(t.lead).where(t.lead.c.campaign_id == second))
    assert not await finish(lease, campaign_id=second, reason="all done")
    await house.store.release(lease)
    with pytest.raises(LeaseLost):
        await finish(lease, campaign_id=second, reason="all done")
