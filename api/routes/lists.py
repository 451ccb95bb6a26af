"""Lists: what was loaded into a campaign in one go."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel

from api.deps import ForLeads, parts
from api.models import Page
from api.paging import Cursor, Limit, following, place
from dialer.store import campaign_parts

router = APIRouter(prefix="/api/v1/lists", tags=["lists"])


class LeadList(BaseModel):
    id: UUID
    campaign_id: UUID
    name: str
    created_at: datetime
    leads: int


class LeadListInFull(LeadList):
    """A list with its leads by state."""

    states: dict[str, int]


@router.get("")
async def list_lists(
    who: ForLeads,
    request: Request,
    campaign_id: UUID | None = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[LeadList]:
    """Newest first."""
    async with parts(request).database.begin() as connection:
        rows = await campaign_parts.lists(
            connection, who.client_id, campaign_id=campaign_id, after=place(cursor), limit=limit
        )
    return Page(
        items=[LeadList(**{k: row[k] for k in LeadList.model_fields}) for row in rows],
        next=following(rows, limit, "created_at", "id"),
    )


@router.get("/{list_id}")
async def get_list(list_id: UUID, who: ForLeads, request: Request) -> LeadListInFull:
    async with parts(request).database.begin() as connection:
        row = await campaign_parts.lead_list(connection, who.client_id, list_id)
    return LeadListInFull(**{k: row[k] for k in LeadListInFull.model_fields})
