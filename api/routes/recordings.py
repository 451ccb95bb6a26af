"""Recordings: listed, and heard through short-lived signed addresses. Every access is audited."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel

from api.deps import ForRecordings, KnownOnly, parts
from api.models import Page
from api.paging import Cursor, Limit, following, place
from api.problems import problem
from dialer.domain.errors import NotFound, Unavailable
from dialer.store import admin
from dialer.store import recordings as rows

router = APIRouter(prefix="/api/v1", tags=["recordings"])
_RANGE = re.compile(r"^bytes=([0-9]{0,18})-([0-9]{0,18})$")


class Recording(BaseModel):
    """`state`: on_node, copied, stored, damaged (kept, but the node could not write all of it),
    missing or erased; `size` in bytes."""

    call_id: UUID
    campaign_id: UUID
    state: str
    size: int
    sha256: str
    at: datetime


class Address(BaseModel):
    """Where the sound is; works without a token for `expires_in` seconds."""

    address: str
    expires_in: int


@router.get("/recordings")
async def list_recordings(
    who: ForRecordings,
    request: Request,
    campaign_id: UUID | None = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[Recording]:
    """Newest first."""
    async with parts(request).database.begin() as connection:
        found = await rows.listed(
            connection, who.client_id, campaign_id=campaign_id, after=place(cursor), limit=limit
        )
    return Page(
        items=[
            Recording(
                call_id=row["attempt_id"],
                **{k: row[k] for k in Recording.model_fields if k != "call_id"},
            )
            for row in found
        ],
        next=following(found, limit, "at", "attempt_id"),
    )


async def _stored(deps: Any, client_id: UUID, call_id: UUID, *, who: str, action: str) -> Any:
    """The recording's row, with a line in the audit log; raises NotFound or Unavailable."""
    async with deps.database.begin() as connection:
        row = await admin.recording(connection, client_id, call_id)
        if row["state"] not in ("stored", "copied", "damaged"):
            raise NotFound("the recording is not in the store", state=row["state"])
        await deps.audit.note(connection, client_id, who, action, call_id=call_id)
    if deps.storage is None:
        raise Unavailable("this process has no recordings storage")
    return row


@router.get("/calls/{call_id}/recording")
async def recording_address(call_id: UUID, who: ForRecordings, request: Request) -> Address:
    """A signed address of the sound, for a player that cannot send a token."""
    deps = parts(request)
    await _stored(deps, who.client_id, call_id, who=who.login, action="recording.address")
    signature = deps.auth.sign_address(
        who.client_id, call_id, account_id=who.account_id, seconds=deps.address_seconds
    )
    return Address(
        address=f"/api/v1/recordings/{call_id}/sound?signature={signature}",
        expires_in=deps.address_seconds,
    )


@router.get(
    "/recordings/{call_id}/sound",
    dependencies=[KnownOnly],
    response_class=StreamingResponse,
    responses={
        200: {"content": {"audio/wav": {}}},
        206: {"description": "The bytes asked for", "content": {"audio/wav": {}}},
        416: {"description": "No such bytes", "content": {"application/problem+json": {}}},
    },
)
async def sound(
    call_id: UUID,
    request: Request,
    signature: Annotated[str, Query(max_length=1000)],
    wanted: Annotated[str | None, Header(alias="Range", max_length=100)] = None,
) -> Response:
    """The sound itself, whole or a range of bytes. The signature is the permission."""
    deps = parts(request)
    client_id, account_id = deps.auth.open_address(signature, call_id)
    login = await deps.auth.hearer(account_id)
    row = await _stored(deps, client_id, call_id, who=login, action="recording.read")
    size = int(row["size"])
    headers = {"Accept-Ranges": "bytes"}
    span = _span(wanted, size)
    if span is None:
        refused = problem(416, "no-such-range", "No such range", f"there are {size} bytes")
        refused.headers["Content-Range"] = f"bytes */{size}"
        return refused
    start, end = span
    partial = (start, end) != (0, size)
    if partial:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    headers["Content-Length"] = str(end - start)
    assert deps.storage is not None
    blocks = deps.storage.read(row["stored_as"], start, end, size=size)
    return StreamingResponse(
        _in_thread(blocks),
        status_code=206 if partial else 200,
        media_type="audio/wav",
        headers=headers,
    )


def _span(wanted: str | None, size: int) -> tuple[int, int] | None:
    """The bytes asked for as [start, end); all for what is no range, None for one beyond."""
    match = _RANGE.match(wanted or "")
    if match is None or match.groups() == ("", ""):
        return 0, size
    first, last = match.groups()
    if not first:
        return (max(size - int(last), 0), size) if int(last) and size else None
    end = min(int(last) + 1, size) if last else size
    return (int(first), end) if int(first) < end else None


async def _in_thread(blocks: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (block := await asyncio.to_thread(next, blocks, None)) is not None:
        yield block
