"""Calls that are over, for the pacing engine to learn from; and what it decided, for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.domain.call import Outcome
from dialer.domain.work import PastAttempt
from dialer.store import schema as t
from dialer.store.pages import page

_A, _P = t.attempt.c, t.pacing_decision.c
_ASSISTED = ("preview", "manual")
_PART = 5000  # rows of old decisions deleted at once


async def recent(
    connection: AsyncConnection,
    campaign_id: UUID,
    *,
    since: datetime,
    until: datetime,
    limit: int,
) -> list[PastAttempt]:
    """The last `limit` concluded attempts of a campaign that left, oldest first."""
    d = t.disposition
    query = (
        sa.select(
            _A.node, _A.sent_at, _A.ringing_at, _A.answered_at, _A.connected_at, _A.ended_at,
            _A.outcome, d.c.wrap_up_seconds, t.lead.c.list_id, _A.trunk, _A.agent_id,
        )
        .outerjoin(t.lead, t.lead.c.id == _A.lead_id)
        .outerjoin(d, sa.and_(d.c.attempt_id == _A.id, d.c.agent_id == _A.agent_id))
        .where(
            _A.campaign_id == campaign_id,
            _A.intended_at >= since,
            _A.intended_at < until,
            _A.ended_at < until,
            _A.outcome.is_not(None),
            _A.sent_at.is_not(None),
            _A.mode.not_in(_ASSISTED),
        )
        .order_by(_A.intended_at.desc(), _A.id.desc())
        .limit(limit)
    )  # fmt: skip
    rows = (await connection.execute(query)).all()
    return [
        PastAttempt(
            row.node, row.sent_at, row.ringing_at, row.answered_at, row.connected_at,
            row.ended_at, Outcome(row.outcome), row.wrap_up_seconds, row.list_id, row.trunk,
            row.agent_id,
        )
        for row in reversed(rows)
    ]  # fmt: skip


async def decisions(
    connection: AsyncConnection,
    client_id: UUID,
    campaign_id: UUID,
    *,
    after: Sequence[Any] | None,
    limit: int,
) -> list[dict[str, Any]]:
    """What pacing decided for a campaign, newest first."""
    query = sa.select(t.pacing_decision).where(
        _P.client_id == client_id, _P.campaign_id == campaign_id
    )
    query = page(query, [_P.at, _P.node], after=after, limit=limit, newest_first=True)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def prune_decisions(connection: AsyncConnection, *, before: datetime) -> int:
    """Forget some of those that are older; how many."""
    p = t.pacing_decision
    old = sa.select(_P.campaign_id, _P.at, _P.node).where(_P.at < before).limit(_PART)
    key = sa.tuple_(p.c.campaign_id, p.c.at, p.c.node)
    return (await connection.execute(sa.delete(p).where(key.in_(old)))).rowcount
