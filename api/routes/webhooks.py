"""Webhooks: other systems are told what happens, signed, at least once (docs/webhooks.md)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Request
from pydantic import AfterValidator, AwareDatetime, BaseModel, Field

from api.deps import ForWebhooks, parts
from api.models import Model, Page, Text
from api.paging import Cursor, Limit, following, place
from dialer.domain.webhook import CHOICES, DeliveryState, EventType
from dialer.webhooks.guard import MOST_URL, Refused, take_apart

router = APIRouter(prefix="/api/v1/webhooks", tags=["webhooks"])


def _plain(url: str) -> str:
    try:
        take_apart(url)
    except Refused as refused:
        raise ValueError(refused.detail) from None
    return url


def _choice(events: tuple[EventType, ...]) -> tuple[EventType, ...]:
    if not set(events) <= set(CHOICES):
        raise ValueError("tests come when they are asked for")
    return events


Url = Annotated[
    str,
    Field(max_length=MOST_URL, description="https://..., at an address of the public network."),
    AfterValidator(_plain),
]
Events = Annotated[
    tuple[EventType, ...], Field(min_length=1, max_length=20), AfterValidator(_choice)
]


class NewWebhook(Model):
    """Where to send what."""

    url: Url
    description: Text = ""
    events: Events = CHOICES
    enabled: bool = True


class ChangedWebhook(Model):
    """Only what is named is changed."""

    url: Url | None = None
    description: Text | None = None
    events: Events | None = None
    enabled: bool | None = None


class Webhook(BaseModel):
    """An endpoint. `disabled_reason`: why the dialer disabled it. `failing_since`: nothing has
    arrived since then; `rests_until`: nothing is sent before."""

    id: UUID
    url: str
    description: str
    events: list[EventType]
    enabled: bool
    disabled_reason: str
    failing_since: datetime | None
    rests_until: datetime | None
    created_at: datetime


class WebhookWithSecret(Webhook):
    """The secret is shown once, here. `old_secret_until`: until then the one before signs too."""

    secret: str
    old_secret_until: datetime | None


class Delivery(BaseModel):
    """One event on its way to one endpoint. `last_error`: in a word, why the last try failed."""

    id: UUID
    event_id: UUID = Field(description="The header `webhook-id`: the same at every try.")
    type: EventType
    at: datetime
    state: DeliveryState
    tries: int
    next_at: datetime | None = Field(description="When it is tried (again).")
    tried_at: datetime | None
    delivered_at: datetime | None
    last_status: int | None
    last_error: str


class DeliveryInFull(Delivery):
    """With what was sent."""

    event: dict[str, Any]


class Again(Model):
    """Events from `since` on that were given up."""

    since: AwareDatetime


class SentAgain(BaseModel):
    deliveries: int


def _webhook(row: dict[str, Any]) -> Webhook:
    return Webhook(**{key: row[key] for key in Webhook.model_fields})


def _with_secret(row: dict[str, Any]) -> WebhookWithSecret:
    return WebhookWithSecret(**{key: row[key] for key in WebhookWithSecret.model_fields})


def _delivery(row: dict[str, Any]) -> dict[str, Any]:
    pending = row["state"] == DeliveryState.PENDING.value
    seen = {key: row[key] for key in Delivery.model_fields}
    return seen | {"next_at": row["next_at"] if pending else None}


@router.get("")
async def list_webhooks(
    who: ForWebhooks, request: Request, cursor: Cursor = None, limit: Limit = 100
) -> Page[Webhook]:
    """Oldest first."""
    rows = await parts(request).webhooks.listed(who.client_id, after=place(cursor), limit=limit)
    return Page(
        items=[_webhook(row) for row in rows], next=following(rows, limit, "created_at", "id")
    )


@router.post("", status_code=201)
async def create_webhook(body: NewWebhook, who: ForWebhooks, request: Request) -> WebhookWithSecret:
    """An endpoint that is told from now on. 422 for an address that is not called: only public
    ones are."""
    return _with_secret(
        await parts(request).webhooks.create(
            who.client_id,
            who=who.login,
            url=body.url,
            description=body.description,
            events=body.events,
            enabled=body.enabled,
        )
    )


@router.get("/{webhook_id}")
async def get_webhook(webhook_id: UUID, who: ForWebhooks, request: Request) -> Webhook:
    return _webhook(await parts(request).webhooks.webhook(who.client_id, webhook_id))


@router.patch("/{webhook_id}")
async def change_webhook(
    webhook_id: UUID, body: ChangedWebhook, who: ForWebhooks, request: Request
) -> Webhook:
    """Another address, other events, on or off. What waits is sent to the new address."""
    return _webhook(
        await parts(request).webhooks.change(
            who.client_id,
            webhook_id,
            who=who.login,
            url=body.url,
            description=body.description,
            events=body.events,
            enabled=body.enabled,
        )
    )


@router.delete("/{webhook_id}", status_code=204)
async def remove_webhook(webhook_id: UUID, who: ForWebhooks, request: Request) -> None:
    """With everything that waits for it."""
    await parts(request).webhooks.remove(who.client_id, webhook_id, who=who.login)


@router.post("/{webhook_id}/secret")
async def new_secret(webhook_id: UUID, who: ForWebhooks, request: Request) -> WebhookWithSecret:
    """A new secret, shown once, here. For a day events carry a signature with either."""
    return _with_secret(
        await parts(request).webhooks.new_secret(who.client_id, webhook_id, who=who.login)
    )


@router.post("/{webhook_id}/test", status_code=202)
async def test_webhook(webhook_id: UUID, who: ForWebhooks, request: Request) -> Delivery:
    """Send a test event; look at its delivery for what came of it. 409 for a disabled one."""
    row = await parts(request).webhooks.test(who.client_id, webhook_id, who=who.login)
    return Delivery(**_delivery(row))


@router.post("/{webhook_id}/redeliver", status_code=202)
async def redeliver_failed(
    webhook_id: UUID, body: Again, who: ForWebhooks, request: Request
) -> SentAgain:
    """Send again what was given up, after a receiver was down for longer than a day."""
    number = await parts(request).webhooks.redeliver_failed(
        who.client_id, webhook_id, since=body.since, who=who.login
    )
    return SentAgain(deliveries=number)


@router.get("/{webhook_id}/deliveries")
async def list_deliveries(
    webhook_id: UUID,
    who: ForWebhooks,
    request: Request,
    state: DeliveryState | None = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[Delivery]:
    """Newest events first; kept for 30 days."""
    rows = await parts(request).webhooks.deliveries(
        who.client_id, webhook_id, state=state, after=place(cursor), limit=limit
    )
    return Page(
        items=[Delivery(**_delivery(row)) for row in rows], next=following(rows, limit, "at", "id")
    )


@router.get("/{webhook_id}/deliveries/{delivery_id}")
async def get_delivery(
    webhook_id: UUID, delivery_id: UUID, who: ForWebhooks, request: Request
) -> DeliveryInFull:
    """One delivery, with the event as it is sent."""
    row = await parts(request).webhooks.delivery(who.client_id, webhook_id, delivery_id)
    return DeliveryInFull(**_delivery(row), event=orjson.loads(row["body"]))


@router.post("/{webhook_id}/deliveries/{delivery_id}/redeliver", status_code=202)
async def redeliver(
    webhook_id: UUID, delivery_id: UUID, who: ForWebhooks, request: Request
) -> Delivery:
    """Send it once more, whatever became of it, under the same event id."""
    row = await parts(request).webhooks.redeliver(
        who.client_id, webhook_id, delivery_id, who=who.login
    )
    return Delivery(**_delivery(row))
