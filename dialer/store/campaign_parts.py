"""What belongs to a campaign: its versions, its lists, and what agents said of its calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.domain.errors import NotFound
from dialer.store import schema as t
from dialer.store.admin import campaign_query
from dialer.store.pages import page


async def campaigns(
    connection: AsyncConnection,
    client_id: UUID,
    *,
    state: str | None,
    after: Sequence[Any] | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Oldest first, each with its present settings."""
    query = campaign_query().where(t.campaign.c.client_id == client_id)
    if state is not None:
        query = query.where(t.campaign.c.state == state)
    columns = [t.campaign.c.created_at, t.campaign.c.id]
    query = page(query, columns, after=after, limit=limit)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def versions(
    connection: AsyncConnection,
    client_id: UUID,
    campaign_id: UUID,
    *,
    after: Sequence[Any] | None,
    limit: int,
) -> list[dict[str, Any]]:
    """All settings the campaign ever had, newest first."""
    v = t.campaign_version.c
    query = sa.select(t.campaign_version).where(
        v.campaign_id == campaign_id, v.client_id == client_id
    )
    query = page(query, [v.version], after=after, limit=limit, newest_first=True)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


def _lists(client_id: UUID) -> sa.Select[Any]:
    leads = (
        sa.select(sa.func.count())
        .where(t.lead.c.list_id == t.lead_list.c.id)
        .scalar_subquery()
        .label("leads")
    )
    return sa.select(t.lead_list, leads).where(t.lead_list.c.client_id == client_id)


async def lists(
    connection: AsyncConnection,
    client_id: UUID,
    *,
    campaign_id: UUID | None,
    after: Sequence[Any] | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Newest first, each with the number of its leads."""
    query = _lists(client_id)
    if campaign_id is not None:
        query = query.where(t.lead_list.c.campaign_id == campaign_id)
    columns = [t.lead_list.c.created_at, t.lead_list.c.id]
    query = page(query, columns, after=after, limit=limit, newest_first=True)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def lead_list(connection: AsyncConnection, client_id: UUID, list_id: UUID) -> dict[str, Any]:
    """One list with its leads by state."""
    query = _lists(client_id).where(t.lead_list.c.id == list_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound("no such list")
    states = await connection.execute(
        sa.select(t.lead.c.state, sa.func.count())
        .where(t.lead.c.list_id == list_id, t.lead.c.client_id == client_id)
        .group_by(t.lead.c.state)
    )
    return {**dict(row), "states": dict(states.all())}


async def said(connection: AsyncConnection, client_id: UUID, campaign_id: UUID) -> dict[str, int]:
    """How often agents used each disposition code."""
    a, d = t.attempt, t.disposition
    query = (
        sa.select(d.c.code, sa.func.count())
        .join(a, a.c.id == d.c.attempt_id)
        .where(a.c.client_id == client_id, a.c.campaign_id == campaign_id)
        .group_by(d.c.code)
    )
    return dict((await connection.execute(query)).all())
