"""What pacing decided for a campaign, and why."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from api.deps import ForCampaigns, parts
from api.models import Page
from api.paging import Cursor, Limit, following, moment, place
from dialer.store import admin, past

router = APIRouter(prefix="/api/v1/campaigns", tags=["campaigns"])


class PacingDecision(BaseModel):
    """What was decided since the one before it. Forecasts are there in predictive mode only, for
    the ten seconds that followed."""

    at: datetime
    node: str = Field(description="The Asterisk node whose agents it was for.")
    settings_version: int
    calls: int = Field(description="Calls placed since the row before.")
    cancelled: int = Field(description="Ringing calls given up since the row before.")
    binding: str = Field(description="What kept it from placing more.")
    reason: str = Field(description="The last decision in one sentence.")
    agents: int = Field(description="Free agents.")
    in_flight: int = Field(description="Calls placed and not answered yet.")
    waiting: int = Field(description="People who answered and had no agent.")
    theta: float | None = Field(None, description="Abandoned calls one more answer may cost.")
    price: float | None = Field(None, description="What the next one would have cost.")
    goal: float | None = Field(None, description="Share of the coming answers to be abandoned.")
    budget_left: float | None = Field(
        None, description="Abandoned calls left in the tightest window."
    )
    expected_answers: float | None = None
    expected_free: float | None = Field(None, description="Agents.")
    answer_share: float | None = Field(None, description="Of calls placed at that moment.")


def decision_of(row: dict[str, Any]) -> PacingDecision:
    told = {**row["details"], **{k: v for k, v in row.items() if k != "details"}}
    return PacingDecision(**{k: v for k, v in told.items() if k in PacingDecision.model_fields})


@router.get("/{campaign_id}/decisions")
async def list_decisions(
    campaign_id: UUID,
    who: ForCampaigns,
    request: Request,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[PacingDecision]:
    """Why so many calls, newest first: one row every few seconds while calls are placed."""
    async with parts(request).database.begin() as connection:
        await admin.campaign(connection, who.client_id, campaign_id)
        rows = await past.decisions(
            connection,
            who.client_id,
            campaign_id,
            after=place(cursor, [moment, str]),
            limit=limit,
        )
    return Page(items=[decision_of(row) for row in rows], next=following(rows, limit, "at", "node"))
