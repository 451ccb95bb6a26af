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


async def open_database(folder: Path, server: LabPostgres | None) -> Database:
    """A migrated database: PostgreSQL where a server is given, else a SQLite file."""
    url = server.database() if server is not None else f"sqlite+aiosqlite:///{folder}/dialer.db"
    await asyncio.to_thread(upgrade, url)
    return Database(url)


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    postgres = request.param == "postgresql"
    database = await open_database(
        tmp_path, request.getfixturevalue("cluster") if postgres else None
    )
    yield database
    await database.close()
