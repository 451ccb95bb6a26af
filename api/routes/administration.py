"""What administrators look at and change beside accounts: clients, pools, the audit log."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel

from api.deps import AdminOnly, ForCampaigns, parts
from api.models import Model, Page, Title
from api.paging import Cursor, Limit, following, place
from dialer.domain.errors import Forbidden
from dialer.store import access, admin, audit, directory

router = APIRouter(prefix="/api/v1", tags=["administration"])


class NewClient(Model):
    """Who calls are made for. A single house has one, made by `dialer setup`."""

    name: Title


class Client(BaseModel):
    id: UUID
    name: str
    created_at: datetime


class Pool(BaseModel):
    """Campaigns and agents that work together."""

    id: UUID
    name: str


class Entry(BaseModel):
    """Who did what."""

    at: datetime
    who: str
    action: str
    details: dict[str, Any]


@router.get("/clients")
async def list_clients(
    who: AdminOnly, request: Request, cursor: Cursor = None, limit: Limit = 100
) -> Page[Client]:
    """All clients for the house's administrators, else one's own. Oldest first."""
    async with parts(request).database.begin() as connection:
        only = None if who.client_id == await access.house(connection) else who.client_id
        rows = await directory.clients(connection, only, after=place(cursor), limit=limit)
    return Page(
        items=[Client(**{k: row[k] for k in Client.model_fields}) for row in rows],
        next=following(rows, limit, "created_at", "id"),
    )


@router.post("/clients", status_code=201)
async def add_client(body: NewClient, who: AdminOnly, request: Request) -> Client:
    """A client with its first pool, which an engine takes up within seconds."""
    deps = parts(request)
    client_id, now = deps.new_id(), deps.clock.now()
    async with deps.database.begin() as connection:
        if who.client_id != await access.house(connection):
            raise Forbidden("only the house's administrators add clients")
        await admin.add_client(
            connection, client_id=client_id, name=body.name, pool_id=deps.new_id(), at=now
        )
        await deps.audit.note(connection, who.client_id, who.login, "client.added", added=client_id)
    deps.pools_changed()
    return Client(id=client_id, name=body.name, created_at=now)


@router.get("/pools")
async def list_pools(
    who: ForCampaigns, request: Request, cursor: Cursor = None, limit: Limit = 100
) -> Page[Pool]:
    """Oldest first."""
    async with parts(request).database.begin() as connection:
        rows = await directory.pools(
            connection, who.client_id, after=place(cursor, [UUID]), limit=limit
        )
    return Page(
        items=[Pool(id=row["id"], name=row["name"]) for row in rows],
        next=following(rows, limit, "id"),
    )


@router.get("/audit")
async def list_audit(
    who: AdminOnly, request: Request, cursor: Cursor = None, limit: Limit = 100
) -> Page[Entry]:
    """Newest first."""
    async with parts(request).database.begin() as connection:
        rows = await audit.entries(connection, who.client_id, after=place(cursor), limit=limit)
    return Page(
        items=[Entry(**{k: row[k] for k in Entry.model_fields}) for row in rows],
        next=following(rows, limit, "at", "id"),
    )
