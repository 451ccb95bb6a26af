"""Putting people into a campaign's list: customer, number and lead in bulk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.domain.ids import NewId
from dialer.domain.lead import LeadState
from dialer.store import schema as t

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class NewLead:
    """One validated row of an upload."""

    e164: str
    region: str
    kind: str
    name: str
    external_key: str
    zone: str
    consent: bool
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Inserted:
    """Rows by index: made, and those whose number or person was in the campaign already."""

    list_id: UUID
    lead_ids: Sequence[UUID]
    duplicates: Sequence[int]


async def insert_leads(
    connection: AsyncConnection,
    rows: Sequence[NewLead],
    *,
    client_id: UUID,
    campaign_id: UUID,
    list_name: str,
    now: datetime,
    new_id: NewId,
) -> Inserted:
    """Insert what is new. A customer known by external key, or by number, is used again."""
    list_id = new_id()
    await connection.execute(
        sa.insert(t.lead_list).values(
            id=list_id, client_id=client_id, campaign_id=campaign_id, name=list_name, created_at=now
        )
    )
    position = (
        await connection.execute(
            sa.select(sa.func.coalesce(sa.func.max(t.lead.c.position), 0)).where(
                t.lead.c.campaign_id == campaign_id
            )
        )
    ).scalar_one()
    known_keys, known_numbers = await _known(connection, rows, client_id)
    taken_numbers, taken_people = await _taken(connection, rows, campaign_id)
    customers: list[dict[str, Any]] = []
    numbers: list[dict[str, Any]] = []
    leads: list[dict[str, Any]] = []
    duplicates: list[int] = []
    for index, row in enumerate(rows):
        customer_id = known_keys.get(row.external_key) if row.external_key else None
        if customer_id is None and not row.external_key:
            customer_id = next(iter(known_numbers.get(row.e164, {})), None)
        if row.e164 in taken_numbers or (customer_id is not None and customer_id in taken_people):
            duplicates.append(index)
            continue
        if customer_id is None:
            customer_id = new_id()
            customers.append(
                {
                    "id": customer_id,
                    "client_id": client_id,
                    "external_key": row.external_key,
                    "name": row.name,
                    "zone": row.zone,
                    "consent": row.consent,
                    "attributes": dict(row.attributes),
                    "created_at": now,
                }
            )
            if row.external_key:
                known_keys[row.external_key] = customer_id
        number_id = known_numbers.get(row.e164, {}).get(customer_id)
        if number_id is None:
            number_id = new_id()
            numbers.append(
                {
                    "id": number_id,
                    "client_id": client_id,
                    "customer_id": customer_id,
                    "e164": row.e164,
                    "region": row.region,
                    "kind": row.kind,
                }
            )
            known_numbers.setdefault(row.e164, {})[customer_id] = number_id
        taken_numbers.add(row.e164)
        taken_people.add(customer_id)
        position += 1
        leads.append(
            {
                "id": new_id(),
                "client_id": client_id,
                "campaign_id": campaign_id,
                "list_id": list_id,
                "customer_id": customer_id,
                "number_id": number_id,
                "number": row.e164,
                "state": LeadState.NEW.value,
                "next_at": None,
                "position": position,
                "reason": "",
                "callback_agent": None,
            }
        )
    for table, values in ((t.customer, customers), (t.phone_number, numbers), (t.lead, leads)):
        for start in range(0, len(values), _CHUNK):
            await connection.execute(sa.insert(table), values[start : start + _CHUNK])
    return Inserted(list_id, [lead["id"] for lead in leads], duplicates)


async def _known(
    connection: AsyncConnection, rows: Sequence[NewLead], client_id: UUID
) -> tuple[dict[str, UUID], dict[str, dict[UUID, UUID]]]:
    keys: dict[str, UUID] = {}
    numbers: dict[str, dict[UUID, UUID]] = {}
    c, n = t.customer.c, t.phone_number.c
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        wanted = [r.external_key for r in part if r.external_key]
        if wanted:
            query = sa.select(c.external_key, c.id).where(
                c.client_id == client_id, c.external_key.in_(wanted)
            )
            keys.update(dict((await connection.execute(query)).all()))
        found = sa.select(n.e164, n.customer_id, n.id).where(
            n.client_id == client_id, n.e164.in_([r.e164 for r in part])
        )
        for e164, customer_id, number_id in await connection.execute(found):
            numbers.setdefault(e164, {})[customer_id] = number_id
    return keys, numbers


async def _taken(
    connection: AsyncConnection, rows: Sequence[NewLead], campaign_id: UUID
) -> tuple[set[str], set[UUID]]:
    if not rows:
        return set(), set()
    query = sa.select(t.lead.c.number, t.lead.c.customer_id).where(
        t.lead.c.campaign_id == campaign_id
    )
    numbers: set[str] = set()
    people: set[UUID] = set()
    for number, customer_id in await connection.execute(query):
        numbers.add(number)
        people.add(customer_id)
    return numbers, people
