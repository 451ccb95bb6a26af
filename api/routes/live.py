"""Live figures for those who ask instead of listening."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel

from api.deps import ForLive, parts
from api.ws.messages import Figures
from dialer.store import admin

router = APIRouter(prefix="/api/v1", tags=["live"])


class Live(BaseModel):
    """Each of the client's pools, as its engine has it now."""

    pools: list[Figures]


@router.get("/live")
async def live(who: ForLive, request: Request) -> Live:
    """The figures of each of the client's pools, as the engine has them now; 503 without one."""
    deps = parts(request)
    async with deps.database.begin() as connection:
        pools = await admin.pools(connection, who.client_id)
    mine = {"client_id": str(who.client_id)}
    found = [await deps.gateway.call(row["id"], "pool.figures", mine) for row in pools]
    return Live(pools=[Figures.model_validate(dict(figures)) for figures in found])
