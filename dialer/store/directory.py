"""Who there is: pages of clients, pools, accounts and agents, and an agent as people see one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.domain.errors import NotFound
from dialer.store import schema as t
from dialer.store.pages import page

Found = list[dict[str, Any]]


async def _rows(connection: AsyncConnection, query: sa.Select[Any]) -> Found:
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def clients(
    connection: AsyncConnection, only: UUID | None, *, after: Sequence[Any] | None, limit: int
) -> Found:
    """Oldest first; only one of them where `only` says so."""
    query = sa.select(t.client)
    if only is not None:
        query = query.where(t.client.c.id == only)
    columns = [t.client.c.created_at, t.client.c.id]
    return await _rows(connection, page(query, columns, after=after, limit=limit))


async def pools(
    connection: AsyncConnection, client_id: UUID, *, after: Sequence[Any] | None, limit: int
) -> Found:
    query = sa.select(t.pool).where(t.pool.c.client_id == client_id)
    return await _rows(connection, page(query, [t.pool.c.id], after=after, limit=limit))


async def accounts(
    connection: AsyncConnection, client_id: UUID, *, after: Sequence[Any] | None, limit: int
) -> Found:
    """By login."""
    query = sa.select(t.account).where(t.account.c.client_id == client_id)
    return await _rows(connection, page(query, [t.account.c.login], after=after, limit=limit))


async def account(connection: AsyncConnection, client_id: UUID, account_id: UUID) -> dict[str, Any]:
    query = sa.select(t.account).where(
        t.account.c.id == account_id, t.account.c.client_id == client_id
    )
    found = await _rows(connection, query)
    if not found:
        raise NotFound("no such account")
    return found[0]


def _agents(client_id: UUID) -> sa.Select[Any]:
    return (
        sa.select(
            t.agent,
            t.account.c.login,
            sa.func.coalesce(t.account.c.disabled, sa.false()).label("disabled"),
        )
        .outerjoin(t.account, t.account.c.id == t.agent.c.account_id)
        .where(t.agent.c.client_id == client_id)
    )


async def agents(
    connection: AsyncConnection, client_id: UUID, *, after: Sequence[Any] | None, limit: int
) -> Found:
    """By name, each with login and campaigns."""
    columns = [t.agent.c.name, t.agent.c.id]
    found = await _rows(connection, page(_agents(client_id), columns, after=after, limit=limit))
    return await _with_campaigns(connection, found)


async def agent(connection: AsyncConnection, client_id: UUID, agent_id: UUID) -> dict[str, Any]:
    found = await _rows(connection, _agents(client_id).where(t.agent.c.id == agent_id))
    if not found:
        raise NotFound("no such agent")
    return (await _with_campaigns(connection, found))[0]


async def _with_campaigns(connection: AsyncConnection, found: Found) -> Found:
    link = t.agent_campaign.c
    works: dict[UUID, list[UUID]] = {row["id"]: [] for row in found}
    query = sa.select(link.agent_id, link.campaign_id).where(link.agent_id.in_(list(works)))
    for agent_id, campaign_id in await connection.execute(query.order_by(link.campaign_id)):
        works[agent_id].append(campaign_id)
    return [{**row, "campaigns": works[row["id"]]} for row in found]


async def change_agent(
    connection: AsyncConnection, client_id: UUID, agent_id: UUID, values: Mapping[str, Any]
) -> None:
    await connection.execute(
        sa.update(t.agent)
        .where(t.agent.c.id == agent_id, t.agent.c.client_id == client_id)
        .values(dict(values))
    )


async def link(
    connection: AsyncConnection, client_id: UUID, agent_id: UUID, campaign_id: UUID
) -> None:
    """The agent may work this campaign too; nothing happens when that is so already."""
    await unlink(connection, client_id, agent_id, campaign_id)
    await connection.execute(
        sa.insert(t.agent_campaign).values(
            agent_id=agent_id, campaign_id=campaign_id, client_id=client_id
        )
    )


async def unlink(
    connection: AsyncConnection, client_id: UUID, agent_id: UUID, campaign_id: UUID
) -> bool:
    """The agent may not work this campaign any more; whether that was so before."""
    link = t.agent_campaign.c
    done = await connection.execute(
        sa.delete(t.agent_campaign).where(
            link.agent_id == agent_id,
            link.campaign_id == campaign_id,
            link.client_id == client_id,
        )
    )
    return bool(done.rowcount)


async def phones(connection: AsyncConnection) -> Found:
    """All phones: those of disabled accounts may not register any more."""
    query = (
        sa.select(t.agent.c.endpoint, t.agent.c.phone_password, t.agent.c.contact)
        .outerjoin(t.account, t.account.c.id == t.agent.c.account_id)
        .where(sa.func.coalesce(t.account.c.disabled, sa.false()).is_(False))
        .order_by(t.agent.c.name)
    )
    return await _rows(connection, query)


async def agents_by_node(connection: AsyncConnection) -> dict[str, int]:
    """How many agents have their phone at each Asterisk node."""
    query = sa.select(t.agent.c.node, sa.func.count()).group_by(t.agent.c.node)
    return {str(row[0]): int(row[1]) for row in await connection.execute(query)}
