"""What pacing decided for a campaign, and why; and what it would do under other settings."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from api.deps import ForCampaigns, parts
from api.models import Model, Page
from api.paging import Cursor, Limit, following, moment, place
from dialer.domain.campaign import DialMode
from dialer.forecasts.asking import Forecasts
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
    serving: int | None = Field(
        None, description="Agents who may serve it; left out where it was decided alone."
    )
    serving_others: int | None = Field(None, description="Of these, who serve others too.")
    shared_with: int | None = Field(None, description="Campaigns it was decided together with.")


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


class AskedForecast(Model):
    """Only what is named is changed."""

    mode: Literal["progressive", "ratio", "predictive"] | None = None
    target_abandon: Annotated[float, Field(ge=0, le=1)] | None = None
    dial_ratio: Annotated[float, Field(ge=1, le=10)] | None = None
    ratio_cap: Annotated[float, Field(ge=1, le=10)] | None = None
    minutes: Annotated[float, Field(ge=5, le=60)] = 30.0


class Figure(BaseModel):
    """Mean over all runs, and where nine of ten lie. Null: it is not reached."""

    mean: float | None
    low: float | None
    high: float | None


class Future(BaseModel):
    occupancy: Figure = Field(description="Share of the agents' time in calls and wrap-up.")
    idle: Figure = Field(description="Seconds an agent waits for the next person.")
    wait: Figure = Field(description="Seconds a person waits for an agent.")
    answers: Figure = Field(description="People connected or abandoned.")
    abandoned: Figure
    abandon_rate: Figure
    calls: Figure
    given_up: Figure = Field(description="Calls that rang and were given up.")
    finish: Figure = Field(description="Seconds until the last lead is dialed, at this pace.")


class Forecast(BaseModel):
    """The same futures gone through under both settings: `difference` is changed less current."""

    minutes: float
    runs: int
    attempts: int = Field(description="Records that the campaign's parameters were taken from.")
    parameters: dict[str, float] = Field(description="What was assumed: shares, and seconds.")
    current: Future
    changed: Future
    difference: Future


@router.post("/{campaign_id}/forecast")
async def forecast(
    campaign_id: UUID, body: AskedForecast, who: ForCampaigns, request: Request
) -> Forecast:
    """What the next minutes bring under the present settings and under changed ones, simulated many
    times from the live state. Nothing is changed by it."""
    changes = body.model_dump(exclude={"minutes"}, exclude_none=True)
    if "mode" in changes:
        changes["mode"] = DialMode(changes["mode"])
    forecasts = cast(Forecasts, request.app.state.forecasts)
    found = await forecasts.forecast(
        who.client_id, campaign_id, changes=changes, minutes=body.minutes
    )
    return Forecast.model_validate(found)
