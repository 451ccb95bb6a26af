"""The engine's store on SQL: every call one transaction, under the pool's current epoch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.domain.agent import AgentState
from dialer.domain.campaign import CampaignState, CampaignView
from dialer.domain.errors import Conflict, Invalid, LeaseLost, NotFound
from dialer.domain.ids import NewId
from dialer.domain.lead import LeadState
from dialer.domain.numbers import BadNumber, parse_number
from dialer.domain.work import (
    OPEN_LEADS,
    AgentNow,
    AgentView,
    ClaimedLead,
    HourCount,
    LeadCounts,
    Lease,
    NewAttempt,
    OpenAttempt,
    PastAttempt,
    PoolView,
    StoreInTrouble,
    Write,
)
from dialer.store import admin, claims, intending, ledger, outbox, past, writes
from dialer.store import schema as t
from dialer.store.arrays import either
from dialer.store.database import Database, in_trouble
from dialer.store.leads import NewLead, insert_leads
from dialer.store.settings_codec import load_dispositions, load_settings

#: Begins every transaction, dozens of times a second: built once.
_OWNED = sa.select(t.pool_lease.c.epoch, t.pool_lease.c.owner).where(
    t.pool_lease.c.pool_id == sa.bindparam("pool", type_=sa.Uuid)
)
_OWNED_HELD = _OWNED.with_for_update(read=True)
#: On SQLite; PostgreSQL does it in the statement that inserts the attempts.
_DIALING = (
    sa.update(t.lead)
    .where(
        t.lead.c.id.in_(sa.bindparam("leads", type_=sa.Uuid, expanding=True)),
        t.lead.c.state == LeadState.HOPPER.value,
    )
    .values(state=LeadState.DIALING.value)
)
_LEFT = "a lead left the hopper meanwhile; nothing was committed"
_LISTED = either(
    lambda one_of: sa.select(t.do_not_call.c.number).where(
        t.do_not_call.c.client_id == sa.bindparam("client", type_=sa.Uuid),
        one_of(t.do_not_call.c.number, "numbers"),
    )
)
_WAITING = frozenset({LeadState.NEW, LeadState.RETRY, LeadState.CALLBACK})
_NEAR = timedelta(minutes=10)  # an attempt's id is made when it is intended


def _handed(lease: Lease, told: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return {"epoch": lease.epoch, "told": dict(told)} if told is not None else None


def _intended(attempt_id: UUID) -> datetime:
    """The time in a version 7 id."""
    return datetime.fromtimestamp((attempt_id.int >> 80) / 1000, UTC)


class SqlPoolStore:
    """`PoolStore` on PostgreSQL or SQLite."""

    def __init__(self, database: Database, *, new_id: NewId, region: str = "") -> None:
        """`region`: ISO country of numbers without a country code; '' refuses those."""
        self._db, self._new_id, self._region = database, new_id, region or None

    # -- the lease

    async def acquire(self, pool_id: UUID, *, owner: str, seconds: float) -> Lease | None:
        lease = t.pool_lease
        async with self._db.begin() as connection:
            epoch = (
                await connection.execute(
                    sa.update(lease)
                    .where(
                        lease.c.pool_id == pool_id,
                        sa.or_(lease.c.owner == "", lease.c.expires < self._db.seconds),
                    )
                    .values(
                        epoch=lease.c.epoch + 1, owner=owner, expires=self._db.seconds + seconds
                    )
                    .returning(lease.c.epoch)
                )
            ).scalar_one_or_none()
        return None if epoch is None else Lease(pool_id, epoch, owner, seconds)

    async def renew(self, lease: Lease) -> Lease:
        async with self._db.begin() as connection:
            await self._owned(connection, lease)
            await connection.execute(
                sa.update(t.pool_lease)
                .where(t.pool_lease.c.pool_id == lease.pool_id)
                .values(expires=self._db.seconds + lease.seconds)
            )
        return lease

    async def release(self, lease: Lease, *, handover: Mapping[str, Any] | None = None) -> None:
        async with self._db.begin() as connection:
            await self._owned(connection, lease)
            await connection.execute(
                sa.update(t.pool_lease)
                .where(t.pool_lease.c.pool_id == lease.pool_id)
                .values(owner="", expires=0.0, handover=_handed(lease, handover))
            )

    async def take_handover(self, lease: Lease) -> Mapping[str, Any] | None:
        row = t.pool_lease
        async with self._db.begin() as connection:
            await self._owned(connection, lease)
            mine = row.c.pool_id == lease.pool_id
            left = (await connection.execute(sa.select(row.c.handover).where(mine))).scalar()
            if left is None:
                return None
            await connection.execute(sa.update(row).where(mine).values(handover=None))
        # One who owned it in between and died has made it untrue.
        told: Mapping[str, Any] = left["told"]
        return told if left["epoch"] == lease.epoch - 1 else None

    async def _owned(self, connection: AsyncConnection, lease: Lease) -> None:
        """Hold the lease's row as it is until this transaction ends; raises LeaseLost."""
        query = _OWNED_HELD if self._db.is_postgres else _OWNED
        row = (await connection.execute(query, {"pool": lease.pool_id})).one_or_none()
        if row is None or row.epoch != lease.epoch or row.owner != lease.owner:
            raise LeaseLost(f"epoch {lease.epoch} of pool {lease.pool_id} is over")

    def _now(self) -> datetime:
        """From an id made now: the store has no clock of its own."""
        return _intended(self._new_id())

    # -- what there is

    async def load(self, pool_id: UUID) -> PoolView:
        async with self._db.begin() as connection:
            campaigns = (
                await connection.execute(
                    sa.select(t.campaign, t.campaign_version.c.settings,
                              t.campaign_version.c.dispositions)
                    .join(
                        t.campaign_version,
                        sa.and_(
                            t.campaign_version.c.campaign_id == t.campaign.c.id,
                            t.campaign_version.c.version == t.campaign.c.version,
                        ),
                    )
                    .where(
                        t.campaign.c.pool_id == pool_id,
                        t.campaign.c.state != CampaignState.FINISHED.value,
                    )
                    .order_by(t.campaign.c.created_at)
                )
            ).all()  # fmt: skip
            agents = (
                await connection.execute(sa.select(t.agent).where(t.agent.c.pool_id == pool_id))
            ).all()
            links: dict[UUID, set[UUID]] = {}
            for agent_id, campaign_id in await connection.execute(
                sa.select(t.agent_campaign.c.agent_id, t.agent_campaign.c.campaign_id)
                .join(t.agent, t.agent.c.id == t.agent_campaign.c.agent_id)
                .where(t.agent.c.pool_id == pool_id)
            ):
                links.setdefault(agent_id, set()).add(campaign_id)
        return PoolView(
            pool_id,
            tuple(
                CampaignView(
                    id=row.id,
                    client_id=row.client_id,
                    pool_id=row.pool_id,
                    name=row.name,
                    state=CampaignState(row.state),
                    version=row.version,
                    settings=load_settings(row.settings),
                    dispositions=load_dispositions(row.dispositions),
                )
                for row in campaigns
            ),
            tuple(
                AgentView(
                    id=row.id,
                    client_id=row.client_id,
                    pool_id=row.pool_id,
                    name=row.name,
                    endpoint=row.endpoint,
                    node=row.node,
                    campaigns=frozenset(links.get(row.id, ())),
                )
                for row in agents
            ),
        )

    async def recent_attempts(
        self, campaign_id: UUID, *, since: datetime, until: datetime, limit: int
    ) -> Sequence[PastAttempt]:
        async with self._db.begin() as connection:
            return await past.recent(connection, campaign_id, since=since, until=until, limit=limit)

    async def centre_counts(
        self, client_id: UUID, *, since: datetime, without: Collection[UUID]
    ) -> tuple[int, int]:
        async with self._db.begin() as connection:
            return await ledger.centre_counts(connection, client_id, since=since, without=without)

    async def lead_counts(self, campaign_id: UUID, now: datetime) -> LeadCounts:
        lead = t.lead.c
        ready = sa.or_(lead.next_at.is_(None), lead.next_at <= now)
        async with self._db.read() as connection:
            rows = (
                await connection.execute(
                    sa.select(
                        lead.state,
                        sa.func.count(),
                        sa.func.count().filter(ready),
                        sa.func.min(lead.next_at).filter(~ready),
                    )
                    .where(lead.campaign_id == campaign_id)
                    .group_by(lead.state)
                )
            ).all()
        waiting = [row for row in rows if LeadState(row[0]) in _WAITING]
        return LeadCounts(
            {LeadState(row[0]): row[1] for row in rows},
            sum(row[2] for row in waiting),
            min((row[3] for row in waiting if row[3] is not None), default=None),
        )

    async def finish_campaign(self, lease: Lease, *, campaign_id: UUID, reason: str) -> bool:
        campaign, lead = t.campaign.c, t.lead.c
        any_lead = sa.exists().where(lead.campaign_id == campaign_id)
        open_lead = any_lead.where(lead.state.in_([s.value for s in OPEN_LEADS]))
        async with self._db.begin() as connection:
            await self._owned(connection, lease)
            # Held before the leads are looked at: what an upload has put in by then is seen.
            await admin.hold_campaign(connection, campaign_id)
            done = await connection.execute(
                sa.update(t.campaign)
                .where(
                    campaign.id == campaign_id,
                    campaign.state == CampaignState.RUNNING.value,
                    any_lead,
                    ~open_lead,
                )
                .values(state=CampaignState.FINISHED.value, reason=reason)
            )
            if done.rowcount == 1:
                moved = sa.select(t.campaign).where(campaign.id == campaign_id)
                row = dict((await connection.execute(moved)).mappings().one())
                await outbox.campaign_moved(
                    connection, row, before=CampaignState.RUNNING.value, now=self._now()
                )
        return done.rowcount == 1

    # -- leads

    async def claim(
        self,
        lease: Lease,
        *,
        campaign_id: UUID,
        limit: int,
        now: datetime,
        agents: Collection[UUID] | None = None,
    ) -> list[ClaimedLead]:
        async with self._db.begin() as connection:
            await self._owned(connection, lease)
            rows = await claims.due(
                connection,
                campaign_id,
                limit=limit,
                now=now,
                lock=self._db.is_postgres,
                agents=agents,
            )
            won = await claims.reserve(connection, rows, pool_id=lease.pool_id)
            return await claims.with_history(connection, won, now=now)

    async def claim_one(self, lease: Lease, *, lead_id: UUID, now: datetime) -> ClaimedLead | None:
        async with self._db.begin() as connection:
            await self._owned(connection, lease)
            row = await claims.one(connection, lead_id)
            if row is None:
                return None
            won = await claims.reserve(connection, [row], pool_id=lease.pool_id)
            claimed = await claims.with_history(connection, won, now=now)
            return claimed[0] if claimed else None

    async def ensure_lead(
        self, lease: Lease, *, campaign_id: UUID, number: str, now: datetime
    ) -> UUID:
        try:
            parsed = parse_number(number, region=self._region)
        except BadNumber as error:
            raise Invalid(f"the number cannot be called: {error}") from None
        async with self._db.begin() as connection:
            await self._owned(connection, lease)
            found = (
                await connection.execute(
                    sa.select(t.lead.c.id).where(
                        t.lead.c.campaign_id == campaign_id, t.lead.c.number == parsed.e164
                    )
                )
            ).scalar()
            if found is not None:
                return UUID(str(found)) if not isinstance(found, UUID) else found
            campaign = (
                await connection.execute(
                    sa.select(t.campaign.c.client_id).where(t.campaign.c.id == campaign_id)
                )
            ).one_or_none()
            if campaign is None:
                raise NotFound("no such campaign")
            made = await insert_leads(
                connection,
                [NewLead(parsed.e164, parsed.region, parsed.kind, "", "", "", False, {})],
                client_id=campaign.client_id,
                campaign_id=campaign_id,
                list_name="manual calls",
                now=now,
                new_id=self._new_id,
            )
            if not made.lead_ids:
                raise Conflict("this person is in the campaign already, under another number")
            return made.lead_ids[0]

    async def unclaim_all(self, lease: Lease, *, keep: Collection[UUID] = ()) -> int:
        lead = t.lead.c
        held = sa.select(t.reservation.c.lead_id).where(t.reservation.c.pool_id == lease.pool_id)
        restored = [s.value for s in (LeadState.NEW, LeadState.CALLBACK, LeadState.DONE)]
        before = sa.case((lead.reason.in_(restored), lead.reason), else_=LeadState.RETRY.value)
        async with self._db.begin() as connection:
            await self._owned(connection, lease)
            mine = sa.select(lead.id).where(lead.id.in_(held), lead.state == LeadState.HOPPER.value)
            gone = set((await connection.execute(mine)).scalars()) - set(keep)
            back = (
                await connection.execute(
                    sa.update(t.lead)
                    .where(lead.id.in_(gone), lead.state == LeadState.HOPPER.value)
                    .values(state=before, reason="returned")
                    .returning(lead.id)
                )
            ).scalars().all()  # fmt: skip
            if back:
                await connection.execute(
                    sa.delete(t.reservation).where(t.reservation.c.lead_id.in_(back))
                )
        return len(back)

    async def blocked_by_do_not_call(
        self, client_id: UUID, numbers: Sequence[str]
    ) -> frozenset[str]:
        async with self._db.read() as connection:
            found = await connection.execute(
                _LISTED(connection), {"client": client_id, "numbers": list(numbers)}
            )
            return frozenset(found.scalars())

    # -- attempts

    async def intend(self, lease: Lease, attempts: Sequence[NewAttempt]) -> None:
        if self._db.is_postgres:
            async with self._db.single() as connection:
                if await intending.intend(connection, lease, attempts):
                    return
            async with self._db.begin() as connection:
                await self._owned(connection, lease)
            raise Conflict(_LEFT)
        async with self._db.begin() as connection:
            await self._owned(connection, lease)
            moved = await connection.execute(_DIALING, {"leads": [a.lead_id for a in attempts]})
            if moved.rowcount != len(attempts):
                raise Conflict(_LEFT)
            await claims.insert_attempts(connection, attempts, pool_id=lease.pool_id)

    async def write(self, lease: Lease, batch: Sequence[Write]) -> None:
        try:
            async with self._db.begin() as connection:
                await self._owned(connection, lease)
                was = await outbox.before(connection, lease.pool_id, batch)
                await writes.apply(connection, batch)
                if was is not None:
                    await outbox.after(connection, was, now=self._now())
        except Exception as error:
            if in_trouble(error):
                raise StoreInTrouble(repr(error)) from error
            raise

    async def hour_counts(
        self, since: Mapping[UUID, datetime]
    ) -> Mapping[UUID, Sequence[HourCount]]:
        async with self._db.begin() as connection:
            return await ledger.hour_counts(connection, since, postgres=self._db.is_postgres)

    async def attempts_of_pool(self, pool_id: UUID, ids: Sequence[UUID]) -> frozenset[UUID]:
        if not ids:
            return frozenset()
        a = t.attempt.c
        times = [_intended(i) for i in ids]  # the partitions to look in
        query = sa.select(a.id).where(
            a.id.in_(ids),
            a.pool_id == pool_id,
            a.intended_at.between(min(times) - _NEAR, max(times) + _NEAR),
        )
        async with self._db.begin() as connection:
            return frozenset((await connection.execute(query)).scalars())

    async def open_attempts(
        self, pool_id: UUID, *, ended: Collection[UUID] = ()
    ) -> list[OpenAttempt]:
        a = t.attempt
        query = sa.select(a).where(a.c.pool_id == pool_id)
        if ended:
            times = [_intended(i) for i in ended]
            within = a.c.intended_at.between(min(times) - _NEAR, max(times) + _NEAR)
            query = query.where(a.c.id.in_(ended), a.c.outcome.is_not(None), within)
        else:
            query = query.where(a.c.outcome.is_(None))
        lead, person = t.lead.c, t.customer.c
        async with self._db.begin() as connection:
            rows = (await connection.execute(query)).all()
            counts = await claims.outcome_counts(connection, [r.lead_id for r in rows])
            leads = {
                row.id: row
                for row in await connection.execute(
                    sa.select(
                        lead.id, lead.reason, lead.callback_agent, person.name, person.attributes
                    )
                    .join(t.customer, person.id == lead.customer_id)
                    .where(lead.id.in_([r.lead_id for r in rows]))
                )
            }
        return [
            OpenAttempt(
                id=r.id,
                lead_id=r.lead_id,
                client_id=r.client_id,
                campaign_id=r.campaign_id,
                customer_id=r.customer_id,
                number=r.number,
                node=r.node,
                trunk=r.trunk,
                intended_at=r.intended_at,
                sent_at=r.sent_at,
                answered_at=r.answered_at,
                connected_at=r.connected_at,
                agent_id=r.agent_id,
                outcome_counts=counts.get(r.lead_id, {}),
                attempts=claims.attempts_of(counts.get(r.lead_id, {})),
                was=claims.was(leads[r.lead_id].reason),
                callback_agent=leads[r.lead_id].callback_agent,
                mode=r.mode,
                name=leads[r.lead_id].name,
                attributes=leads[r.lead_id].attributes,
            )
            for r in rows
        ]

    async def agents_now(self, pool_id: UUID) -> list[AgentNow]:
        query = sa.select(t.agent_now).where(t.agent_now.c.pool_id == pool_id)
        async with self._db.begin() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [AgentNow(**{**row, "state": AgentState(row["state"])}) for row in rows]
