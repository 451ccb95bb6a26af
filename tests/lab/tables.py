"""A dialer's database as it is, read beside the dialer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from dialer.store import schema
from dialer.store.database import Database


async def rows_of(url: str, table: str) -> Sequence[Mapping[str, Any]]:
    """All rows of a table."""
    database = Database(url)
    try:
        async with database.begin() as connection:
            found = await connection.execute(sa.select(schema.metadata.tables[table]))
            return found.mappings().all()
    finally:
        await database.close()
