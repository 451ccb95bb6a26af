"""Campaigns: made, changed, started, paused, stopped, given leads."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, ValidationError

from api.deps import ForCampaigns, ForLeads, parts
from api.models import (
    Campaign,
    ChangedCampaign,
    Disposition,
    LeadRow,
    NewCampaign,
    Page,
    Rejected,
    Upload,
    Uploaded,
)
from api.paging import Cursor, Limit, following, place
from dialer.domain.campaign import CampaignEvent, CampaignState
from dialer.domain.errors import TooLarge
from dialer.domain.numbers import BadNumber, parse_number
from dialer.store import admin, campaign_parts
from dialer.store.leads import NewLead

router = APIRouter(prefix="/api/v1/campaigns", tags=["campaigns"])


_SLICE = 20  # rows judged in one go, about a millisecond


def _campaign(row: Any) -> Campaign:
    return Campaign(**{key: row[key] for key in Campaign.model_fields})


class Version(BaseModel):
    """Settings as they were from `created_at` on; calls name the version they were placed under."""

    version: int
    settings: dict[str, Any]
    dispositions: list[dict[str, Any]]
    created_at: datetime


class UsedDisposition(Disposition):
    """A code of the campaign, and how often agents used it."""

    used: int


class UsedDispositions(BaseModel):
    items: list[UsedDisposition]


class CampaignCounts(BaseModel):
    """Attempts by outcome (`open`: not over), leads by state."""

    outcomes: dict[str, int]
    leads: dict[str, int]
    abandoned: int


@router.get("")
async def list_campaigns(
    who: ForCampaigns,
    request: Request,
    state: CampaignState | None = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[Campaign]:
    """Oldest first."""
    async with parts(request).database.begin() as connection:
        rows = await campaign_parts.campaigns(
            connection,
            who.client_id,
            state=state.value if state else None,
            after=place(cursor),
            limit=limit,
        )
    return Page(
        items=[_campaign(row) for row in rows], next=following(rows, limit, "created_at", "id")
    )


@router.post("", status_code=201)
async def create_campaign(body: NewCampaign, who: ForCampaigns, request: Request) -> Campaign:
    """A new campaign, in draft: it calls nobody until it is started."""
    return _campaign(
        await parts(request).campaigns.create(
            who.client_id,
            who=who.login,
            name=body.name,
            settings=body.settings.domain(),
            dispositions=[d.domain() for d in body.dispositions],
            pool_id=body.pool_id,
        )
    )


@router.get("/{campaign_id}")
async def get_campaign(campaign_id: UUID, who: ForCampaigns, request: Request) -> Campaign:
    async with parts(request).database.begin() as connection:
        return _campaign(await admin.campaign(connection, who.client_id, campaign_id))


@router.put("/{campaign_id}/settings")
async def change_settings(
    campaign_id: UUID, body: ChangedCampaign, who: ForCampaigns, request: Request
) -> Campaign:
    """New settings as a new version; calls keep the version they were placed under."""
    return _campaign(
        await parts(request).campaigns.change(
            who.client_id,
            campaign_id,
            who=who.login,
            settings=body.settings.domain(),
            dispositions=(
                [d.domain() for d in body.dispositions] if body.dispositions is not None else None
            ),
        )
    )


@router.get("/{campaign_id}/versions")
async def list_versions(
    campaign_id: UUID,
    who: ForCampaigns,
    request: Request,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[Version]:
    """All settings the campaign ever had, newest first."""
    async with parts(request).database.begin() as connection:
        await admin.campaign(connection, who.client_id, campaign_id)
        rows = await campaign_parts.versions(
            connection,
            who.client_id,
            campaign_id,
            after=place(cursor, [_version]),
            limit=limit,
        )
    return Page(
        items=[Version(**{k: row[k] for k in Version.model_fields}) for row in rows],
        next=following(rows, limit, "version"),
    )


@router.get("/{campaign_id}/dispositions")
async def list_dispositions(
    campaign_id: UUID, who: ForCampaigns, request: Request
) -> UsedDispositions:
    """The codes agents choose from and how often they did (which: `GET /calls?disposition=`)."""
    async with parts(request).database.begin() as connection:
        row = await admin.campaign(connection, who.client_id, campaign_id)
        used = await campaign_parts.said(connection, who.client_id, campaign_id)
    return UsedDispositions(
        items=[UsedDisposition(**d, used=used.get(d["code"], 0)) for d in row["dispositions"]]
    )


def _version(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**31:
        raise ValueError("no version")
    return value


async def _move(campaign_id: UUID, event: CampaignEvent, who: Any, request: Request) -> Campaign:
    return _campaign(
        await parts(request).campaigns.move(who.client_id, campaign_id, event, who=who.login)
    )


@router.post("/{campaign_id}/start")
async def start(campaign_id: UUID, who: ForCampaigns, request: Request) -> Campaign:
    """Call its leads. It is finished by itself when every lead is done; load more to start it
    again."""
    return await _move(campaign_id, CampaignEvent.START, who, request)


@router.post("/{campaign_id}/pause")
async def pause(campaign_id: UUID, who: ForCampaigns, request: Request) -> Campaign:
    """No new calls; those under way are finished, then the campaign is paused."""
    return await _move(campaign_id, CampaignEvent.PAUSE, who, request)


@router.post("/{campaign_id}/stop")
async def stop(campaign_id: UUID, who: ForCampaigns, request: Request) -> Campaign:
    """Finished: no new calls. It can be started again while it has leads to call."""
    return await _move(campaign_id, CampaignEvent.STOP, who, request)


@router.get("/{campaign_id}/figures")
async def figures(campaign_id: UUID, who: ForCampaigns, request: Request) -> CampaignCounts:
    """Attempts by outcome, leads by state, abandoned calls, from the records."""
    async with parts(request).database.begin() as connection:
        await admin.campaign(connection, who.client_id, campaign_id)
        found = await admin.campaign_figures(connection, who.client_id, campaign_id)
    return CampaignCounts(**found)


@router.post("/{campaign_id}/leads", status_code=201)
async def upload_leads(
    campaign_id: UUID, body: Upload, who: ForLeads, request: Request
) -> Uploaded:
    """Leads in bulk. Each row is judged alone: bad ones are named with a reason."""
    if len(body.leads) > parts(request).upload_rows:
        raise TooLarge(f"at most {parts(request).upload_rows} rows at a time")
    rows: list[NewLead] = []
    places: list[int] = []
    rejected: list[Rejected] = []
    for index, raw in enumerate(body.leads):
        if index % _SLICE == 0:
            await asyncio.sleep(0)  # calls are routed on this loop: an upload must not hold it
        try:
            row = LeadRow.model_validate(raw)
            number = parse_number(row.number, region=body.region or parts(request).region)
        except ValidationError as error:
            first = error.errors()[0]
            where = "/".join(str(p)[:60] for p in first["loc"])
            rejected.append(Rejected(row=index, reason=f"{where}: {first['msg']}"[:300]))
            continue
        except BadNumber as error:
            rejected.append(Rejected(row=index, reason=f"number: {error}"))
            continue
        places.append(index)
        rows.append(
            NewLead(
                e164=number.e164,
                region=number.region,
                kind=number.kind,
                name=row.name,
                external_key=row.external_key,
                zone=row.zone,
                consent=row.consent,
                attributes=row.attributes,
            )
        )
    done, state = await parts(request).campaigns.upload(
        who.client_id, campaign_id, who=who.login, name=body.name, rows=rows
    )
    rejected += [
        Rejected(row=places[i], reason="this person or number is in the campaign already")
        for i in done.duplicates
    ]
    return Uploaded(
        list_id=done.list_id,
        accepted=len(done.lead_ids),
        rejected=sorted(rejected, key=lambda r: r.row),
        campaign_state=state,
    )
