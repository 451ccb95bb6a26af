"""What the call records say of answers and abandoned calls: one definition for every reader."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.domain.call import CONNECTED_OUTCOMES
from dialer.domain.work import HourCount
from dialer.store import schema as t

_a = t.attempt.c

#: The same rule as `dialer.engine.outcomes.counts_as_abandoned`.
ABANDONED = sa.or_(
    _a.outcome == "abandoned",
    _a.message_played.is_(True),
    sa.and_(_a.outcome == "unknown", _a.answered_at.is_not(None), _a.connected_at.is_(None)),
)
LIVE = sa.or_(ABANDONED, _a.outcome.in_([o.value for o in CONNECTED_OUTCOMES]))


async def hour_counts(
    connection: AsyncConnection, since: Mapping[UUID, datetime], *, postgres: bool
) -> dict[UUID, list[HourCount]]:
    """Concluded attempts by campaign, hour (UTC) and outcome, each campaign from its own time."""
    if not since:
        return {}
    seconds = (
        sa.cast(sa.func.floor(sa.func.extract("epoch", _a.intended_at) / 3600), sa.BigInteger)
        if postgres
        else sa.cast(sa.func.strftime("%s", _a.intended_at), sa.BigInteger) / 3600
    )
    hour = seconds.label("hour")
    of = [sa.and_(_a.campaign_id == c, _a.intended_at >= at) for c, at in since.items()]
    query = (
        sa.select(
            _a.campaign_id,
            hour,
            _a.outcome,
            sa.func.count().label("attempts"),
            sa.func.sum(sa.case((LIVE, 1), else_=0)).label("live"),
            sa.func.sum(sa.case((ABANDONED, 1), else_=0)).label("abandoned"),
        )
        .where(sa.or_(*of), _a.outcome.is_not(None))
        .group_by(_a.campaign_id, hour, _a.outcome)
        .order_by(hour)
    )
    found: dict[UUID, list[HourCount]] = {c: [] for c in since}
    for row in (await connection.execute(query)).all():
        start = datetime.fromtimestamp(int(row.hour) * 3600, UTC)
        found[row.campaign_id].append(
            HourCount(start, row.outcome, row.attempts, row.live, row.abandoned)
        )
    return found


async def abandoned(
    connection: AsyncConnection, client_id: UUID, campaigns: Collection[UUID]
) -> int:
    """Abandoned calls of these campaigns, over all time."""
    query = sa.select(sa.func.count()).where(
        _a.campaign_id.in_(campaigns), _a.client_id == client_id, ABANDONED
    )
    return int((await connection.execute(query)).scalar_one())


async def centre_counts(
    connection: AsyncConnection, client_id: UUID, *, since: datetime, without: Collection[UUID]
) -> tuple[int, int]:
    """Live answers and abandoned calls of a client from the hour of `since` on, in campaigns but
    those `without`."""
    query = sa.select(
        sa.func.coalesce(sa.func.sum(sa.case((LIVE, 1), else_=0)), 0),
        sa.func.coalesce(sa.func.sum(sa.case((ABANDONED, 1), else_=0)), 0),
    ).where(
        _a.client_id == client_id,
        _a.intended_at >= since.replace(minute=0, second=0, microsecond=0),
        _a.campaign_id.not_in(list(without)),
    )
    live, abandoned = (await connection.execute(query)).one()
    return int(live), int(abandoned)
