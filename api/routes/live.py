"""Live figures for those who ask instead of listening."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from api.deps import ForLive, parts
from dialer.store import admin

router = APIRouter(prefix="/api/v1", tags=["live"])


@router.get("/live")
async def live(who: ForLive, request: Request) -> list[dict[str, Any]]:
    """The figures of each of the client's pools, as the engine has them now."""
    deps = parts(request)
    async with deps.database.begin() as connection:
        pools = await admin.pools(connection, who.client_id)
    return [
        dict(await deps.gateway.call(row["id"], "pool.figures", {"client_id": str(who.client_id)}))
        for row in pools
    ]
