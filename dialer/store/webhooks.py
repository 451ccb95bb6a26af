"""Endpoints of a client, what was sent to them, and the queue that deliveries are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.domain.errors import NotFound
from dialer.domain.webhook import DeliveryState, Health
from dialer.store import schema as t
from dialer.store.pages import page

_W, _D = t.webhook.c, t.webhook_delivery.c
_PENDING = DeliveryState.PENDING.value


# -- endpoints


async def add(connection: AsyncConnection, values: Mapping[str, Any]) -> None:
    await connection.execute(sa.insert(t.webhook).values(dict(values)))


async def count(connection: AsyncConnection, client_id: UUID) -> int:
    query = sa.select(sa.func.count()).select_from(t.webhook).where(_W.client_id == client_id)
    return int(await connection.scalar(query) or 0)


async def listed(
    connection: AsyncConnection, client_id: UUID, *, after: Sequence[Any] | None, limit: int
) -> list[dict[str, Any]]:
    """Oldest first."""
    query = sa.select(t.webhook).where(_W.client_id == client_id)
    query = page(query, [_W.created_at, _W.id], after=after, limit=limit)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def webhook(connection: AsyncConnection, client_id: UUID, webhook_id: UUID) -> dict[str, Any]:
    query = sa.select(t.webhook).where(_W.id == webhook_id, _W.client_id == client_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound("no such webhook")
    return dict(row)


async def change(connection: AsyncConnection, webhook_id: UUID, values: Mapping[str, Any]) -> None:
    await connection.execute(sa.update(t.webhook).where(_W.id == webhook_id).values(dict(values)))


async def remove(connection: AsyncConnection, webhook_id: UUID) -> None:
    """With all that was to be sent to it."""
    await connection.execute(sa.delete(t.webhook).where(_W.id == webhook_id))
    await connection.execute(sa.delete(t.webhook_delivery).where(_D.webhook_id == webhook_id))


# -- deliveries, for those who look


async def deliveries(
    connection: AsyncConnection,
    webhook_id: UUID,
    *,
    state: str | None,
    after: Sequence[Any] | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Newest first."""
    query = sa.select(t.webhook_delivery).where(_D.webhook_id == webhook_id)
    if state is not None:
        query = query.where(_D.state == state)
    query = page(query, [_D.at, _D.id], after=after, limit=limit, newest_first=True)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def delivery(
    connection: AsyncConnection, webhook_id: UUID, delivery_id: UUID
) -> dict[str, Any]:
    query = sa.select(t.webhook_delivery).where(_D.id == delivery_id, _D.webhook_id == webhook_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound("no such delivery")
    return dict(row)


async def delivery_of(
    connection: AsyncConnection, webhook_id: UUID, event_id: UUID
) -> dict[str, Any]:
    """That of an event which was just posted."""
    query = sa.select(t.webhook_delivery).where(
        _D.event_id == event_id, _D.webhook_id == webhook_id
    )
    return dict((await connection.execute(query)).mappings().one())


async def redeliver(
    connection: AsyncConnection,
    webhook_id: UUID,
    *,
    now: datetime,
    which: sa.ColumnElement[bool],
) -> int:
    """Send again, from now on and for a day; whoever is sending it at the moment ends in vain."""
    done = await connection.execute(
        sa.update(t.webhook_delivery)
        .where(_D.webhook_id == webhook_id, which)
        .values(state=_PENDING, tries=0, since=now, next_at=now, claim=None)
    )
    return done.rowcount


def this(delivery_id: UUID) -> sa.ColumnElement[bool]:
    return _D.id == delivery_id


def failed_since(at: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(_D.state == DeliveryState.FAILED.value, _D.at >= at)


# -- the queue


async def due(connection: AsyncConnection, now: datetime) -> list[dict[str, Any]]:
    """Endpoints that may be called now and have something to hear, the healthy ones first."""
    waiting = sa.exists().where(_D.webhook_id == _W.id, _D.state == _PENDING, _D.next_at <= now)
    query = (
        sa.select(t.webhook)
        .where(
            _W.enabled.is_(True),
            sa.or_(_W.rests_until.is_(None), _W.rests_until <= now),
            waiting,
        )
        .order_by(_W.failures, _W.id)
    )
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def claim(
    connection: AsyncConnection,
    webhook_id: UUID,
    *,
    claim_id: UUID,
    limit: int,
    now: datetime,
    until: datetime,
    lock: bool,
) -> list[dict[str, Any]]:
    """Take what is due for one endpoint, until then; later it is anybody's. Of one subject only
    the first that waits: the next one may go when that has arrived or was given up."""
    earlier = t.webhook_delivery.alias("earlier")
    query = (
        sa.select(t.webhook_delivery)
        .where(
            _D.webhook_id == webhook_id,
            _D.state == _PENDING,
            _D.next_at <= now,
            ~sa.exists().where(
                earlier.c.webhook_id == webhook_id,
                earlier.c.subject == _D.subject,
                earlier.c.state == _PENDING,
                earlier.c.position < _D.position,
            ),
        )
        .order_by(_D.position)
        .limit(limit)
    )
    if lock:
        query = query.with_for_update(skip_locked=True, of=t.webhook_delivery)
    rows = [dict(row) for row in (await connection.execute(query)).mappings()]
    if rows:
        await connection.execute(
            sa.update(t.webhook_delivery)
            .where(_D.position.in_([row["position"] for row in rows]))
            .values(claim=claim_id, next_at=until)
        )
    return rows


async def settle(
    connection: AsyncConnection, position: int, *, claim_id: UUID, values: Mapping[str, Any]
) -> None:
    """How a try ended; nothing when somebody else has it by now."""
    await connection.execute(
        sa.update(t.webhook_delivery)
        .where(_D.position == position, _D.claim == claim_id)
        .values({**values, "claim": None})
    )


async def let_go(connection: AsyncConnection, claim_id: UUID, now: datetime) -> None:
    """Give back whatever is still held under this claim: it is due at once, for anybody."""
    await connection.execute(
        sa.update(t.webhook_delivery)
        .where(_D.claim == claim_id, _D.state == _PENDING)
        .values(claim=None, next_at=now)
    )


async def hold(
    connection: AsyncConnection, webhook_id: UUID, *, lock: bool
) -> dict[str, Any] | None:
    """An endpoint for a change of its health; None: it is gone."""
    query = sa.select(t.webhook).where(_W.id == webhook_id)
    if lock:
        query = query.with_for_update(key_share=True)
    row = (await connection.execute(query)).mappings().one_or_none()
    return dict(row) if row is not None else None


def health(row: Mapping[str, Any]) -> Health:
    return Health(row["failures"], row["failing_since"], row["rests_until"])


def _over(before: datetime) -> sa.ColumnElement[bool]:
    """Over since long; and what waited for an endpoint that was disabled or removed, later."""
    done = sa.and_(_D.at < before, _D.state != _PENDING)
    return sa.or_(done, _D.at < before - _WAITS)


_WAITS = timedelta(days=30)
_PRUNED = 1000  # in one transaction: the database belongs to the calls


async def any_before(connection: AsyncConnection, *, before: datetime) -> bool:
    """Whether there is anything to prune."""
    return bool(await connection.scalar(sa.select(sa.exists().where(_over(before)))))


async def prune(connection: AsyncConnection, *, before: datetime) -> None:
    """Forget some of what is over."""
    some = sa.select(_D.position).where(_over(before)).limit(_PRUNED)
    await connection.execute(
        sa.delete(t.webhook_delivery).where(_D.position.in_(some.scalar_subquery()))
    )


async def backlog(connection: AsyncConnection) -> tuple[int, datetime | None, int]:
    """(deliveries that wait for enabled endpoints, since when the oldest does, endpoints that
    were disabled because nothing arrived)."""
    enabled = sa.select(_W.id).where(_W.enabled.is_(True)).scalar_subquery()
    waiting = sa.select(sa.func.count(), sa.func.min(_D.since)).where(
        _D.state == _PENDING, _D.webhook_id.in_(enabled)
    )
    disabled = sa.select(sa.func.count()).where(_W.enabled.is_(False), _W.disabled_reason != "")
    number, since = (await connection.execute(waiting)).one()
    return int(number), since, int(await connection.scalar(disabled) or 0)
