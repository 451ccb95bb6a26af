"""Committing a tick's attempts on PostgreSQL: one statement, which is its whole transaction.

Calls wait for this before they leave. As a transaction of begin, lease, leads, attempts and commit
it is five ways to the database and back, and on a busy machine each of them waits for a processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.domain.lead import LeadState
from dialer.domain.work import Lease, NewAttempt
from dialer.store import schema as t
from dialer.store.arrays import ArrayRows

COLUMNS = tuple(f.name for f in fields(NewAttempt))
_ROWS = ArrayRows(
    "a",
    {
        name: sa.DateTime(timezone=True)
        if name == "intended_at"
        else sa.Text()
        if name == "verdict"
        else t.attempt.c[name].type
        for name in COLUMNS
    },
)
_POOL = sa.bindparam("pool", type_=sa.Uuid)
#: The lease's row, held as it is until the statement has committed.
_OWNED = (
    sa.select(t.pool_lease.c.pool_id)
    .where(
        t.pool_lease.c.pool_id == _POOL,
        t.pool_lease.c.epoch == sa.bindparam("epoch"),
        t.pool_lease.c.owner == sa.bindparam("owner"),
    )
    .with_for_update(read=True)
    .cte("owned")
)
_HELD = (
    sa.select(t.lead.c.id)
    .where(
        t.lead.c.id == sa.any_(sa.bindparam("leads", type_=postgresql.ARRAY(sa.Uuid()))),
        t.lead.c.state == LeadState.HOPPER.value,
    )
    .with_for_update()
    .cte("held")
)
#: All or nothing: true when the pool is ours and every lead is in the hopper.
_ALLOWED = sa.select(
    sa.and_(
        sa.exists(sa.select(_OWNED.c.pool_id)),
        sa.select(sa.func.count()).select_from(_HELD).scalar_subquery() == sa.bindparam("count"),
    ).label("yes")
).cte("allowed")
_YES = sa.select(_ALLOWED.c.yes).scalar_subquery()
_MOVED = (
    sa.update(t.lead)
    .where(t.lead.c.id.in_(sa.select(_HELD.c.id)), _YES)
    .values(state=LeadState.DIALING.value)
    .cte("moved")
)
_INTEND = (
    sa.insert(t.attempt)
    .from_select(
        [*COLUMNS, "pool_id"],
        sa.select(
            *(
                sa.cast(_ROWS.c[name], postgresql.JSONB) if name == "verdict" else _ROWS.c[name]
                for name in COLUMNS
            ),
            _POOL,
        ).where(_YES),
    )
    .add_cte(_MOVED)
)


async def intend(connection: AsyncConnection, lease: Lease, attempts: Sequence[NewAttempt]) -> bool:
    """Move the leads to dialing and insert the attempts. False: the lease is not ours, or a lead is
    not in the hopper, and nothing has changed. At least one attempt."""
    rows = (
        tuple(
            orjson.dumps(dict(attempt.verdict)).decode()
            if name == "verdict"
            else getattr(attempt, name)
            for name in COLUMNS
        )
        for attempt in attempts
    )
    done = await connection.execute(
        _INTEND,
        {
            "pool": lease.pool_id,
            "epoch": lease.epoch,
            "owner": lease.owner,
            "leads": [attempt.lead_id for attempt in attempts],
            "count": len(attempts),
            **_ROWS.parameters(rows),
        },
    )
    return done.rowcount == len(attempts)
