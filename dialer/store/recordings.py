"""Recordings in the tables: which wait to be moved, and where each one is.

States: on_node (waits), copied (stored and verified, the node's file still there), stored, damaged
(stored, but the node had not written all of it), missing (the node had no such file), erased.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.store import schema as t
from dialer.store.pages import page

_R = t.recording.c


async def to_move(
    connection: AsyncConnection,
    *,
    nodes: Sequence[str],
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> Sequence[Mapping[str, Any]]:
    """Recordings on these nodes that are not moved yet, oldest first, beyond `after`."""
    query = (
        sa.select(t.recording)
        .where(_R.state.in_(["on_node", "copied"]), _R.node.in_(nodes))
        .order_by(_R.at, _R.attempt_id)
        .limit(limit)
    )
    if after is not None:
        at, attempt_id = after
        query = query.where(sa.or_(_R.at > at, sa.and_(_R.at == at, _R.attempt_id > attempt_id)))
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def move_on(
    connection: AsyncConnection, attempt_id: UUID, *, before: str, values: Mapping[str, Any]
) -> bool:
    """Change a recording if its state is still `before`."""
    done = await connection.execute(
        sa.update(t.recording)
        .where(_R.attempt_id == attempt_id, _R.state == before)
        .values(dict(values))
    )
    return bool(done.rowcount)


async def one(connection: AsyncConnection, attempt_id: UUID) -> Mapping[str, Any]:
    """A recording that is known to be there."""
    query = sa.select(t.recording).where(_R.attempt_id == attempt_id)
    return dict((await connection.execute(query)).mappings().one())


async def conversation_seconds(connection: AsyncConnection, attempt_id: UUID) -> float:
    """How long a person was spoken with, by all agents together; 0 when that is not known."""
    c = t.conversation.c
    query = sa.select(c.connected_at, c.ended_at).where(c.attempt_id == attempt_id)
    rows = (await connection.execute(query)).all()
    return sum(
        (
            max((row.ended_at - row.connected_at).total_seconds(), 0.0)
            for row in rows
            if row.ended_at
        ),
        start=0.0,
    )


async def listed(
    connection: AsyncConnection,
    client_id: UUID,
    *,
    campaign_id: UUID | None,
    after: Sequence[Any] | None,
    limit: int,
) -> Sequence[Mapping[str, Any]]:
    """A client's recordings, newest first."""
    query = sa.select(t.recording).where(_R.client_id == client_id)
    if campaign_id is not None:
        query = query.where(_R.campaign_id == campaign_id)
    query = page(query, [_R.at, _R.attempt_id], after=after, limit=limit, newest_first=True)
    return [dict(row) for row in (await connection.execute(query)).mappings()]
