"""Calls as they were, and the do-not-call list, for those who look."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.domain.errors import NotFound
from dialer.store import schema as t
from dialer.store.pages import page

_A = t.attempt.c
_AROUND = timedelta(minutes=5)  # between an id's own time and the time kept beside it


def _calls(client_id: UUID) -> sa.Select[Any]:
    a, c, d = t.attempt, t.conversation, t.disposition
    spoke = sa.func.coalesce(c.c.agent_id, a.c.agent_id)  # or tried to: a manual call
    return (
        sa.select(
            a,
            c.c.agent_id.label("spoke_with"),
            c.c.ended_by,
            d.c.code,
            d.c.note,
            d.c.form,
            d.c.wrap_up_seconds,
        )
        .outerjoin(c, c.c.attempt_id == a.c.id)
        .outerjoin(d, sa.and_(d.c.attempt_id == a.c.id, d.c.agent_id == spoke))
        .where(a.c.client_id == client_id)
    )


async def calls(
    connection: AsyncConnection,
    client_id: UUID,
    *,
    campaign_id: UUID | None,
    number: str | None,
    outcome: str | None,
    disposition: str | None,
    after: Sequence[Any] | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Attempts, newest first, with agent and disposition."""
    query = _calls(client_id)
    if campaign_id is not None:
        query = query.where(_A.campaign_id == campaign_id)
    if number is not None:
        query = query.where(_A.number == number)
    if outcome is not None:
        query = query.where(_A.outcome == outcome)
    if disposition is not None:
        query = query.where(t.disposition.c.code == disposition)
    columns = [_A.intended_at, _A.id]
    query = page(query, columns, after=after, limit=limit, newest_first=True)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def call(connection: AsyncConnection, client_id: UUID, call_id: UUID) -> dict[str, Any]:
    """One attempt with all that is known of it."""
    query = _calls(client_id).where(_A.id == call_id)
    if call_id.version == 7:  # says in which partition to look
        made = datetime.fromtimestamp((call_id.int >> 80) / 1000, UTC)
        query = query.where(_A.intended_at.between(made - _AROUND, made + _AROUND))
    row = (await connection.execute(query.limit(1))).mappings().first()
    if row is None:
        raise NotFound("no such call")
    return dict(row)


async def blocked(
    connection: AsyncConnection, client_id: UUID, *, after: Sequence[Any] | None, limit: int
) -> list[dict[str, Any]]:
    """The do-not-call list, newest entries first."""
    entry = t.do_not_call.c
    query = sa.select(t.do_not_call).where(entry.client_id == client_id)
    query = page(query, [entry.at, entry.number], after=after, limit=limit, newest_first=True)
    return [dict(row) for row in (await connection.execute(query)).mappings()]
