"""What a healthy installation does not have: looked for, and where it is safe put right.

Every repair asks its own question again, in the transaction that changes something.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.domain.lead import LeadState
from dialer.store import schema as t
from dialer.store.database import Database

_HELD = (LeadState.HOPPER.value, LeadState.DIALING.value)
_NEAR = timedelta(minutes=10)  # an attempt's id is made when it is intended


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """A pool's lease, judged by the database's clock."""

    pool_id: UUID
    owner: str  # '' = given up
    left: float  # seconds; negative: it ran out so long ago

    @property
    def held(self) -> bool:
        return bool(self.owner) and self.left > 0


async def leases(database: Database) -> Sequence[LeaseRow]:
    lease = t.pool_lease.c
    query = sa.select(lease.pool_id, lease.owner, (lease.expires - database.seconds).label("left"))
    async with database.read() as connection:
        rows = (await connection.execute(query.order_by(lease.pool_id))).all()
    return [LeaseRow(row.pool_id, row.owner, float(row.left)) for row in rows]


async def open_attempts(connection: AsyncConnection) -> Mapping[UUID, tuple[int, datetime]]:
    """Of each pool: how many have no outcome, and since when the oldest."""
    a = t.attempt.c
    query = (
        sa.select(a.pool_id, sa.func.count(), sa.func.min(a.intended_at))
        .where(a.outcome.is_(None))
        .group_by(a.pool_id)
    )
    return {row[0]: (row[1], row[2]) for row in await connection.execute(query)}


async def outcomes(connection: AsyncConnection, ids: Collection[UUID]) -> Mapping[UUID, str | None]:
    """Of those attempts that are in this database: their outcome, None while open."""
    if not ids:
        return {}
    a = t.attempt.c
    times = [datetime.fromtimestamp((i.int >> 80) / 1000, UTC) for i in ids]
    query = sa.select(a.id, a.outcome).where(
        a.id.in_(ids), a.intended_at.between(min(times) - _NEAR, max(times) + _NEAR)
    )
    return {row.id: row.outcome for row in await connection.execute(query)}


async def pools_of_agents(
    connection: AsyncConnection, agents: Collection[UUID]
) -> Mapping[UUID, UUID]:
    query = sa.select(t.agent.c.id, t.agent.c.pool_id).where(t.agent.c.id.in_(agents))
    return {row.id: row.pool_id for row in await connection.execute(query)}


async def in_the_hopper(connection: AsyncConnection) -> Mapping[UUID | None, int]:
    """Leads in the hopper by the pool that reserved them; None: nobody did."""
    reserved = sa.select(t.reservation.c.lead_id, t.reservation.c.pool_id).distinct().subquery()
    query = (
        sa.select(reserved.c.pool_id, sa.func.count())
        .select_from(t.lead.outerjoin(reserved, reserved.c.lead_id == t.lead.c.id))
        .where(t.lead.c.state == LeadState.HOPPER.value)
        .group_by(reserved.c.pool_id)
    )
    return {row[0]: row[1] for row in await connection.execute(query)}


def _unreserved() -> sa.ColumnElement[bool]:
    reserved = sa.exists().where(t.reservation.c.lead_id == t.lead.c.id)
    return sa.and_(t.lead.c.state == LeadState.HOPPER.value, ~reserved)


async def return_unreserved(database: Database) -> int:
    """Leads that are in nobody's hopper go back to where they came from."""
    lead = t.lead.c
    restored = [s.value for s in (LeadState.NEW, LeadState.CALLBACK, LeadState.DONE)]
    before = sa.case((lead.reason.in_(restored), lead.reason), else_=LeadState.RETRY.value)
    async with database.begin() as connection:
        done = await connection.execute(
            sa.update(t.lead).where(_unreserved()).values(state=before, reason="returned")
        )
    return done.rowcount


async def dialing_without_attempt(connection: AsyncConnection) -> Sequence[UUID]:
    """Leads that are said to be called, by no open attempt."""
    attempt = sa.exists().where(t.attempt.c.lead_id == t.lead.c.id, t.attempt.c.outcome.is_(None))
    query = sa.select(t.lead.c.id).where(t.lead.c.state == LeadState.DIALING.value, ~attempt)
    return (await connection.execute(query.order_by(t.lead.c.id))).scalars().all()


def _stale() -> sa.ColumnElement[bool]:
    held = sa.exists().where(t.lead.c.id == t.reservation.c.lead_id, t.lead.c.state.in_(_HELD))
    return ~held


async def stale_reservations(connection: AsyncConnection) -> frozenset[UUID]:
    """Leads whose person and number are kept from being called, though nobody is about to."""
    query = sa.select(t.reservation.c.lead_id).where(_stale())
    return frozenset((await connection.execute(query)).scalars())


async def release_reservations(database: Database, leads: Collection[UUID]) -> int:
    """Of those leads that are still neither in a hopper nor being dialed; how many rows."""
    async with database.begin() as connection:
        done = await connection.execute(
            sa.delete(t.reservation).where(t.reservation.c.lead_id.in_(leads), _stale())
        )
    return done.rowcount


async def recordings(connection: AsyncConnection) -> Mapping[str, tuple[int, datetime]]:
    """By state: how many, and of when the oldest."""
    r = t.recording.c
    query = sa.select(r.state, sa.func.count(), sa.func.min(r.at)).group_by(r.state)
    return {row[0]: (row[1], row[2]) for row in await connection.execute(query)}


async def missing_partitions(database: Database, now: datetime) -> Sequence[str]:
    """Months of attempts, this one and the next, that have no table (PostgreSQL)."""
    if not database.is_postgres:
        return ()
    following = (now.replace(day=1) + timedelta(days=32)).replace(day=1)
    names = [f"attempt_{month:%Y_%m}" for month in (now, following)]
    async with database.read() as connection:
        there = await connection.execute(
            sa.text("SELECT relname FROM pg_class WHERE relname = ANY(:names)"), {"names": names}
        )
        found = set(there.scalars())
    return [name for name in names if name not in found]


async def connections(database: Database) -> tuple[int, int] | None:
    """Connections in use and allowed (PostgreSQL)."""
    if not database.is_postgres:
        return None
    async with database.read() as connection:
        row = (
            await connection.execute(
                sa.text(
                    "SELECT count(*), current_setting('max_connections')::int FROM pg_stat_activity"
                )
            )
        ).one()
    return int(row[0]), int(row[1])
