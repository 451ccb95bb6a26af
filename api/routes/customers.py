"""The customer base, a campaign's leads, and agreed callbacks."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, AwareDatetime, BaseModel

from api.deps import ForCampaigns, ForLeads, parts
from api.models import Attributes, Model, Page, Text, Zone, _printable
from api.paging import Cursor, Limit, following, place
from dialer.domain.errors import Invalid
from dialer.domain.lead import LeadState
from dialer.store import admin, outbox
from dialer.store import customers as rows
from dialer.store import recordings as recording_rows

router = APIRouter(prefix="/api/v1", tags=["customers"])


class Customer(BaseModel):
    id: UUID
    name: str
    external_key: str
    zone: str
    consent: bool
    attributes: dict[str, Any]
    numbers: list[str]
    created_at: datetime


class ChangedCustomer(Model):
    """Only what is named is changed; `attributes` replaces all of them."""

    name: Text | None = None
    zone: Zone | None = None
    consent: bool | None = None
    attributes: Attributes | None = None


class Lead(BaseModel):
    """A person's place in a campaign."""

    id: UUID
    campaign_id: UUID
    list_id: UUID
    customer_id: UUID
    name: str
    number: str
    state: str
    reason: str
    next_at: datetime | None
    callback_agent: UUID | None
    position: int


class AgreedTime(Model):
    """When to call back, with its offset from UTC; by whom (none: anyone)."""

    at: AwareDatetime
    agent_id: UUID | None = None


ExternalKey = Annotated[
    str | None, Query(max_length=100), AfterValidator(lambda v: v and _printable(v))
]


def _position(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**53:
        raise ValueError("no position")
    return value


def _lead(row: dict[str, Any]) -> Lead:
    return Lead(**{key: row[key] for key in Lead.model_fields})


@router.get("/customers")
async def list_customers(
    who: ForLeads,
    request: Request,
    number: Annotated[str | None, Query(pattern=r"^\+[0-9]{3,19}$")] = None,
    external_key: ExternalKey = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[Customer]:
    """Newest first."""
    async with parts(request).database.begin() as connection:
        found = await rows.customers(
            connection,
            who.client_id,
            number=number,
            external_key=external_key,
            after=place(cursor),
            limit=limit,
        )
    return Page(
        items=[Customer(**{k: row[k] for k in Customer.model_fields}) for row in found],
        next=following(found, limit, "created_at", "id"),
    )


@router.get("/customers/{customer_id}")
async def get_customer(customer_id: UUID, who: ForLeads, request: Request) -> Customer:
    async with parts(request).database.begin() as connection:
        row = await rows.customer(connection, who.client_id, customer_id)
    return Customer(**{k: row[k] for k in Customer.model_fields})


@router.patch("/customers/{customer_id}")
async def change_customer(
    customer_id: UUID, body: ChangedCustomer, who: ForLeads, request: Request
) -> Customer:
    """Amend a record; screen pops of calls claimed from now on show it."""
    values = {k: v for k, v in body.model_dump(exclude_unset=True).items() if v is not None}
    async with parts(request).database.begin() as connection:
        await rows.customer(connection, who.client_id, customer_id)
        await rows.amend(connection, who.client_id, customer_id, values)
        await parts(request).audit.note(
            connection, who.client_id, who.login, "customer.changed",
            customer_id=customer_id, fields=sorted(values),
        )  # fmt: skip
        row = await rows.customer(connection, who.client_id, customer_id)
    return Customer(**{k: row[k] for k in Customer.model_fields})


@router.delete("/customers/{customer_id}", status_code=204)
async def erase_customer(customer_id: UUID, who: ForLeads, request: Request) -> None:
    """Forget a person, with recordings and notes. Do-not-call entries stay in force."""
    deps = parts(request)
    async with deps.database.begin() as connection:
        recordings = await rows.erase(connection, who.client_id, customer_id)
        for row in recordings:
            if row["state"] == "on_node" or row["state"] == "copied":
                raise Invalid("a recording of this person is being moved; try again in a moment")
        await deps.audit.note(
            connection, who.client_id, who.login, "customer.erased", customer_id=customer_id
        )
        # Deleted before the commit: a crash in between leaves rows that say so, and a retry.
        for row in recordings:
            if row["state"] in ("stored", "damaged") and deps.storage is not None:
                await asyncio.to_thread(deps.storage.delete, row["stored_as"])
            await recording_rows.move_on(
                connection, row["attempt_id"], before=row["state"], values={"state": "erased"}
            )


@router.get("/campaigns/{campaign_id}/leads")
async def list_leads(
    campaign_id: UUID,
    who: ForLeads,
    request: Request,
    state: LeadState | None = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[Lead]:
    """The campaign's leads in list order."""
    async with parts(request).database.begin() as connection:
        await admin.campaign(connection, who.client_id, campaign_id)
        found = await rows.leads(
            connection,
            who.client_id,
            campaign_id,
            state=state.value if state else None,
            after=place(cursor, [_position, UUID]),
            limit=limit,
        )
    return Page(items=[_lead(row) for row in found], next=following(found, limit, "position", "id"))


@router.get("/callbacks")
async def list_callbacks(
    who: ForCampaigns,
    request: Request,
    campaign_id: UUID | None = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[Lead]:
    """Agreed callbacks, the next one first."""
    async with parts(request).database.begin() as connection:
        found = await rows.callbacks(
            connection, who.client_id, campaign_id=campaign_id, after=place(cursor), limit=limit
        )
    return Page(items=[_lead(row) for row in found], next=following(found, limit, "next_at", "id"))


@router.put("/callbacks/{lead_id}")
async def agree_callback(
    lead_id: UUID, body: AgreedTime, who: ForCampaigns, request: Request
) -> Lead:
    """Call this lead back at a time; 409 while it is being called or was never tried."""
    deps = parts(request)
    if body.at <= deps.clock.now():
        raise Invalid("at is in the past")
    async with deps.database.begin() as connection:
        if body.agent_id is not None:
            await admin.agent(connection, who.client_id, body.agent_id)
        await rows.call_back(connection, who.client_id, lead_id, at=body.at, agent_id=body.agent_id)
        await deps.audit.note(
            connection, who.client_id, who.login, "callback.agreed", lead_id=lead_id
        )
        row = await rows.lead(connection, who.client_id, lead_id)
        campaign = await admin.campaign(connection, who.client_id, row["campaign_id"])
        await outbox.callback_agreed(connection, row, now=deps.clock.now())
    await deps.campaigns.refresh(campaign["pool_id"])
    return _lead(row)


@router.delete("/callbacks/{lead_id}", status_code=204)
async def cancel_callback(lead_id: UUID, who: ForCampaigns, request: Request) -> None:
    """No callback after all."""
    deps = parts(request)
    async with deps.database.begin() as connection:
        await rows.cancel_callback(connection, who.client_id, lead_id)
        await deps.audit.note(
            connection, who.client_id, who.login, "callback.cancelled", lead_id=lead_id
        )
