"""`dialer doctor`: is everything there that a call needs, and if not, what to do about it.

It only looks, unless it is told to repair; then it does what is safe: what it would hang up or
give back it has asked for twice, and a call in conversation is never touched.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from api.cli.doctor import asterisk, database, places
from api.cli.doctor.findings import Finding, problem
from api.settings import Settings
from dialer.store.database import Database
from telephony.clock import Clock, SystemClock

__all__ = ["Finding", "examine", "report"]


async def examine(
    settings: Settings, *, repair: bool = False, clock: Clock | None = None
) -> AsyncIterator[Finding]:
    """All checks, one after the other; without `repair` nothing is left changed."""
    clock, store = clock or SystemClock(), Database(settings.database_url)
    try:
        answers = True
        async for finding in database.reachable(settings, store):
            answers = answers and finding.good
            yield finding
        if answers:
            async for finding in database.state(settings, store, clock=clock, repair=repair):
                yield finding
        yield await places.redis(settings)
        for finding in await asyncio.to_thread(lambda: list(places.disks(settings))):
            yield finding
        yield await asyncio.to_thread(places.storage, settings)
        if not settings.nodes:
            yield problem(
                "nodes",
                "no Asterisk node is set: the API runs, but nothing is dialed",
                "set DIALER_NODES (docs/configuration.md)",
            )
        for node in settings.nodes:
            for finding in await asyncio.to_thread(lambda n=node: list(places.node_files(n))):  # type: ignore[misc]
                yield finding
            async for finding in asterisk.node(
                settings, node, database=store if answers else None, clock=clock, repair=repair
            ):
                yield finding
        if settings.nodes and not settings.trunks:
            yield problem(
                "trunks",
                "no trunk is set: agents can sign in, nobody can be called",
                "set DIALER_TRUNKS (docs/configuration.md)",
            )
    finally:
        await store.close()


def report(settings: Settings, *, as_json: bool, repair: bool) -> bool:
    """Print each finding as it comes; whether no problem is left."""

    async def inside() -> bool:
        good = True
        async for finding in examine(settings, repair=repair):
            good = good and finding.good
            line = json.dumps(finding.as_json()) if as_json else finding.lines()
            print(line, flush=True)
        return good

    return asyncio.run(inside())
