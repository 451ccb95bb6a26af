"""What pacing decided is of use for some weeks; what is older goes, a few thousand at a time."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from dialer.store.database import Database
from dialer.store.past import prune_decisions
from telephony.clock import Clock

log = structlog.get_logger(__name__)

_HOUR = 3600.0
_BREATH = 0.2  # s between two parts: calls are written meanwhile


async def keep_decisions(database: Database, *, days: float, clock: Clock) -> None:
    """Once an hour until cancelled; a database that is away is asked again an hour later."""
    while True:
        try:
            await prune_old(database, days=days, clock=clock)
        except Exception:
            log.exception("old decisions stay", action="prune_failed")
        await asyncio.sleep(_HOUR)


async def prune_old(database: Database, *, days: float, clock: Clock) -> None:
    """Delete all that is older by now."""
    while True:
        async with database.begin() as connection:
            gone = await prune_decisions(connection, before=clock.now() - timedelta(days=days))
        if not gone:
            return
        await asyncio.sleep(_BREATH)
