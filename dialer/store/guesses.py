"""Wrong passwords, counted for the whole installation: every node looks at the same numbers.

Subjects are digests: what people type by mistake into a login field is often their password.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.store import schema as t

_G = t.guess.c
_KNOWN = "known"
_KNOWN_FOR = timedelta(days=30)
_LONGEST = timedelta(hours=1)  # longer than any window: older counts say nothing any more


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `most` guesses of one subject within a window that begins with the first."""

    kind: str
    subject: str
    most: int
    window: timedelta


def subject(login: str, address: str | None = None) -> str:
    """A login as a key; with an address, the two together, beginning as the login's own."""
    key = _digest(login)
    return key if address is None else key + _digest(address)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


async def count(connection: AsyncConnection, limits: Sequence[Limit], *, now: datetime) -> set[str]:
    """Count one guess against each limit; the kinds that are over theirs with it.

    Counted before the password is looked at, in one statement each: guesses at the same time, on
    many nodes, are all counted. Always in the same order, so that no two wait for each other.
    """
    await connection.execute(
        sa.delete(t.guess).where(
            sa.or_(
                sa.and_(_G.kind != _KNOWN, _G.since < now - _LONGEST),
                sa.and_(_G.kind == _KNOWN, _G.since < now - _KNOWN_FOR),
            )
        )
    )
    over = set()
    for limit in sorted(limits, key=lambda each: (each.kind, each.subject)):
        old = _G.since <= now - limit.window
        insert = _insert(connection).values(
            kind=limit.kind, subject=limit.subject, count=1, since=now
        )
        counted = await connection.scalar(
            insert.on_conflict_do_update(
                index_elements=["kind", "subject"],
                set_={
                    "count": sa.case((old, 1), else_=_G.count + 1),
                    "since": sa.case((old, sa.literal(now, _G.since.type)), else_=_G.since),
                },
            ).returning(_G.count)
        )
        if (counted or 0) > limit.most:
            over.add(limit.kind)
    return over


async def forgive(connection: AsyncConnection, limits: Sequence[Limit]) -> None:
    """The password was right: this guess was none."""
    for limit in sorted(limits, key=lambda each: (each.kind, each.subject)):
        await connection.execute(
            sa.update(t.guess)
            .where(_G.kind == limit.kind, _G.subject == limit.subject, _G.count > 0)
            .values(count=_G.count - 1)
        )


async def forget(connection: AsyncConnection, login: str, address: str | None = None) -> None:
    """All that was wrong before is forgiven: from one address, or everywhere."""
    key = subject(login, address)
    await connection.execute(
        sa.delete(t.guess).where(_G.kind != _KNOWN, _G.subject.startswith(key, autoescape=True))
    )


async def came_in(connection: AsyncConnection, place: str, *, now: datetime) -> None:
    """Somebody signed in from here (a login and an address)."""
    insert = _insert(connection).values(kind=_KNOWN, subject=place, count=0, since=now)
    await connection.execute(
        insert.on_conflict_do_update(index_elements=["kind", "subject"], set_={"since": now})
    )


async def is_known(connection: AsyncConnection, place: str, *, now: datetime) -> bool:
    """Whether somebody signed in from here in the last month."""
    query = sa.select(_G.since).where(_G.kind == _KNOWN, _G.subject == place)
    since: datetime | None = await connection.scalar(query)
    return since is not None and since > now - _KNOWN_FOR


def _insert(connection: AsyncConnection) -> postgresql.Insert | sqlite.Insert:
    if connection.dialect.name == "postgresql":
        return postgresql.insert(t.guess)
    return sqlite.insert(t.guess)
