"""A client with two pools, three campaigns that call the same people, and two agents; on any store.

Campaigns `first` and `second` belong to one pool, `third` to another. All call P0 to P19, but the
third knows P19 by a number of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from dialer.domain.campaign import CampaignSettings, CampaignState, CampaignView
from dialer.domain.ids import id_source
from dialer.domain.work import (
    AgentView,
    ClaimedLead,
    ContactHistory,
    Lease,
    NewAttempt,
    PoolStore,
)
from dialer.engine.memory_store import MemoryPoolStore
from dialer.store import admin
from dialer.store import schema as t
from dialer.store.database import Database
from dialer.store.leads import NewLead, insert_leads
from dialer.store.pool_store import SqlPoolStore
from telephony.clock import SystemClock

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
PEOPLE = 20


@dataclass(frozen=True, slots=True)
class LeadIs:
    state: str
    next_at: datetime | None
    callback_agent: UUID | None


class House:
    """What the tests ask; `store` is the one under test."""

    store: PoolStore

    def __init__(self) -> None:
        self.new_id = id_source(SystemClock())
        self.client, self.pool, self.other_pool = self.new_id(), self.new_id(), self.new_id()
        self.first, self.second, self.third = (self.new_id() for _ in range(3))
        self.agent, self.stranger = self.new_id(), self.new_id()

    @staticmethod
    def clock_now() -> datetime:
        """The time that goes into new ids."""
        return SystemClock().now()

    def pool_of(self, campaign: UUID) -> UUID:
        return self.other_pool if campaign == self.third else self.pool

    @staticmethod
    def number(n: int, *, other: bool = False) -> str:
        return f"+1202555{n + (5000 if other else 0):04}"

    async def own(self, pool: UUID | None = None, owner: str = "one", seconds: float = 60) -> Lease:
        lease = await self.store.acquire(pool or self.pool, owner=owner, seconds=seconds)
        assert lease is not None
        return lease

    async def claim(self, lease: Lease, campaign: UUID, limit: int = 1) -> list[ClaimedLead]:
        return await self.store.claim(lease, campaign_id=campaign, limit=limit, now=NOW)

    def attempt(self, lead: ClaimedLead, *, at: datetime = NOW) -> NewAttempt:
        return NewAttempt(
            id=self.new_id(), lead_id=lead.lead_id, client_id=lead.client_id,
            campaign_id=lead.campaign_id, customer_id=lead.customer_id, number_id=lead.number_id,
            number=lead.number, caller_id="+12025550199", node="a", trunk="t",
            mode="progressive", intended_at=at, settings_version=1, script_version=1,
            form_version=1, rules_profile="lab@1", verdict={"verdict": "allow"},
        )  # fmt: skip

    async def dial(self, lease: Lease, lead: ClaimedLead) -> NewAttempt:
        attempt = self.attempt(lead)
        await self.store.intend(lease, [attempt])
        return attempt

    async def build(self) -> House:
        raise NotImplementedError

    async def lead(self, lead_id: UUID) -> LeadIs:
        raise NotImplementedError

    async def outcome(self, attempt: NewAttempt) -> str | None:
        raise NotImplementedError

    async def campaign_state(self, campaign: UUID) -> str:
        raise NotImplementedError

    async def move_campaign(self, campaign: UUID, state: CampaignState) -> None:
        raise NotImplementedError

    async def rows(self, kind: str) -> int:
        """How many conversations, dispositions, intervals, recordings or do_not_call entries."""
        raise NotImplementedError

    async def longest_interval(self) -> timedelta:
        raise NotImplementedError


class MemoryHouse(House):
    store: MemoryPoolStore

    async def build(self) -> House:
        self.store = MemoryPoolStore(clock=SystemClock(), new_id=self.new_id)
        # As a database does, let others have a turn during every call.
        self.store.latency = 0.001
        people = [self.new_id() for _ in range(PEOPLE)]
        for campaign in (self.first, self.second, self.third):
            self.store.campaigns[campaign] = CampaignView(
                campaign, self.client, self.pool_of(campaign), str(campaign),
                CampaignState.RUNNING, 1, CampaignSettings(), {},
            )  # fmt: skip
            for n, person in enumerate(people):
                number = self.number(n, other=campaign == self.third and n == PEOPLE - 1)
                self.store.add_lead(
                    ClaimedLead(
                        self.new_id(), self.client, campaign, self.new_id(), person,
                        self.new_id(), number, None, "US", "mobile", 0, {}, True, {}, f"P{n}",
                        None, None, ContactHistory(),
                    )
                )  # fmt: skip
        works = frozenset({self.first, self.second})
        for agent, campaigns in ((self.agent, works), (self.stranger, frozenset[UUID]())):
            self.store.agents[agent] = AgentView(
                agent, self.client, self.pool, "A", str(agent)[-12:], "", campaigns
            )
        return self

    async def lead(self, lead_id: UUID) -> LeadIs:
        row = self.store.leads[lead_id]
        return LeadIs(row.state.value, row.next_at, row.callback_agent)

    async def outcome(self, attempt: NewAttempt) -> str | None:
        found = self.store.attempts[attempt.id].outcome
        return found.value if found else None

    async def campaign_state(self, campaign: UUID) -> str:
        return self.store.campaigns[campaign].state.value

    async def move_campaign(self, campaign: UUID, state: CampaignState) -> None:
        self.store.campaigns[campaign] = replace(self.store.campaigns[campaign], state=state)

    async def rows(self, kind: str) -> int:
        return len(getattr(self.store.rows, kind))

    async def longest_interval(self) -> timedelta:
        return max(i.ended_at - i.started_at for i in self.store.rows.intervals.values())


class SqlHouse(House):
    _TABLES = {  # noqa: RUF012
        "conversations": t.conversation, "dispositions": t.disposition,
        "intervals": t.agent_interval, "recordings": t.recording, "do_not_call": t.do_not_call,
        "decisions": t.pacing_decision,
    }  # fmt: skip

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._db = database
        self.store = SqlPoolStore(database, new_id=self.new_id)

    async def build(self) -> House:
        async with self._db.begin() as db:
            await db.execute(
                sa.insert(t.client).values(id=self.client, name="house", created_at=NOW)
            )
            for pool in (self.pool, self.other_pool):
                await db.execute(
                    sa.insert(t.pool).values(id=pool, client_id=self.client, name=str(pool))
                )
                await db.execute(
                    sa.insert(t.pool_lease).values(pool_id=pool, epoch=0, owner="", expires=0.0)
                )
            for campaign in (self.first, self.second, self.third):
                await admin.add_campaign(
                    db, campaign_id=campaign, client_id=self.client,
                    pool_id=self.pool_of(campaign), name=str(campaign),
                    settings=CampaignSettings(), dispositions=(), at=NOW,
                )  # fmt: skip
                await db.execute(sa.update(t.campaign).values(state="running"))
                rows = [
                    NewLead(
                        self.number(n, other=campaign == self.third and n == PEOPLE - 1),
                        "US", "mobile", f"P{n}", f"k{n}", "", True, {},
                    )
                    for n in range(PEOPLE)
                ]  # fmt: skip
                await insert_leads(
                    db, rows, client_id=self.client, campaign_id=campaign, list_name="list",
                    now=NOW, new_id=self.new_id,
                )  # fmt: skip
            for agent in (self.agent, self.stranger):
                await db.execute(
                    sa.insert(t.agent).values(
                        id=agent, client_id=self.client, pool_id=self.pool, account_id=None,
                        name="A", endpoint=agent.hex, node="", contact="", phone_password="",
                    )
                )  # fmt: skip
            for campaign in (self.first, self.second):
                await db.execute(
                    sa.insert(t.agent_campaign).values(
                        agent_id=self.agent, campaign_id=campaign, client_id=self.client
                    )
                )
        return self

    async def _one(self, query: sa.Select[Any]) -> Any:
        async with self._db.begin() as db:
            return (await db.execute(query)).one()

    async def lead(self, lead_id: UUID) -> LeadIs:
        row = await self._one(sa.select(t.lead).where(t.lead.c.id == lead_id))
        return LeadIs(row.state, row.next_at, row.callback_agent)

    async def outcome(self, attempt: NewAttempt) -> str | None:
        query = sa.select(t.attempt.c.outcome).where(t.attempt.c.id == attempt.id)
        found: str | None = (await self._one(query))[0]
        return found

    async def campaign_state(self, campaign: UUID) -> str:
        query = sa.select(t.campaign.c.state).where(t.campaign.c.id == campaign)
        return str((await self._one(query))[0])

    async def move_campaign(self, campaign: UUID, state: CampaignState) -> None:
        async with self._db.begin() as db:
            await db.execute(
                sa.update(t.campaign).where(t.campaign.c.id == campaign).values(state=state.value)
            )

    async def rows(self, kind: str) -> int:
        query = sa.select(sa.func.count()).select_from(self._TABLES[kind])
        return int((await self._one(query))[0])

    async def longest_interval(self) -> timedelta:
        interval = t.agent_interval.c
        async with self._db.begin() as db:
            rows = (await db.execute(sa.select(interval.started_at, interval.ended_at))).all()
        return max(row.ended_at - row.started_at for row in rows)
