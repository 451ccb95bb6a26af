"""The audit log of one client, newest first."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.store import schema as t

_A = t.audit_log.c


async def entries(
    connection: AsyncConnection,
    client_id: UUID,
    *,
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> list[dict[str, Any]]:
    query = (
        sa.select(t.audit_log)
        .where(_A.client_id == client_id)
        .order_by(_A.at.desc(), _A.id.desc())
        .limit(limit)
    )
    if before is not None:
        at, last = before
        query = query.where(sa.or_(_A.at < at, sa.and_(_A.at == at, _A.id < last)))
    return [dict(row) for row in (await connection.execute(query)).mappings()]
