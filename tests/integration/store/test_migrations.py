"""The migrations, run from empty, make the tables that the code expects."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from dialer.store.database import Database
from dialer.store.schema import metadata

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
