"""The audit log of one client, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.store import schema as t
from dialer.store.pages import page

_A = t.audit_log.c


async def entries(
    connection: AsyncConnection,
    client_id: UUID,
    *,
    after: Sequence[Any] | None,
    limit: int,
) -> list[dict[str, Any]]:
    query = sa.select(t.audit_log).where(_A.client_id == client_id)
    query = page(query, [_A.at, _A.id], after=after, limit=limit, newest_first=True)
    return [dict(row) for row in (await connection.execute(query)).mappings()]
