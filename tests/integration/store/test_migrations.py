"""The migrations, run from empty, make the tables that the code expects."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from dialer.store.database import Database
from dialer.store.schema import metadata
from tests.integration.store.conftest import open_database

pytestmark = pytest.mark.integration


def _missing(connection: sa.Connection) -> list[str]:
    def ours(thing: object, name: str | None, kind: str, reflected: bool, against: object) -> bool:
        # Months of `attempt` exist on PostgreSQL only.
        return not (kind == "table" and reflected and (name or "").startswith("attempt_"))

    context = MigrationContext.configure(connection, opts={"include_object": ours})
    return [str(difference) for difference in compare_metadata(context, metadata)]


async def test_the_migrations_make_what_the_schema_says(database: Database) -> None:
    async with database.engine.connect() as connection:
        assert await connection.run_sync(_missing) == []


async def test_a_new_file_is_its_owners_only(tmp_path: Path) -> None:
    """Whatever the umask says, and with what SQLite puts beside it."""
    before = os.umask(0o022)
    try:
        database = await open_database(tmp_path, None)
        async with database.begin() as connection:
            await connection.execute(sa.text("SELECT 1"))
            files = [file for file in tmp_path.iterdir() if file.is_file()]
            assert files
            assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        await database.close()
    finally:
        os.umask(before)
