"""Calls as they were, and numbers never to be called again."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from api.deps import ForCalls, ForDoNotCall, parts
from api.models import Blocked, Call, CallInFull, Page
from api.paging import Cursor, Limit, following, moment, place
from dialer.domain.call import Outcome
from dialer.domain.errors import Invalid
from dialer.domain.numbers import BadNumber, parse_number
from dialer.domain.work import DoNotCall
from dialer.store import admin, call_log
from dialer.store.writes import block_numbers

router = APIRouter(prefix="/api/v1", tags=["calls"])


def _seen(row: dict[str, Any]) -> dict[str, Any]:
    return {
        **row,
        "disposition": row["code"],
        "agent_id": row["spoke_with"] or row["agent_id"],
    }


@router.get("/calls")
async def list_calls(
    who: ForCalls,
    request: Request,
    campaign_id: UUID | None = None,
    number: Annotated[str | None, Query(max_length=20, pattern=r"^\+[0-9]{3,19}$")] = None,
    outcome: Outcome | None = None,
    disposition: Annotated[str | None, Query(pattern=r"^[a-z][a-z0-9_\-]{0,39}$")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[Call]:
    """Attempts, newest first."""
    async with parts(request).database.begin() as connection:
        rows = await call_log.calls(
            connection,
            who.client_id,
            campaign_id=campaign_id,
            number=number,
            outcome=outcome.value if outcome else None,
            disposition=disposition,
            after=place(cursor),
            limit=limit,
        )
    items = [Call(**{k: v for k, v in _seen(r).items() if k in Call.model_fields}) for r in rows]
    return Page(items=items, next=following(rows, limit, "intended_at", "id"))


@router.get("/calls/{call_id}")
async def get_call(call_id: UUID, who: ForCalls, request: Request) -> CallInFull:
    """One attempt: why it was allowed, how it went, and what the agent said of it."""
    async with parts(request).database.begin() as connection:
        row = await call_log.call(connection, who.client_id, call_id)
    return CallInFull(**{k: v for k, v in _seen(row).items() if k in CallInFull.model_fields})


@router.post("/calls/{call_id}/hang-up", status_code=204)
async def hang_up(call_id: UUID, who: ForCalls, request: Request) -> None:
    """End a live call."""
    deps = parts(request)
    async with deps.database.begin() as connection:
        row = await call_log.call(connection, who.client_id, call_id)
        await deps.audit.note(connection, who.client_id, who.login, "call.hung_up", call_id=call_id)
    await deps.gateway.call(row["pool_id"], "call.hang_up", {"call_id": str(call_id)})


class BlockedNumber(BaseModel):
    """A number that is not called, since when, and who said so."""

    number: str
    source: str
    at: datetime


class Checked(BaseModel):
    number: str
    blocked: bool
    since: datetime | None


class Added(BaseModel):
    number: str


def _number(text: str, region: str | None) -> str:
    try:
        return parse_number(text, region=region).e164
    except BadNumber as error:
        raise Invalid(f"number: {error}") from None


@router.get("/do-not-call")
async def list_blocked(
    who: ForDoNotCall, request: Request, cursor: Cursor = None, limit: Limit = 100
) -> Page[BlockedNumber]:
    """Newest first."""
    async with parts(request).database.begin() as connection:
        rows = await call_log.blocked(
            connection, who.client_id, after=place(cursor, [moment, str]), limit=limit
        )
    return Page(
        items=[BlockedNumber(**{k: row[k] for k in BlockedNumber.model_fields}) for row in rows],
        next=following(rows, limit, "at", "number"),
    )


@router.post("/do-not-call/check")
async def check_blocked(body: Blocked, who: ForDoNotCall, request: Request) -> Checked:
    """Whether a number may not be called, and since when."""
    number = _number(body.number, body.region or parts(request).region)
    async with parts(request).database.begin() as connection:
        since = await admin.blocked_since(connection, who.client_id, number)
    return Checked(number=number, blocked=since is not None, since=since)


@router.post("/do-not-call", status_code=201)
async def block(body: Blocked, who: ForDoNotCall, request: Request) -> Added:
    """Never call this number again: at once, in every queue."""
    deps = parts(request)
    number = _number(body.number, body.region or deps.region)
    entry = DoNotCall(who.client_id, number, None, "client", "api", deps.clock.now())
    async with deps.database.begin() as connection:
        await block_numbers(connection, [entry])
        # Without the number: the log outlives what is known of a person.
        await deps.audit.note(connection, who.client_id, who.login, "do_not_call.added")
        pools = await admin.pools(connection, who.client_id)
    await deps.agents.tell_pools(
        [row["id"] for row in pools],
        "pool.do_not_call",
        {"client_id": str(who.client_id), "numbers": [number]},
    )
    return Added(number=number)
