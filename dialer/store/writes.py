"""A batch of the engine's writes as few statements. Repeating a batch changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.domain.campaign import CAMPAIGN
from dialer.domain.lead import LeadState
from dialer.domain.work import (
    AgentInterval,
    AgentNow,
    AttemptUpdate,
    CampaignMove,
    Conversation,
    DecisionWrite,
    DispositionWrite,
    DoNotCall,
    LeadMove,
    RecordingWrite,
    Write,
)
from dialer.store import schema as t
from dialer.store.arrays import ArrayRows, either, is_postgres

_FIELDS = (
    "sent_at", "ringing_at", "answered_at", "connected_at", "ended_at", "outcome", "agent_id",
    "cause", "tech_cause", "message_played",
)  # fmt: skip
_values_of = attrgetter(*_FIELDS)
_OUTCOME = 2 + _FIELDS.index("outcome")  # behind the attempt's time and id
#: The first value stays: an attempt has one outcome, whoever comes second.
_UPDATE = (
    sa.update(t.attempt)
    .where(
        t.attempt.c.intended_at == sa.bindparam("b_at", type_=t.UtcDateTime),
        t.attempt.c.id == sa.bindparam("b_id", type_=sa.Uuid),
    )
    .values(
        {
            name: sa.func.coalesce(
                t.attempt.c[name], sa.bindparam(f"v_{name}", type_=t.attempt.c[name].type)
            )
            for name in _FIELDS
        }
    )
)
_MOVE = (
    sa.update(t.lead)
    .where(
        t.lead.c.id == sa.bindparam("b_id", type_=sa.Uuid),
        t.lead.c.state == sa.func.coalesce(sa.bindparam("b_from", type_=sa.String), t.lead.c.state),
    )
    .values(
        state=sa.bindparam("v_state"),
        next_at=sa.bindparam("v_next_at", type_=t.UtcDateTime),
        reason=sa.bindparam("v_reason"),
        callback_agent=sa.bindparam("v_agent", type_=sa.Uuid),
    )
)
_MOVE_NAMES = ("b_id", "b_from", "v_state", "v_next_at", "v_reason", "v_agent")
_DECISION = tuple(t.pacing_decision.c.keys())
_HELD = (LeadState.HOPPER, LeadState.DIALING)
_TIME = sa.DateTime(timezone=True)
#: The same two for all rows at once, on PostgreSQL.
_UPDATES = ArrayRows(
    "u",
    {
        "at": _TIME,
        "id": sa.Uuid(),
        **{name: _TIME if name.endswith("_at") else t.attempt.c[name].type for name in _FIELDS},
    },
)
_UPDATE_ALL = (
    sa.update(t.attempt)
    .where(
        t.attempt.c.intended_at == _UPDATES.c["at"],
        t.attempt.c.id == _UPDATES.c["id"],
        # Known before the join: which partitions there are to look in.
        t.attempt.c.intended_at >= sa.bindparam("b_first", type_=t.UtcDateTime),
        t.attempt.c.intended_at <= sa.bindparam("b_last", type_=t.UtcDateTime),
    )
    .values({n: sa.func.coalesce(t.attempt.c[n], _UPDATES.c[n]) for n in _FIELDS})
)
_MOVES = ArrayRows(
    "m",
    {
        "id": sa.Uuid(), "came_from": sa.String(), "state": sa.String(), "next_at": _TIME,
        "reason": sa.String(), "callback_agent": sa.Uuid(),
    },
)  # fmt: skip
_MOVE_ALL = (
    sa.update(t.lead)
    .where(
        t.lead.c.id == _MOVES.c["id"],
        t.lead.c.state == sa.func.coalesce(_MOVES.c["came_from"], t.lead.c.state),
    )
    .values({n: _MOVES.c[n] for n in ("state", "next_at", "reason", "callback_agent")})
)
#: Whoever of these leads is out of hopper and dialing now.
_RELEASE = either(
    lambda one_of: sa.delete(t.reservation).where(
        one_of(t.reservation.c.lead_id, "free"),
        t.reservation.c.lead_id.in_(
            sa.select(t.lead.c.id).where(
                one_of(t.lead.c.id, "free"), t.lead.c.state.not_in([s.value for s in _HELD])
            )
        ),
    )
)


async def apply(connection: AsyncConnection, batch: Sequence[Write]) -> None:
    """Write a batch inside the caller's transaction."""
    by_type: dict[type, list[Any]] = {}
    for write in batch:
        by_type.setdefault(type(write), []).append(write)
    for kind, handler in _HANDLERS:
        if writes := by_type.get(kind):
            await handler(connection, writes)


async def _attempts(connection: AsyncConnection, updates: Sequence[AttemptUpdate]) -> None:
    merged: dict[UUID, list[Any]] = {}
    for update in updates:
        values = _values_of(update)
        row = merged.get(update.id)
        if row is None:
            merged[update.id] = [update.intended_at, update.id, *values]
            continue
        for place, value in enumerate(values, 2):
            if row[place] is None:
                row[place] = value
    for row in merged.values():
        if row[_OUTCOME] is not None:
            row[_OUTCOME] = row[_OUTCOME].value
    if not is_postgres(connection):
        names = ("b_at", "b_id", *(f"v_{name}" for name in _FIELDS))
        rows = [dict(zip(names, row, strict=True)) for row in merged.values()]
        await connection.execute(_UPDATE, rows)
        return
    times = [row[0] for row in merged.values()]
    await connection.execute(
        _UPDATE_ALL,
        {"b_first": min(times), "b_last": max(times), **_UPDATES.parameters(merged.values())},
    )


async def _leads(connection: AsyncConnection, moves: Sequence[LeadMove]) -> None:
    # Of several moves the last one counts; one that depends on where the lead is goes in turn.
    if any(move.only_from is not None for move in moves):
        for part in _runs(moves):
            await _move(connection, part)
    else:
        await _move(connection, moves)


def _runs(moves: Sequence[LeadMove]) -> Iterator[Sequence[LeadMove]]:
    """Stretches of moves in which no lead appears twice."""
    part: dict[UUID, LeadMove] = {}
    for move in moves:
        if move.lead_id in part:
            yield list(part.values())
            part = {}
        part[move.lead_id] = move
    yield list(part.values())


async def _move(connection: AsyncConnection, moves: Sequence[LeadMove]) -> None:
    last = {move.lead_id: move for move in moves}
    rows = [
        (
            move.lead_id,
            move.only_from.value if move.only_from is not None else None,
            move.state.value,
            move.next_at,
            move.reason[:100],
            move.callback_agent,
        )
        for move in last.values()
    ]
    if is_postgres(connection):
        await connection.execute(_MOVE_ALL, _MOVES.parameters(rows))
    else:
        await connection.execute(_MOVE, [dict(zip(_MOVE_NAMES, row, strict=True)) for row in rows])
    free = [move.lead_id for move in last.values() if move.state not in _HELD]
    if free:  # whoever is out of hopper and dialing now holds nobody any more
        await connection.execute(_RELEASE(connection), {"free": free})


async def _conversations(connection: AsyncConnection, writes: Sequence[Conversation]) -> None:
    await _insert(
        connection,
        t.conversation,
        [
            {
                "attempt_id": w.attempt_id,
                "agent_id": w.agent_id,
                "client_id": w.client_id,
                "campaign_id": w.campaign_id,
                "customer_id": w.customer_id,
                "lead_id": w.lead_id,
                "connected_at": w.connected_at,
                "ended_at": w.ended_at,
                "ended_by": w.ended_by,
            }
            for w in writes
        ],
    )


async def _dispositions(connection: AsyncConnection, writes: Sequence[DispositionWrite]) -> None:
    await _insert(
        connection,
        t.disposition,
        [
            {
                "attempt_id": w.attempt_id,
                "agent_id": w.agent_id,
                "code": w.code,
                "note": w.note,
                "form": dict(w.form),
                "at": w.at,
                "wrap_up_seconds": w.wrap_up_seconds,
            }
            for w in writes
        ],
    )


async def _intervals(connection: AsyncConnection, writes: Sequence[AgentInterval]) -> None:
    """One that is there already only gets longer: an owner that lost the pool wrote it as far as it
    went, and the next one to its end."""
    table = t.agent_interval
    insert = _inserting(connection, table)
    await connection.execute(
        insert.on_conflict_do_update(
            index_elements=list(table.primary_key.columns),
            set_={"ended_at": insert.excluded.ended_at},
            where=table.c.ended_at < insert.excluded.ended_at,
        ),
        [
            {
                "agent_id": w.agent_id,
                "session_id": w.session_id,
                "started_at": w.started_at,
                "state": w.state.value,
                "client_id": w.client_id,
                "reason": w.reason[:100],
                "ended_at": w.ended_at,
                "campaign_id": w.campaign_id,
            }
            for w in writes
        ],
    )


async def _now(connection: AsyncConnection, writes: Sequence[AgentNow]) -> None:
    last = {w.agent_id: w for w in writes}  # of several the last one counts
    if gone := [w.agent_id for w in last.values() if w.session_id is None]:
        await connection.execute(sa.delete(t.agent_now).where(t.agent_now.c.agent_id.in_(gone)))
    rows = [
        {
            "agent_id": w.agent_id,
            "client_id": w.client_id,
            "pool_id": w.pool_id,
            "session_id": w.session_id,
            "state": w.state.value,
            "reason": w.reason[:100],
            "since": w.since,
            "campaign_id": w.campaign_id,
            "leg_id": w.leg_id,
            "attempt_id": w.attempt_id,
            "intended_at": w.intended_at,
        }
        for w in last.values()
        if w.session_id is not None
    ]
    if rows:
        insert = _inserting(connection, t.agent_now)
        others = {n: insert.excluded[n] for n in rows[0] if n != "agent_id"}
        await connection.execute(
            insert.on_conflict_do_update(index_elements=["agent_id"], set_=others), rows
        )


async def _do_not_call(connection: AsyncConnection, writes: Sequence[DoNotCall]) -> None:
    await block_numbers(connection, writes)


async def block_numbers(connection: AsyncConnection, writes: Sequence[DoNotCall]) -> None:
    """Enter numbers, and block the leads that wait with them."""
    await _insert(
        connection,
        t.do_not_call,
        [
            {
                "client_id": w.client_id,
                "number": w.number,
                "customer_id": w.customer_id,
                "scope": w.scope,
                "source": w.source,
                "at": w.at,
            }
            for w in writes
        ],
    )
    for client_id in {w.client_id for w in writes}:
        numbers = [w.number for w in writes if w.client_id == client_id]
        waiting = [s.value for s in (LeadState.NEW, LeadState.RETRY, LeadState.CALLBACK)]
        await connection.execute(
            sa.update(t.lead)
            .where(
                t.lead.c.client_id == client_id,
                t.lead.c.number.in_(numbers),
                t.lead.c.state.in_(waiting),
            )
            .values(state=LeadState.BLOCKED.value, reason="do_not_call", next_at=None)
        )


async def _recordings(connection: AsyncConnection, writes: Sequence[RecordingWrite]) -> None:
    await _insert(
        connection,
        t.recording,
        [
            {
                "attempt_id": w.attempt_id,
                "client_id": w.client_id,
                "campaign_id": w.campaign_id,
                "node": w.node,
                "path": w.path,
                "state": "on_node",
                "stored_as": "",
                "size": 0,
                "sha256": "",
                "at": w.at,
            }
            for w in writes
        ],
    )


async def _decisions(connection: AsyncConnection, writes: Sequence[DecisionWrite]) -> None:
    rows = [{name: getattr(w, name) for name in _DECISION} for w in writes]
    await _insert(
        connection, t.pacing_decision, [{**row, "details": dict(row["details"])} for row in rows]
    )


async def _campaigns(connection: AsyncConnection, moves: Sequence[CampaignMove]) -> None:
    for move in moves:
        await connection.execute(
            sa.update(t.campaign)
            .where(
                t.campaign.c.id == move.campaign_id,
                t.campaign.c.state.in_([s.value for s in CAMPAIGN.before(move.state)]),
            )
            .values(state=move.state.value, reason=move.reason)
        )


async def _insert(
    connection: AsyncConnection, table: sa.Table, rows: Sequence[dict[str, Any]]
) -> None:
    insert = _inserting(connection, table)
    await connection.execute(insert.on_conflict_do_nothing(), list(rows))


def _inserting(connection: AsyncConnection, table: sa.Table) -> Any:
    """Both databases spell ON CONFLICT the same way; SQLAlchemy keeps them apart."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


_HANDLERS: tuple[tuple[type, Callable[[AsyncConnection, Any], Any]], ...] = (
    (AttemptUpdate, _attempts),
    (Conversation, _conversations),
    (DispositionWrite, _dispositions),
    (LeadMove, _leads),
    (DoNotCall, _do_not_call),
    (AgentInterval, _intervals),
    (AgentNow, _now),
    (RecordingWrite, _recordings),
    (CampaignMove, _campaigns),
    (DecisionWrite, _decisions),
)
