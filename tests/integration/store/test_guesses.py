"""Guesses at the same time, on many connections, are all counted: on both databases."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from dialer.store import guesses
from dialer.store.database import Database

pytestmark = pytest.mark.integration

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def limits(login: str) -> list[guesses.Limit]:
    return [
        guesses.Limit("pair", guesses.subject(login, "a"), 5, timedelta(minutes=5)),
        guesses.Limit("address", guesses.subject("a"), 30, timedelta(minutes=1)),
    ]


async def guess(database: Database, login: str, *, now: datetime = NOW) -> set[str]:
    async with database.begin() as connection:
        return await guesses.count(connection, limits(login), now=now)


async def test_the_sixth_is_over_whoever_comes_first(database: Database) -> None:
    answers = await asyncio.gather(*(guess(database, "kim") for _ in range(12)))
    assert sum("pair" in over for over in answers) == 7
    others = await asyncio.gather(*(guess(database, f"u{n % 4}") for n in range(20)))
    assert sum("address" in over for over in others) == 2
    assert await guess(database, "kim", now=NOW + timedelta(seconds=301)) == set()
    async with database.begin() as connection:
        await guesses.forget(connection, "u1")
        await guesses.came_in(connection, guesses.subject("kim", "a"), now=NOW)
        await guesses.came_in(connection, guesses.subject("kim", "a"), now=NOW)
        later = NOW + timedelta(days=31)
        assert await guesses.is_known(connection, guesses.subject("kim", "a"), now=NOW)
        assert not await guesses.is_known(connection, guesses.subject("kim", "a"), now=later)
        assert not await guesses.is_known(connection, guesses.subject("kim", "b"), now=NOW)
