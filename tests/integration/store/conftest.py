"""Both databases, migrated: a SQLite file, and a private PostgreSQL cluster on a unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from dialer.store.database import Database, upgrade
from tests.lab.servers import LabPostgres


@pytest.fixture(scope="session")
def cluster() -> Iterator[LabPostgres]:
    """A server that ends with the tests. Never synced to the disk."""
    with LabPostgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    if request.param == "sqlite":
        url = f"sqlite+aiosqlite:///{tmp_path}/dialer.db"
    else:
        url = request.getfixturevalue("cluster").database()
    await asyncio.to_thread(upgrade, url)
    database = Database(url)
    yield database
    await database.close()
