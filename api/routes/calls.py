"""Calls as they were, and numbers never to be called again."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request

from api.deps import ForCalls, ForDoNotCall, parts
from api.models import Blocked, Call, Calls
from api.paging import Cursor, Limit, following, place
from dialer.domain.call import Outcome
from dialer.domain.errors import Invalid
from dialer.domain.numbers import BadNumber, parse_number
from dialer.domain.work import DoNotCall
from dialer.store import admin
from dialer.store.writes import block_numbers

router = APIRouter(prefix="/api/v1", tags=["calls"])


@router.get("/calls")
async def list_calls(
    who: ForCalls,
    request: Request,
    campaign_id: UUID | None = None,
    number: Annotated[str | None, Query(max_length=20, pattern=r"^\+[0-9]{3,19}$")] = None,
    outcome: Outcome | None = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Calls:
    """Attempts, newest first; `next` is the cursor of the following page."""
    async with parts(request).database.begin() as connection:
        rows = await admin.calls(
            connection,
            who.client_id,
            campaign_id=campaign_id,
            number=number,
            outcome=outcome.value if outcome else None,
            before=place(cursor),
            limit=limit,
        )
    items = [
        Call(
            **{k: row[k] for k in Call.model_fields if k not in ("disposition", "agent_id")},
            disposition=row["code"],
            agent_id=row["spoke_with"] or row["agent_id"],
        )
        for row in rows
    ]
    return Calls(items=items, next=following([dict(row) for row in rows], limit, at="intended_at"))


@router.post("/calls/{call_id}/hang-up", status_code=204)
async def hang_up(call_id: UUID, who: ForCalls, request: Request) -> None:
    """End a live call."""
    deps = parts(request)
    async with deps.database.begin() as connection:
        row = await admin.call(connection, who.client_id, call_id)
    await deps.gateway.call(row["pool_id"], "call.hang_up", {"call_id": str(call_id)})


@router.get("/do-not-call")
async def list_blocked(
    who: ForDoNotCall, request: Request, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[dict[str, Any]]:
    """The newest entries."""
    async with parts(request).database.begin() as connection:
        rows = await admin.numbers_blocked(connection, who.client_id, limit)
    return [{"number": r["number"], "source": r["source"], "at": r["at"]} for r in rows]


@router.post("/do-not-call/check")
async def check_blocked(body: Blocked, who: ForDoNotCall, request: Request) -> dict[str, Any]:
    """Whether a number may not be called, and since when."""
    try:
        number = parse_number(body.number, region=body.region).e164
    except BadNumber as error:
        raise Invalid(f"number: {error}") from None
    async with parts(request).database.begin() as connection:
        since = await admin.blocked_since(connection, who.client_id, number)
    return {"number": number, "blocked": since is not None, "since": since}


@router.post("/do-not-call", status_code=201)
async def block(body: Blocked, who: ForDoNotCall, request: Request) -> dict[str, str]:
    """Never call this number again: at once, in every queue."""
    deps = parts(request)
    try:
        number = parse_number(body.number, region=body.region).e164
    except BadNumber as error:
        raise Invalid(f"number: {error}") from None
    entry = DoNotCall(who.client_id, number, None, "client", "api", deps.clock.now())
    async with deps.database.begin() as connection:
        await block_numbers(connection, [entry])
        pools = await admin.pools(connection, who.client_id)
    await deps.agents.tell_pools(
        [row["id"] for row in pools],
        "pool.do_not_call",
        {"client_id": str(who.client_id), "numbers": [number]},
    )
    return {"number": number}
