"""The pool store three times: in memory, on SQLite and on PostgreSQL, with the same house in it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from dialer.store.database import Database
from tests.contract.store.house import House, MemoryHouse, SqlHouse
from tests.integration.store.conftest import cluster, open_database

__all__ = ["cluster"]


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def house(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    if request.param == "memory":
        yield await MemoryHouse().build()
        return
    folder = request.getfixturevalue("tmp_path")
    server = request.getfixturevalue("cluster") if request.param == "postgresql" else None
    database: Database = await open_database(folder, server)
    yield await SqlHouse(database).build()
    await database.close()
