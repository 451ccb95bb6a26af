"""Claiming leads: exclusive, with the person and the number reserved in the same transaction."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.domain.call import FREE_OUTCOMES, Outcome
from dialer.domain.lead import LeadState
from dialer.domain.work import ClaimedLead, ContactHistory, NewAttempt
from dialer.store import schema as t
from dialer.store.arrays import ArrayRows, among, is_postgres

Row = Any  # a result row; its columns are those selected here

_HISTORY = timedelta(days=31)
#: Due callbacks first, then due retries, then new ones in list order.
_ORDER = (LeadState.CALLBACK, LeadState.RETRY, LeadState.NEW)
_FREE = frozenset(o.value for o in FREE_OUTCOMES)
_MACHINE = frozenset({Outcome.MACHINE.value})
_SPOKE = frozenset({Outcome.ENDED_BY_AGENT.value, Outcome.ENDED_BY_CUSTOMER.value})
_STATES = frozenset(s.value for s in LeadState)
_COLUMNS = (
    t.lead.c.id,
    t.lead.c.client_id,
    t.lead.c.campaign_id,
    t.lead.c.list_id,
    t.lead.c.customer_id,
    t.lead.c.number_id,
    t.lead.c.number,
    t.lead.c.state,
    t.lead.c.next_at,
    t.lead.c.callback_agent,
    t.customer.c.name,
    t.customer.c.zone,
    t.customer.c.consent,
    t.customer.c.attributes,
    t.phone_number.c.region,
    t.phone_number.c.kind,
)
_RESERVED = ArrayRows(
    "r",
    {"client_id": sa.Uuid(), "subject": sa.String(), "pool_id": sa.Uuid(), "lead_id": sa.Uuid()},
)
_RESERVE = sqlite.insert(t.reservation).on_conflict_do_nothing().returning(t.reservation.c.lead_id)
_RESERVE_ALL = (
    postgresql.insert(t.reservation)
    .from_select(["client_id", "subject", "pool_id", "lead_id"], sa.select(_RESERVED.table))
    .on_conflict_do_nothing()
    .returning(t.reservation.c.lead_id)
)
_ATTEMPT = tuple(f.name for f in fields(NewAttempt))
_ATTEMPTS = ArrayRows(
    "a",
    {
        name: sa.DateTime(timezone=True)
        if name == "intended_at"
        else sa.Text()
        if name == "verdict"
        else t.attempt.c[name].type
        for name in _ATTEMPT
    },
)
_INSERT_ALL = sa.insert(t.attempt).from_select(
    [*_ATTEMPT, "pool_id"],
    sa.select(
        *(
            sa.cast(_ATTEMPTS.c[name], postgresql.JSONB) if name == "verdict" else _ATTEMPTS.c[name]
            for name in _ATTEMPT
        ),
        sa.bindparam("pool", type_=sa.Uuid),
    ),
)
_JOINED = t.lead.join(t.customer, t.customer.c.id == t.lead.c.customer_id).join(
    t.phone_number, t.phone_number.c.id == t.lead.c.number_id
)


def subjects(client_id: UUID, customer_id: UUID, number: str) -> tuple[str, str]:
    """What is reserved for one lead: its person and its number."""
    return f"p:{customer_id.hex}", f"n:{number}"


def _subjects_of_lead() -> tuple[sa.ColumnElement[str], sa.ColumnElement[str]]:
    """The same, of the lead at hand in a query. The databases write ids with and without dashes."""
    person = sa.func.replace(sa.cast(t.lead.c.customer_id, sa.String), "-", "")
    return sa.literal("p:") + person, sa.literal("n:") + t.lead.c.number


async def due(
    connection: AsyncConnection,
    campaign_id: UUID,
    *,
    limit: int,
    now: datetime,
    lock: bool,
    agents: Collection[UUID] | None,
) -> list[Row]:
    """Due leads in order whose person and number nobody holds, locked where the database can.

    `agents` as in `PoolStore.claim`.
    """
    rows: list[Row] = []
    held = t.reservation
    works = sa.exists().where(
        t.agent_campaign.c.agent_id == t.lead.c.callback_agent,
        t.agent_campaign.c.campaign_id == t.lead.c.campaign_id,
    )
    whose = (
        sa.or_(t.lead.c.callback_agent.is_(None), ~works)
        if agents is None
        else sa.and_(among(connection, t.lead.c.callback_agent, agents), works)
    )
    for state in _ORDER:
        if len(rows) >= limit:
            break
        query = (
            sa.select(*_COLUMNS)
            .select_from(_JOINED)
            .where(t.lead.c.campaign_id == campaign_id, t.lead.c.state == state.value, whose)
            .where(
                *(
                    ~sa.exists().where(
                        held.c.client_id == t.lead.c.client_id, held.c.subject == subject
                    )
                    for subject in _subjects_of_lead()
                )
            )
            # As ix_lead_due has them, so that a claim reads what it takes and not the whole list.
            # A new lead has no `next_at`: among those the position decides.
            .order_by(t.lead.c.next_at, t.lead.c.position)
            .limit(limit - len(rows))
        )
        if state is not LeadState.NEW:
            query = query.where(sa.or_(t.lead.c.next_at.is_(None), t.lead.c.next_at <= now))
        if lock:
            query = query.with_for_update(of=t.lead, skip_locked=True)
        rows.extend((await connection.execute(query)).all())
    if agents is None:
        return rows
    first: dict[UUID, Row] = {}
    for row in rows:
        first.setdefault(row.callback_agent, row)
    return list(first.values())


async def one(connection: AsyncConnection, lead_id: UUID) -> Row | None:
    """One lead that may be claimed by hand, finished ones too."""
    states = [s.value for s in (*_ORDER, LeadState.DONE)]
    query = (
        sa.select(*_COLUMNS)
        .select_from(_JOINED)
        .where(t.lead.c.id == lead_id, t.lead.c.state.in_(states))
    )
    return (await connection.execute(query)).one_or_none()


async def reserve(connection: AsyncConnection, rows: Sequence[Row], *, pool_id: UUID) -> list[Row]:
    """Those rows whose person *and* number could be reserved; the others keep their state."""
    if not rows:
        return []
    values = [
        {"client_id": r.client_id, "subject": s, "pool_id": pool_id, "lead_id": r.id}
        for r in rows
        for s in subjects(r.client_id, r.customer_id, r.number)
    ]
    if is_postgres(connection):
        made = await connection.execute(
            _RESERVE_ALL, _RESERVED.parameters(value.values() for value in values)
        )
    else:
        # Values as parameters, not in the statement: compiling a thousand rows holds the loop for
        # as long as a whole tick's calls may be late.
        made = await connection.execute(_RESERVE, values)
    got = Counter(made.scalars())
    won = [r for r in rows if got[r.id] == 2]
    partial = [lead_id for lead_id, count in got.items() if count == 1]
    if partial:
        await connection.execute(
            sa.delete(t.reservation).where(among(connection, t.reservation.c.lead_id, partial))
        )
    if won:
        await connection.execute(
            sa.update(t.lead)
            .where(among(connection, t.lead.c.id, [r.id for r in won]))
            .values(state=LeadState.HOPPER.value, reason=t.lead.c.state)  # what it was
        )
    return won


async def insert_attempts(
    connection: AsyncConnection, attempts: Sequence[NewAttempt], *, pool_id: UUID
) -> None:
    """New rows, as intended."""
    rows = [{name: getattr(attempt, name) for name in _ATTEMPT} for attempt in attempts]
    if is_postgres(connection):
        for row in rows:
            row["verdict"] = orjson.dumps(row["verdict"]).decode()
        arrays = _ATTEMPTS.parameters(row.values() for row in rows)
        await connection.execute(_INSERT_ALL, {"pool": pool_id, **arrays})
    else:
        for row in rows:
            row |= {"verdict": dict(row["verdict"]), "pool_id": pool_id}
        await connection.execute(sa.insert(t.attempt), rows)


async def with_history(
    connection: AsyncConnection, rows: Sequence[Row], *, now: datetime
) -> list[ClaimedLead]:
    """Claimed leads with what the rules need to know of the person and the number."""
    if not rows:
        return []
    a = t.attempt
    past = (
        await connection.execute(
            sa.select(
                a.c.client_id, a.c.customer_id, a.c.number, a.c.lead_id, a.c.intended_at,
                a.c.outcome, a.c.answered_at, a.c.connected_at, a.c.message_played,
            )
            .where(
                among(connection, a.c.client_id, {r.client_id for r in rows}),
                a.c.intended_at > now - _HISTORY,
                sa.or_(
                    among(connection, a.c.customer_id, [r.customer_id for r in rows]),
                    among(connection, a.c.number, [r.number for r in rows]),
                ),
            )
            .order_by(a.c.intended_at.desc())
        )
    ).all()  # fmt: skip
    blocked = set(
        await connection.execute(
            sa.select(t.do_not_call.c.client_id, t.do_not_call.c.number).where(
                among(connection, t.do_not_call.c.number, [r.number for r in rows])
            )
        )
    )
    by_person: dict[UUID, list[Row]] = defaultdict(list)
    by_number: dict[tuple[UUID, str], list[Row]] = defaultdict(list)
    for row in past:
        if row.outcome != Outcome.EXPIRED.value:
            by_person[row.customer_id].append(row)
            by_number[row.client_id, row.number].append(row)
    counts = await outcome_counts(connection, [r.id for r in rows])
    return [
        _claimed(
            row,
            counts.get(row.id, {}),
            _history(
                by_person[row.customer_id],
                by_number[row.client_id, row.number],
                blocked=(row.client_id, row.number) in blocked,
            ),
        )
        for row in rows
    ]


async def outcome_counts(
    connection: AsyncConnection, lead_ids: Sequence[UUID]
) -> dict[UUID, dict[str, int]]:
    """Attempts so far by outcome, per lead. Counted from the attempts: a repeated write cannot
    count twice."""
    a = t.attempt
    counts: dict[UUID, dict[str, int]] = defaultdict(dict)
    query = (
        sa.select(a.c.lead_id, a.c.outcome, sa.func.count())
        .where(among(connection, a.c.lead_id, lead_ids), a.c.outcome.is_not(None))
        .group_by(a.c.lead_id, a.c.outcome)
    )
    for lead_id, outcome, count in await connection.execute(query):
        counts[lead_id][outcome] = count
    return counts


def was(reason: str) -> LeadState:
    """What a claimed lead was before, from its reason."""
    return LeadState(reason) if reason in _STATES else LeadState.RETRY


def attempts_of(counts: Mapping[str, int]) -> int:
    """Attempts that count against the campaign's limit."""
    return sum(n for outcome, n in counts.items() if outcome not in _FREE)


def _history(person: Sequence[Row], number: Sequence[Row], *, blocked: bool) -> ContactHistory:
    listed = ("number:client",) if blocked else ()
    if not person and not number:  # most people of a list were never called
        return ContactHistory(do_not_call=listed)

    def last(names: Collection[str]) -> datetime | None:
        return next((r.intended_at for r in person if r.outcome in names), None)

    return ContactHistory(
        person_attempts=tuple(r.intended_at for r in person),
        number_attempts=tuple(r.intended_at for r in number),
        last_abandon=next(
            (
                r.intended_at
                for r in person
                if r.outcome == Outcome.ABANDONED.value
                or r.message_played
                or (r.outcome == Outcome.UNKNOWN.value and r.answered_at and not r.connected_at)
            ),
            None,
        ),
        last_machine=last(_MACHINE),
        last_conversation=last(_SPOKE),
        do_not_call=listed,
    )


def _claimed(row: Row, counts: Mapping[str, int], history: ContactHistory) -> ClaimedLead:
    return ClaimedLead(
        lead_id=row.id,
        client_id=row.client_id,
        campaign_id=row.campaign_id,
        list_id=row.list_id,
        customer_id=row.customer_id,
        number_id=row.number_id,
        number=row.number,
        zone=row.zone or None,
        region=row.region,
        number_kind=row.kind,
        attempts=attempts_of(counts),
        outcome_counts=counts,
        consent=row.consent,
        attributes=row.attributes,
        name=row.name,
        callback_agent=row.callback_agent,
        callback_at=row.next_at if row.state == LeadState.CALLBACK.value else None,
        history=history,
        was=LeadState(row.state),
    )
