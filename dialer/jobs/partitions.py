"""The months of `attempt` ahead of time: without one, no attempt could be written in it."""

from __future__ import annotations

import asyncio

import structlog

from dialer.store.database import Database
from telephony.clock import Clock

log = structlog.get_logger(__name__)

_DAY = 24 * 3600.0
_AGAIN = 600.0  # s after a failure; months ahead are there already


async def keep_partitions(database: Database, *, clock: Clock) -> None:
    """Once a day until cancelled; a database that is away is tried again sooner."""
    while True:
        try:
            await database.make_partitions(clock.now())
        except Exception:
            log.exception("partitions not made", action="partitions_failed")
            await asyncio.sleep(_AGAIN)
        else:
            await asyncio.sleep(_DAY)
