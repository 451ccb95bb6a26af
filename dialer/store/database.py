"""The connection to either database, and the migrations that make its tables."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

_MONTHS_AHEAD = 3
_IDLE = 4.0  # s; shorter than a lease
#: SQLite's primary result codes that say nothing about what was to be written: busy, locked, no
#: memory, read-only, interrupted, I/O error, damaged, full, cannot open, protocol, no database.
_SQLITE_TROUBLE = frozenset({5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 26})
#: Likewise PostgreSQL's classes: connection, transaction state (read-only), rollback, resources
#: (disk full), object state, operator (shutdown, cancelled), system, internal.
_POSTGRES_TROUBLE = frozenset({"08", "25", "40", "53", "55", "57", "58", "XX"})


class Database:
    """One engine: `postgresql+asyncpg://` in production, `sqlite+aiosqlite://` embedded."""

    def __init__(self, url: str, *, pool_size: int = 5, idle: float = _IDLE) -> None:
        """`idle`: seconds that PostgreSQL waits for us within a transaction, before it ends it."""
        self.url = url
        self.is_postgres = url.startswith("postgresql")
        options: dict[str, Any] = {}
        if self.is_postgres:
            options = {
                "pool_size": pool_size,
                "max_overflow": 2,
                "pool_timeout": 5,
                "connect_args": {
                    "timeout": 5,
                    "command_timeout": 20,
                    # A process that stands still, or whose machine is gone, must not hold what it
                    # has locked: its pools are to be taken over.
                    "server_settings": {
                        "idle_in_transaction_session_timeout": str(int(idle * 1000))
                    },
                },
            }
        self.engine = create_async_engine(url, hide_parameters=True, **options)
        if not self.is_postgres:
            sa.event.listen(self.engine.sync_engine, "connect", _sqlite_settings)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, committed at the end of the block."""
        async with self.engine.connect() as connection:
            if not self.is_postgres:
                # Take the write lock at once: a later upgrade of a read lock can deadlock.
                await connection.exec_driver_sql("BEGIN IMMEDIATE")
            async with _committing(connection):
                yield connection

    @asynccontextmanager
    async def single(self) -> AsyncIterator[AsyncConnection]:
        """PostgreSQL: a statement that is its own transaction, committed once it is answered: one
        way to the database and back instead of three."""
        async with self.engine.connect() as connection:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """One statement that only reads: no transaction around it, so one way to the database and
        back instead of three, and on SQLite no wait for whoever writes."""
        async with self.engine.connect() as connection:
            if self.is_postgres:
                yield await connection.execution_options(isolation_level="AUTOCOMMIT")
            else:
                yield connection  # its driver begins nothing on its own

    async def check(self) -> None:
        """Raise when the database does not answer."""
        async with self.engine.connect() as connection:
            await connection.execute(sa.select(1))

    async def close(self) -> None:
        await self.engine.dispose()

    @property
    def seconds(self) -> sa.ColumnElement[float]:
        """The database's clock as seconds since 1970."""
        if self.is_postgres:
            return sa.cast(sa.func.extract("epoch", sa.func.clock_timestamp()), sa.Float)
        return sa.literal_column("(julianday('now') - 2440587.5) * 86400.0", sa.Float)

    async def make_partitions(self, now: datetime) -> None:
        """Months of `attempt` ahead of time (PostgreSQL); safe to repeat."""
        if not self.is_postgres:
            return
        month = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        async with self.begin() as connection:
            for _ in range(_MONTHS_AHEAD):
                following = (month + timedelta(days=32)).replace(day=1)
                await connection.exec_driver_sql(
                    f"CREATE TABLE IF NOT EXISTS attempt_{month:%Y_%m} PARTITION OF attempt "
                    f"FOR VALUES FROM ('{month.isoformat()}') TO ('{following.isoformat()}')"
                )
                month = following


@asynccontextmanager
async def _committing(connection: AsyncConnection) -> AsyncIterator[None]:
    try:
        yield
    except BaseException:
        await connection.rollback()
        raise
    await connection.commit()


def in_trouble(error: Exception) -> bool:
    """Whether the database itself cannot work at the moment (gone, full, read-only, overloaded), as
    opposed to refusing what it was given."""
    if isinstance(error, OSError | TimeoutError | sa.exc.TimeoutError):
        return True
    if not isinstance(error, sa.exc.DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    if (code := getattr(error.orig, "sqlite_errorcode", None)) is not None:
        return code & 0xFF in _SQLITE_TROUBLE
    return str(getattr(error.orig, "sqlstate", None))[:2] in _POSTGRES_TROUBLE


def _sqlite_settings(connection: Any, record: object) -> None:
    # The driver must not begin transactions on its own: `begin` does, with the write lock.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON"):
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA {pragma}")
        cursor.close()


def migrations_folder() -> Path:
    """The migrations: packaged beside this module, or in the source tree."""
    packaged = Path(__file__).resolve().parent / "_migrations"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / "migrations"


def alembic_config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    config.attributes["url"] = url
    return config


def _keep_private(url: str) -> None:
    """A new SQLite file is its owner's only: it holds people, and phones' passwords. What SQLite
    puts beside it gets the same rights."""
    found = sa.make_url(url)
    name = found.database or ""
    if found.get_backend_name() == "sqlite" and name and not name.startswith((":memory:", "file:")):
        with contextlib.suppress(OSError):  # which SQLite tells better
            os.close(os.open(name, os.O_RDONLY | os.O_CREAT, 0o600))


def upgrade(url: str) -> None:
    """Bring the database's tables up to date. Blocking: run it in a thread."""
    _keep_private(url)
    command.upgrade(alembic_config(url), "head")
