"""What other systems are to be told, written in the transaction of what it tells: a crash loses no
event and invents none.

Costs an engine without webhooks one look at a small table for a batch that tells anything. Whether
something has *just* happened is judged inside the transaction, before and after the writes, so a
batch that is repeated after a lost answer tells nothing twice; ids are made from what happened, so
that even two who tell the same thing tell it under one id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.domain.lead import LeadState
from dialer.domain.webhook import DeliveryState, Event, EventType
from dialer.domain.work import AttemptUpdate, CampaignMove, DispositionWrite, LeadMove, Write
from dialer.store import schema as t

_A, _W = t.attempt.c, t.webhook.c
_AROUND = timedelta(minutes=5)  # between an id's own time and the time kept beside it
_ENABLED = sa.select(_W.id, _W.client_id, _W.events).where(_W.enabled.is_(True))
_LISTENERS = _ENABLED.where(_W.client_id == sa.bindparam("client", type_=sa.Uuid))
#: Asked with every batch that an engine writes: made once.
_POOLS_LISTENERS = _ENABLED.where(
    _W.client_id
    == sa.select(t.pool.c.client_id)
    .where(t.pool.c.id == sa.bindparam("pool", type_=sa.Uuid))
    .scalar_subquery()
)


@dataclass(frozen=True, slots=True)
class Listener:
    """An enabled endpoint and what it wants to hear."""

    id: UUID
    client_id: UUID
    events: frozenset[str]


async def listeners(connection: AsyncConnection, client_id: UUID) -> list[Listener]:
    """Those of one client."""
    return await _found(connection, _LISTENERS, {"client": client_id})


async def _found(
    connection: AsyncConnection, query: sa.Select[Any], given: Mapping[str, Any]
) -> list[Listener]:
    return [
        Listener(row.id, row.client_id, frozenset(row.events))
        for row in (await connection.execute(query, given)).all()
    ]


async def post(
    connection: AsyncConnection,
    to: Sequence[Listener],
    events: Iterable[Event],
) -> None:
    """Into the outbox of each endpoint that asked for it; what is there already stays."""
    rows = [
        {
            "id": uuid4(),
            "webhook_id": listener.id,
            "client_id": listener.client_id,
            "event_id": event.id,
            "type": event.type.value,
            "subject": event.subject,
            "at": event.at,
            "body": body_of(event),
            "state": DeliveryState.PENDING.value,
            "tries": 0,
            "since": event.at,
            "next_at": event.at,
            "last_error": "",
        }
        for event in events
        for listener in to
        if event.type.value in listener.events or event.type is EventType.TEST
    ]
    if not rows:
        return
    insert = (
        postgresql.insert(t.webhook_delivery)
        if connection.dialect.name == "postgresql"
        else sqlite.insert(t.webhook_delivery)
    )
    await connection.execute(insert.on_conflict_do_nothing(), rows)


def body_of(event: Event) -> str:
    """What is signed and sent, byte for byte, at every try."""
    body = {"type": event.type.value, "timestamp": event.at, "data": dict(event.data)}
    return orjson.dumps(body, default=_plain, option=orjson.OPT_UTC_Z).decode()


def _plain(value: object) -> str:
    """PostgreSQL's driver has a kind of UUID of its own."""
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"expected ids, times, numbers and texts, got {type(value).__name__}")


# -- what an engine's batch tells


@dataclass(frozen=True, slots=True)
class Before:
    """How things were before a batch was applied, for those who listen."""

    to: tuple[Listener, ...]
    batch: tuple[Write, ...]
    open: frozenset[UUID]  # attempts without outcome
    disposed: frozenset[tuple[UUID, UUID]]
    campaigns: Mapping[UUID, str]


async def before(
    connection: AsyncConnection, pool_id: UUID, batch: Sequence[Write]
) -> Before | None:
    """To be asked before the batch is applied; None: nobody wants to hear of it."""
    telling = tuple(write for write in batch if _tells(write))
    if not telling:
        return None
    to = tuple(await _found(connection, _POOLS_LISTENERS, {"pool": pool_id}))
    if not to:
        return None
    d, c = t.disposition.c, t.campaign.c
    still_open: set[UUID] = set()
    disposed: set[tuple[UUID, UUID]] = set()
    campaigns: dict[UUID, str] = {}
    if ended := [w for w in telling if isinstance(w, AttemptUpdate)]:
        query = sa.select(_A.id).where(*_these((w.id, w.intended_at) for w in ended))
        still_open = set((await connection.execute(query.where(_A.outcome.is_(None)))).scalars())
    if said := [w for w in telling if isinstance(w, DispositionWrite)]:
        there = sa.select(d.attempt_id, d.agent_id).where(
            d.attempt_id.in_([w.attempt_id for w in said])
        )
        disposed = {(row[0], row[1]) for row in (await connection.execute(there)).all()}
    if moved := [w.campaign_id for w in telling if isinstance(w, CampaignMove)]:
        states = sa.select(c.id, c.state).where(c.id.in_(moved))
        campaigns = {row[0]: row[1] for row in (await connection.execute(states)).all()}
    return Before(to, telling, frozenset(still_open), frozenset(disposed), campaigns)


def _tells(write: Write) -> bool:
    match write:
        case AttemptUpdate():
            return write.outcome is not None
        case LeadMove():
            # A callback that goes back undialed was made long ago: those moves name where from.
            return write.state is LeadState.CALLBACK and write.only_from is None
        case DispositionWrite() | CampaignMove():
            return True
    return False


def _these(attempts: Iterable[tuple[UUID, datetime]]) -> list[sa.ColumnElement[bool]]:
    """Attempts by id and time: the time tells the partitions to look in."""
    pairs = list(attempts)
    times = [at for _, at in pairs]
    return [_A.id.in_([i for i, _ in pairs]), _A.intended_at.between(min(times), max(times))]


async def after(connection: AsyncConnection, was: Before, *, now: datetime) -> None:
    """To be called when the batch has been applied, in the same transaction."""
    calls = await _calls(connection, was)
    leads = await _leads(connection, was)
    events: list[Event] = []
    for write in was.batch:
        match write:
            case AttemptUpdate() if write.id in was.open and write.id in calls:
                events.append(concluded(calls[write.id]))
            case DispositionWrite() if (write.attempt_id, write.agent_id) not in was.disposed:
                if write.attempt_id in calls:
                    events.append(_disposed(write, calls[write.attempt_id]))
            case LeadMove() if write.lead_id in leads and write.next_at is not None:
                row = leads[write.lead_id]
                agent_id = write.callback_agent
                events.append(callback_made(row, at=now, due=write.next_at, agent_id=agent_id))
    events += await _moved(connection, was, now)
    await post(connection, was.to, events)


async def _calls(connection: AsyncConnection, was: Before) -> dict[UUID, Mapping[str, Any]]:
    """The attempts of the batch as they are now, with the agent who spoke."""
    wanted = [
        (w.id, w.intended_at) if isinstance(w, AttemptUpdate) else (w.attempt_id, w.intended_at)
        for w in was.batch
        if isinstance(w, AttemptUpdate | DispositionWrite)
    ]
    if not wanted:
        return {}
    spoke = t.conversation.c
    query = (
        sa.select(t.attempt, spoke.agent_id.label("spoke_with"), spoke.ended_by)
        .outerjoin(t.conversation, spoke.attempt_id == _A.id)
        .where(*_these(wanted))
    )
    return {row["id"]: dict(row) for row in (await connection.execute(query)).mappings()}


async def _leads(connection: AsyncConnection, was: Before) -> dict[UUID, Mapping[str, Any]]:
    ids = [w.lead_id for w in was.batch if isinstance(w, LeadMove)]
    if not ids:
        return {}
    query = sa.select(t.lead).where(t.lead.c.id.in_(ids))
    return {row["id"]: dict(row) for row in (await connection.execute(query)).mappings()}


async def _moved(connection: AsyncConnection, was: Before, now: datetime) -> list[Event]:
    if not was.campaigns:
        return []
    query = sa.select(t.campaign).where(t.campaign.c.id.in_(list(was.campaigns)))
    return [
        state_changed(dict(row), before=was.campaigns[row["id"]], at=now)
        for row in (await connection.execute(query)).mappings()
        if row["state"] != was.campaigns[row["id"]]
    ]


# -- the events; every field is described in api/webhook_events.py


def concluded(row: Mapping[str, Any]) -> Event:
    """`row`: the attempt, with `spoke_with` and `ended_by` of its conversation."""
    names = (
        "id", "campaign_id", "lead_id", "customer_id", "mode", "trunk", "outcome", "intended_at",
        "answered_at", "connected_at", "ended_at", "ended_by",
    )  # fmt: skip
    data = {name: row[name] for name in names} | {"agent_id": row["spoke_with"] or row["agent_id"]}
    at = row["ended_at"] or row["intended_at"]
    return Event(EventType.CALL_CONCLUDED, row["lead_id"], str(row["id"]), at, data)


def _disposed(write: DispositionWrite, row: Mapping[str, Any]) -> Event:
    data = {
        "call_id": write.attempt_id,
        "campaign_id": row["campaign_id"],
        "lead_id": row["lead_id"],
        "customer_id": row["customer_id"],
        "agent_id": write.agent_id,
        "code": write.code,
        "at": write.at,
        "wrap_up_seconds": write.wrap_up_seconds,
    }
    key = f"{write.attempt_id}:{write.agent_id}"
    return Event(EventType.DISPOSITION_SET, row["lead_id"], key, write.at, data)


def callback_made(
    row: Mapping[str, Any], *, at: datetime, due: datetime, agent_id: UUID | None
) -> Event:
    """`row`: the lead."""
    data = {
        "lead_id": row["id"],
        "campaign_id": row["campaign_id"],
        "customer_id": row["customer_id"],
        "due_at": due,
        "agent_id": agent_id,
    }
    key = f"{row['id']}:{due.astimezone(UTC).isoformat()}:{agent_id or ''}"
    return Event(EventType.CALLBACK_MADE, row["id"], key, at, data)


def state_changed(row: Mapping[str, Any], *, before: str, at: datetime) -> Event:
    """`row`: the campaign as it is now."""
    data = {
        "campaign_id": row["id"],
        "name": row["name"],
        "before": before,
        "state": row["state"],
        "reason": row["reason"],
    }
    key = f"{row['id']}:{uuid4()}"  # it may be paused any number of times
    return Event(EventType.CAMPAIGN_STATE_CHANGED, row["id"], key, at, data)


async def recording_stored(
    connection: AsyncConnection, row: Mapping[str, Any], *, now: datetime
) -> None:
    """`row`: the recording, which was just marked as stored in this transaction."""
    to = await listeners(connection, row["client_id"])
    if not any(EventType.RECORDING_STORED.value in listener.events for listener in to):
        return
    made = datetime.fromtimestamp((row["attempt_id"].int >> 80) / 1000, UTC)
    query = sa.select(_A.lead_id, _A.customer_id).where(
        _A.id == row["attempt_id"], _A.intended_at.between(made - _AROUND, made + _AROUND)
    )
    call = (await connection.execute(query)).one_or_none()
    if call is None:
        return
    data = {
        "call_id": row["attempt_id"],
        "campaign_id": row["campaign_id"],
        "lead_id": call.lead_id,
        "customer_id": call.customer_id,
        "size": row["size"],
        "sha256": row["sha256"],
    }
    event = Event(EventType.RECORDING_STORED, call.lead_id, str(row["attempt_id"]), now, data)
    await post(connection, to, [event])


async def campaign_moved(
    connection: AsyncConnection, row: Mapping[str, Any], *, before: str, now: datetime
) -> None:
    """`row`: the campaign, which was just moved in this transaction."""
    to = await listeners(connection, row["client_id"])
    if to:
        await post(connection, to, [state_changed(row, before=before, at=now)])


async def callback_agreed(
    connection: AsyncConnection, row: Mapping[str, Any], *, now: datetime
) -> None:
    """`row`: the lead, which was just given a time in this transaction."""
    to = await listeners(connection, row["client_id"])
    if to:
        due, agent_id = row["next_at"], row["callback_agent"]
        await post(connection, to, [callback_made(row, at=now, due=due, agent_id=agent_id)])
