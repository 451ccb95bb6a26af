"""What webhooks tell, for the interface's description: one operation for each type of event.

The bodies are written by `dialer/store/outbox.py`; a test holds the two together.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from fastapi import FastAPI, Response
from pydantic import BaseModel, ConfigDict, Field


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ConcludedCall(_Told):
    """An attempt with its outcome; the fields are those of `GET /calls/{id}`, where number, note
    and form are too."""

    id: UUID
    campaign_id: UUID
    lead_id: UUID
    customer_id: UUID
    agent_id: UUID | None
    mode: str
    trunk: str
    outcome: str
    intended_at: datetime
    answered_at: datetime | None
    connected_at: datetime | None
    ended_at: datetime | None
    ended_by: str | None


class SetDisposition(_Told):
    """What the agent said of a call."""

    call_id: UUID
    campaign_id: UUID
    lead_id: UUID
    customer_id: UUID
    agent_id: UUID
    code: str
    at: datetime
    wrap_up_seconds: float


class MadeCallback(_Told):
    """The lead is called again at a time; `agent_id`: by this agent only."""

    lead_id: UUID
    campaign_id: UUID
    customer_id: UUID
    due_at: datetime
    agent_id: UUID | None


class ChangedState(_Told):
    campaign_id: UUID
    name: str
    before: str
    state: str
    reason: str


class StoredRecording(_Told):
    """`GET /calls/{id}/recording` gives its address."""

    call_id: UUID
    campaign_id: UUID
    lead_id: UUID
    customer_id: UUID
    size: int
    sha256: str


class Test(_Told):
    webhook_id: UUID
    description: str


class _Event(_Told):
    timestamp: datetime = Field(description="When it happened.")


class CallConcluded(_Event):
    type: Literal["call.concluded"]
    data: ConcludedCall


class DispositionSet(_Event):
    type: Literal["disposition.set"]
    data: SetDisposition


class CallbackMade(_Event):
    type: Literal["callback.made"]
    data: MadeCallback


class CampaignStateChanged(_Event):
    type: Literal["campaign.state_changed"]
    data: ChangedState


class RecordingStored(_Event):
    type: Literal["recording.stored"]
    data: StoredRecording


class WebhookTest(_Event):
    type: Literal["webhook.test"]
    data: Test


_WHAT: dict[str, tuple[type[BaseModel], str]] = {
    "call.concluded": (CallConcluded, "An attempt has its outcome."),
    "disposition.set": (DispositionSet, "An agent said what came of a call."),
    "callback.made": (CallbackMade, "A callback was agreed."),
    "campaign.state_changed": (CampaignStateChanged, "A campaign was started, paused, ended..."),
    "recording.stored": (RecordingStored, "A recording can be fetched."),
    "webhook.test": (WebhookTest, "Somebody asked for a test."),
}
#: By type: the body that is sent.
BODIES = {name: model for name, (model, _) in _WHAT.items()}


def describe(app: FastAPI) -> None:
    """Put them into the description, as OpenAPI's `webhooks`."""
    for name, (model, what) in _WHAT.items():
        app.webhooks.post(
            name,
            summary=what,
            tags=["webhooks"],
            operation_id=f"webhook_{name.replace('.', '_')}",
            responses={
                "2XX": {"description": "Taken: it is not sent again."},
                410: {"description": "Nobody wants these any more: the webhook is disabled."},
            },
            response_class=Response,
        )(_receiver(model))


def _receiver(model: type[BaseModel]) -> Any:
    def receive(body: Any) -> None: ...

    receive.__annotations__ = {"body": model, "return": None}
    return receive
