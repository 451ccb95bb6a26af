"""Webhooks of a client: where they go, what they tell, with which secret, and sending again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from dialer.domain.errors import Conflict, Invalid
from dialer.domain.ids import NewId
from dialer.domain.webhook import DeliveryState, Event, EventType, Health
from dialer.services.audit import Audit
from dialer.store import outbox
from dialer.store import webhooks as rows
from dialer.store.database import Database
from dialer.webhooks.guard import Guard, Refused
from dialer.webhooks.signature import new_secret
from telephony.clock import Clock

MOST = 20  # of one client: every one of them gets every event that it asked for
OVERLAP = timedelta(hours=24)  # for which an old secret still signs


class Webhooks:
    """Every change is in the audit log. `posted`: told when something waits in the outbox."""

    def __init__(
        self,
        database: Database,
        *,
        guard: Guard,
        clock: Clock,
        new_id: NewId,
        posted: Callable[[], None] = lambda: None,
    ) -> None:
        self._db, self._guard, self._clock, self._new_id = database, guard, clock, new_id
        self._audit = Audit(clock, new_id)
        self._posted = posted

    async def create(
        self,
        client_id: UUID,
        *,
        who: str,
        url: str,
        description: str,
        events: Sequence[EventType],
        enabled: bool,
    ) -> dict[str, Any]:
        """The new endpoint with its secret; raises Invalid for an address that is not called."""
        url = await self._callable(url)
        webhook_id, now = self._new_id(), self._clock.now()
        async with self._db.begin() as connection:
            if await rows.count(connection, client_id) >= MOST:
                raise Conflict(f"a client has at most {MOST} webhooks")
            await rows.add(
                connection,
                {
                    "id": webhook_id,
                    "client_id": client_id,
                    "url": url,
                    "description": description,
                    "events": _words(events),
                    "enabled": enabled,
                    "disabled_reason": "",
                    "secret": new_secret(),
                    "old_secret": "",
                    "failures": 0,
                    "created_at": now,
                },
            )
            await self._note(connection, client_id, who, "webhook.created", webhook_id)
            return await rows.webhook(connection, client_id, webhook_id)

    async def change(
        self,
        client_id: UUID,
        webhook_id: UUID,
        *,
        who: str,
        url: str | None,
        description: str | None,
        events: Sequence[EventType] | None,
        enabled: bool | None,
    ) -> dict[str, Any]:
        """Only what is given. An endpoint that is enabled, or moved, is believed to be well."""
        values: dict[str, Any] = {}
        if url is not None:
            values["url"] = await self._callable(url)
        if description is not None:
            values["description"] = description
        if events is not None:
            values["events"] = _words(events)
        if enabled is not None:
            values |= {"enabled": enabled, "disabled_reason": ""}
        if enabled or url is not None:
            well = Health()
            values |= {
                "failures": well.failures,
                "failing_since": well.failing_since,
                "rests_until": well.rests_until,
            }
        async with self._db.begin() as connection:
            await rows.webhook(connection, client_id, webhook_id)
            if values:
                await rows.change(connection, webhook_id, values)
                await self._note(connection, client_id, who, "webhook.changed", webhook_id)
            row = await rows.webhook(connection, client_id, webhook_id)
        self._posted()
        return row

    async def remove(self, client_id: UUID, webhook_id: UUID, *, who: str) -> None:
        async with self._db.begin() as connection:
            await rows.webhook(connection, client_id, webhook_id)
            await rows.remove(connection, webhook_id)
            await self._note(connection, client_id, who, "webhook.deleted", webhook_id)

    async def new_secret(self, client_id: UUID, webhook_id: UUID, *, who: str) -> dict[str, Any]:
        """A new secret; the old one signs too for a day, so that the receiver may change in peace.
        A second change within the day ends the first secret."""
        async with self._db.begin() as connection:
            row = await rows.webhook(connection, client_id, webhook_id)
            values = {
                "secret": new_secret(),
                "old_secret": row["secret"],
                "old_secret_until": self._clock.now() + OVERLAP,
            }
            await rows.change(connection, webhook_id, values)
            await self._note(connection, client_id, who, "webhook.new_secret", webhook_id)
            return await rows.webhook(connection, client_id, webhook_id)

    async def test(self, client_id: UUID, webhook_id: UUID, *, who: str) -> dict[str, Any]:
        """Put a test event into the outbox: it goes the way of all others."""
        async with self._db.begin() as connection:
            row = await self._enabled(connection, client_id, webhook_id)
            data = {"webhook_id": webhook_id, "description": row["description"]}
            event = Event(EventType.TEST, webhook_id, str(self._new_id()), self._clock.now(), data)
            listener = outbox.Listener(webhook_id, client_id, frozenset())
            await outbox.post(connection, [listener], [event])
            made = await rows.delivery_of(connection, webhook_id, event.id)
            await self._note(connection, client_id, who, "webhook.tested", webhook_id)
        self._posted()
        return made

    async def redeliver(
        self, client_id: UUID, webhook_id: UUID, delivery_id: UUID, *, who: str
    ) -> dict[str, Any]:
        """Send it again, whatever became of it, under the same event id."""
        async with self._db.begin() as connection:
            await self._enabled(connection, client_id, webhook_id)
            await rows.delivery(connection, webhook_id, delivery_id)
            now, this = self._clock.now(), rows.this(delivery_id)
            await rows.redeliver(connection, webhook_id, now=now, which=this)
            row = await rows.delivery(connection, webhook_id, delivery_id)
            await self._note(connection, client_id, who, "webhook.redelivered", webhook_id)
        self._posted()
        return row

    async def redeliver_failed(
        self, client_id: UUID, webhook_id: UUID, *, since: datetime, who: str
    ) -> int:
        """All that were given up, of events from then on; how many."""
        async with self._db.begin() as connection:
            await self._enabled(connection, client_id, webhook_id)
            number = await rows.redeliver(
                connection,
                webhook_id,
                now=self._clock.now(),
                which=rows.failed_since(since),
            )
            await self._note(connection, client_id, who, "webhook.redelivered", webhook_id)
        self._posted()
        return number

    async def webhook(self, client_id: UUID, webhook_id: UUID) -> dict[str, Any]:
        async with self._db.read() as connection:
            return await rows.webhook(connection, client_id, webhook_id)

    async def listed(
        self, client_id: UUID, *, after: Sequence[Any] | None, limit: int
    ) -> list[dict[str, Any]]:
        async with self._db.read() as connection:
            return await rows.listed(connection, client_id, after=after, limit=limit)

    async def deliveries(
        self,
        client_id: UUID,
        webhook_id: UUID,
        *,
        state: DeliveryState | None,
        after: Sequence[Any] | None,
        limit: int,
    ) -> list[dict[str, Any]]:
        async with self._db.begin() as connection:
            await rows.webhook(connection, client_id, webhook_id)
            return await rows.deliveries(
                connection,
                webhook_id,
                state=state.value if state else None,
                after=after,
                limit=limit,
            )

    async def delivery(
        self, client_id: UUID, webhook_id: UUID, delivery_id: UUID
    ) -> dict[str, Any]:
        async with self._db.begin() as connection:
            await rows.webhook(connection, client_id, webhook_id)
            return await rows.delivery(connection, webhook_id, delivery_id)

    async def _callable(self, url: str) -> str:
        """The URL in one way of writing it, checked as it will be at each delivery."""
        try:
            target, _ = await self._guard.check(url)
        except Refused as refused:
            raise Invalid(f"url: {refused.detail}", reason=refused.reason) from None
        return target.url

    async def _enabled(self, connection: Any, client_id: UUID, webhook_id: UUID) -> dict[str, Any]:
        row = await rows.webhook(connection, client_id, webhook_id)
        if not row["enabled"]:
            raise Conflict("the webhook is disabled: nothing is sent to it")
        return row

    async def _note(
        self, connection: Any, client_id: UUID, who: str, action: str, webhook_id: UUID
    ) -> None:
        await self._audit.note(connection, client_id, who, action, webhook_id=webhook_id)


def _words(events: Sequence[EventType]) -> list[str]:
    return sorted({event.value for event in events})
