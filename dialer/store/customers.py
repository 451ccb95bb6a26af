"""The customer base of one client: read, amended, erased; and agreed callbacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.domain.errors import Conflict, NotFound
from dialer.domain.lead import LEAD, LeadEvent, LeadState
from dialer.store import schema as t
from dialer.store.pages import page

_C, _N, _L = t.customer.c, t.phone_number.c, t.lead.c
_BUSY = [LeadState.HOPPER.value, LeadState.DIALING.value]
_MAY_CALL_BACK = [
    s.value for s in LeadState if LEAD.allows(s, LeadEvent.CALL_BACK) and s.value not in _BUSY
]
ERASED = "erased"


async def customers(
    connection: AsyncConnection,
    client_id: UUID,
    *,
    number: str | None,
    external_key: str | None,
    after: Sequence[Any] | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Newest first, each with its numbers."""
    query = sa.select(t.customer).where(_C.client_id == client_id)
    if external_key is not None:
        query = query.where(_C.external_key == external_key)
    if number is not None:
        query = query.where(
            _C.id.in_(sa.select(_N.customer_id).where(_N.client_id == client_id, _N.e164 == number))
        )
    query = page(query, [_C.created_at, _C.id], after=after, limit=limit, newest_first=True)
    rows = [dict(row) for row in (await connection.execute(query)).mappings()]
    return await _with_numbers(connection, client_id, rows)


async def _with_numbers(
    connection: AsyncConnection, client_id: UUID, rows: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    found: dict[UUID, list[str]] = {row["id"]: [] for row in rows}
    if found:
        query = sa.select(_N.customer_id, _N.e164).where(
            _N.client_id == client_id, _N.customer_id.in_(list(found))
        )
        for customer_id, e164 in await connection.execute(query.order_by(_N.id)):
            found[customer_id].append(e164)
    return [{**row, "numbers": found[row["id"]]} for row in rows]


async def customer(
    connection: AsyncConnection, client_id: UUID, customer_id: UUID
) -> dict[str, Any]:
    query = sa.select(t.customer).where(_C.id == customer_id, _C.client_id == client_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound("no such customer")
    return (await _with_numbers(connection, client_id, [dict(row)]))[0]


async def amend(
    connection: AsyncConnection, client_id: UUID, customer_id: UUID, values: Mapping[str, Any]
) -> None:
    if values:
        await connection.execute(
            sa.update(t.customer)
            .where(_C.id == customer_id, _C.client_id == client_id)
            .values(dict(values))
        )


async def erase(
    connection: AsyncConnection, client_id: UUID, customer_id: UUID
) -> list[dict[str, Any]]:
    """Forget a person: name, attributes, numbers, notes. What is counted stays without them, and
    so do do-not-call entries. Returns the recordings to delete; raises Conflict while the person
    is being called."""
    await customer(connection, client_id, customer_id)
    mine = sa.and_(_L.customer_id == customer_id, _L.client_id == client_id)
    busy = sa.select(sa.func.count()).select_from(t.lead).where(mine, _L.state.in_(_BUSY))
    if (await connection.execute(busy)).scalar_one():
        raise Conflict("this person is about to be called; try again when the call is over")
    attempts = sa.select(t.attempt.c.id).where(
        t.attempt.c.client_id == client_id, t.attempt.c.customer_id == customer_id
    )
    await connection.execute(
        sa.update(t.lead)
        .where(mine)
        .values(number=ERASED, state=LeadState.BLOCKED.value, reason=ERASED, next_at=None)
    )
    await connection.execute(
        sa.update(t.disposition)
        .where(t.disposition.c.attempt_id.in_(attempts))
        .values(note="", form={})
    )
    stored = [
        dict(row)
        for row in (
            await connection.execute(
                sa.select(t.recording).where(t.recording.c.attempt_id.in_(attempts))
            )
        ).mappings()
    ]
    await connection.execute(
        sa.update(t.do_not_call)
        .where(t.do_not_call.c.client_id == client_id, t.do_not_call.c.customer_id == customer_id)
        .values(customer_id=None)
    )
    await connection.execute(
        sa.update(t.attempt)
        .where(t.attempt.c.client_id == client_id, t.attempt.c.customer_id == customer_id)
        .values(number=ERASED)
    )
    ids = (
        await connection.execute(
            sa.select(_N.id).where(_N.client_id == client_id, _N.customer_id == customer_id)
        )
    ).scalars()
    for index, number_id in enumerate(ids.all()):
        await connection.execute(
            sa.update(t.phone_number)
            .where(_N.id == number_id)
            .values(e164=f"{ERASED}-{index}", region="", kind="")
        )
    await amend(
        connection,
        client_id,
        customer_id,
        {"name": "", "external_key": "", "zone": "", "consent": False, "attributes": {}},
    )
    return stored


async def callbacks(
    connection: AsyncConnection,
    client_id: UUID,
    *,
    campaign_id: UUID | None,
    after: Sequence[Any] | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Agreed callbacks, the next one first."""
    query = (
        sa.select(t.lead, _C.name)
        .join(t.customer, _C.id == _L.customer_id)
        .where(_L.client_id == client_id, _L.state == LeadState.CALLBACK.value)
    )
    if campaign_id is not None:
        query = query.where(_L.campaign_id == campaign_id)
    query = page(query, [_L.next_at, _L.id], after=after, limit=limit)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def lead(connection: AsyncConnection, client_id: UUID, lead_id: UUID) -> dict[str, Any]:
    query = (
        sa.select(t.lead, _C.name)
        .join(t.customer, _C.id == _L.customer_id)
        .where(_L.id == lead_id, _L.client_id == client_id)
    )
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound("no such lead")
    return dict(row)


async def leads(
    connection: AsyncConnection,
    client_id: UUID,
    campaign_id: UUID,
    *,
    state: str | None,
    after: Sequence[Any] | None,
    limit: int,
) -> list[dict[str, Any]]:
    """A campaign's leads in list order."""
    query = (
        sa.select(t.lead, _C.name)
        .join(t.customer, _C.id == _L.customer_id)
        .where(_L.client_id == client_id, _L.campaign_id == campaign_id)
    )
    if state is not None:
        query = query.where(_L.state == state)
    query = page(query, [_L.position, _L.id], after=after, limit=limit)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def call_back(
    connection: AsyncConnection,
    client_id: UUID,
    lead_id: UUID,
    *,
    at: datetime,
    agent_id: UUID | None,
) -> None:
    """Agree a time; raises Conflict when the lead's state does not allow it."""
    row = await lead(connection, client_id, lead_id)
    done = await connection.execute(
        sa.update(t.lead)
        .where(_L.id == lead_id, _L.client_id == client_id, _L.state.in_(_MAY_CALL_BACK))
        .values(state=LeadState.CALLBACK.value, next_at=at, callback_agent=agent_id, reason="")
    )
    if not done.rowcount:
        raise Conflict(
            f"lead: expected one of {', '.join(_MAY_CALL_BACK)}, got {row['state']}",
            state=row["state"],
        )


async def cancel_callback(connection: AsyncConnection, client_id: UUID, lead_id: UUID) -> None:
    """No callback: the lead is done. Raises Conflict when there is none."""
    row = await lead(connection, client_id, lead_id)
    done = await connection.execute(
        sa.update(t.lead)
        .where(_L.id == lead_id, _L.client_id == client_id, _L.state == LeadState.CALLBACK.value)
        .values(
            state=LEAD.next(LeadState.CALLBACK, LeadEvent.FINISH).value,
            next_at=None,
            callback_agent=None,
            reason="callback cancelled",
        )
    )
    if not done.rowcount:
        raise Conflict(f"lead: expected callback, got {row['state']}", state=row["state"])
