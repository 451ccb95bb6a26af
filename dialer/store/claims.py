"""Claiming leads: exclusive, with the person and the number reserved in the same transaction."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.domain.call import FREE_OUTCOMES, Outcome
from dialer.domain.lead import LeadState
from dialer.domain.work import ClaimedLead, ContactHistory, NewAttempt
from dialer.store import schema as t
from dialer.store.arrays import ArrayRows, Either, OneOf, either, is_postgres
from dialer.store.intending import COLUMNS

_A, _R = t.attempt.c, t.reservation.c
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
_JOINED = t.lead.join(t.customer, t.customer.c.id == t.lead.c.customer_id).join(
    t.phone_number, t.phone_number.c.id == t.lead.c.number_id
)

#: Made once: putting a statement together takes longer than running it.
_LET_GO = either(lambda one_of: sa.delete(t.reservation).where(one_of(_R.lead_id, "leads")))
_INTO_HOPPER = either(
    lambda one_of: (
        sa.update(t.lead)
        .where(one_of(t.lead.c.id, "leads"))
        .values(state=LeadState.HOPPER.value, reason=t.lead.c.state)  # what it was
    )
)
_PAST = either(
    lambda one_of: (
        sa.select(
            _A.client_id, _A.customer_id, _A.number, _A.lead_id, _A.intended_at,
            _A.outcome, _A.answered_at, _A.connected_at, _A.message_played,
        )
        .where(
            one_of(_A.client_id, "clients"),
            _A.intended_at > sa.bindparam("since", type_=t.UtcDateTime),
            sa.or_(one_of(_A.customer_id, "people"), one_of(_A.number, "numbers")),
        )
        .order_by(_A.intended_at.desc())
    )
)  # fmt: skip
_BLOCKED = either(
    lambda one_of: sa.select(t.do_not_call.c.client_id, t.do_not_call.c.number).where(
        one_of(t.do_not_call.c.number, "numbers")
    )
)
_COUNTS = either(
    lambda one_of: (
        sa.select(_A.lead_id, _A.outcome, sa.func.count())
        .where(one_of(_A.lead_id, "leads"), _A.outcome.is_not(None))
        .group_by(_A.lead_id, _A.outcome)
    )
)


def subjects(client_id: UUID, customer_id: UUID, number: str) -> tuple[str, str]:
    """What is reserved for one lead: its person and its number."""
    return f"p:{customer_id.hex}", f"n:{number}"


def _subjects_of_lead() -> tuple[sa.ColumnElement[str], sa.ColumnElement[str]]:
    """The same, of the lead at hand in a query. The databases write ids with and without dashes."""
    person = sa.func.replace(sa.cast(t.lead.c.customer_id, sa.String), "-", "")
    return sa.literal("p:") + person, sa.literal("n:") + t.lead.c.number


def _due(state: LeadState, *, promised: bool, lock: bool) -> Either[sa.Select[Any]]:
    """Due leads of one campaign in one state; `promised`: by these agents, else by nobody who works
    the campaign."""
    lead, held = t.lead.c, t.reservation.c
    works = sa.exists().where(
        t.agent_campaign.c.agent_id == lead.callback_agent,
        t.agent_campaign.c.campaign_id == lead.campaign_id,
    )

    def query(one_of: OneOf) -> sa.Select[Any]:
        found = (
            sa.select(*_COLUMNS)
            .select_from(_JOINED)
            .where(
                lead.campaign_id == sa.bindparam("campaign", type_=sa.Uuid),
                lead.state == state.value,
                sa.and_(one_of(lead.callback_agent, "agents"), works)
                if promised
                else sa.or_(lead.callback_agent.is_(None), ~works),
            )
            .where(
                *(
                    ~sa.exists().where(held.client_id == lead.client_id, held.subject == subject)
                    for subject in _subjects_of_lead()
                )
            )
            # As ix_lead_due has them, so that a claim reads what it takes and not the whole list.
            # A new lead has no `next_at`: among those the position decides.
            .order_by(lead.next_at, lead.position)
            .limit(sa.bindparam("most", type_=sa.Integer))
        )
        if state is not LeadState.NEW:
            now = sa.bindparam("now", type_=t.UtcDateTime)
            found = found.where(sa.or_(lead.next_at.is_(None), lead.next_at <= now))
        return found.with_for_update(of=t.lead, skip_locked=True) if lock else found

    return either(query)


_DUE = {
    (state, promised, lock): _due(state, promised=promised, lock=lock)
    for state in _ORDER
    for promised in (False, True)
    for lock in (False, True)
}


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
    given: dict[str, Any] = {"campaign": campaign_id}
    if agents is not None:
        given["agents"] = list(agents)
    for state in _ORDER:
        if len(rows) >= limit:
            break
        query = _DUE[state, agents is not None, lock](connection)
        when = {} if state is LeadState.NEW else {"now": now}
        asked = {**given, **when, "most": limit - len(rows)}
        rows.extend((await connection.execute(query, asked)).all())
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
        await connection.execute(_LET_GO(connection), {"leads": partial})
    if won:
        await connection.execute(_INTO_HOPPER(connection), {"leads": [r.id for r in won]})
    return won


async def insert_attempts(
    connection: AsyncConnection, attempts: Sequence[NewAttempt], *, pool_id: UUID
) -> None:
    """New rows, as intended, on SQLite."""
    rows = [{name: getattr(attempt, name) for name in COLUMNS} for attempt in attempts]
    for row in rows:
        row |= {"verdict": dict(row["verdict"]), "pool_id": pool_id}
    await connection.execute(sa.insert(t.attempt), rows)


async def with_history(
    connection: AsyncConnection, rows: Sequence[Row], *, now: datetime
) -> list[ClaimedLead]:
    """Claimed leads with what the rules need to know of the person and the number."""
    if not rows:
        return []
    numbers = [r.number for r in rows]
    asked = {
        "clients": list({r.client_id for r in rows}),
        "since": now - _HISTORY,
        "people": [r.customer_id for r in rows],
        "numbers": numbers,
    }
    past = (await connection.execute(_PAST(connection), asked)).all()
    blocked = set(await connection.execute(_BLOCKED(connection), {"numbers": numbers}))
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
    counts: dict[UUID, dict[str, int]] = defaultdict(dict)
    query, asked = _COUNTS(connection), {"leads": list(lead_ids)}
    for lead_id, outcome, count in await connection.execute(query, asked):
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
