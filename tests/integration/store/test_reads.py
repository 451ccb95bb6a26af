"""Reads outside a transaction: they wait for nobody, and leave nothing behind."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest
import sqlalchemy as sa

from dialer.store import schema as t
from dialer.store.database import Database

pytestmark = pytest.mark.integration
HOUSE = UUID(int=1)


async def _clients(database: Database) -> int:
    async with database.read() as connection:
        counted = await connection.execute(sa.select(sa.func.count()).select_from(t.client))
        return int(counted.scalar_one())


def _house() -> sa.Insert:
    return sa.insert(t.client).values(id=HOUSE, name="house", created_at=datetime.now(UTC))


async def test_a_read_does_not_wait_for_who_writes_and_sees_only_what_is_committed(
    database: Database,
) -> None:
    async with database.begin() as connection:
        await connection.execute(_house())
        assert await asyncio.wait_for(_clients(database), 5) == 0
    assert await _clients(database) == 1


async def test_a_connection_that_has_read_still_takes_back_what_fails(database: Database) -> None:
    assert await _clients(database) == 0
    with pytest.raises(RuntimeError, match="stopped half way"):
        async with database.begin() as connection:  # the connection that was just given back
            await connection.execute(_house())
            raise RuntimeError("stopped half way")
    assert await _clients(database) == 0
