"""The database: there, up to date, in step with our clock, and holding nothing that is stuck."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa
from alembic.script import ScriptDirectory

from api.cli.doctor.findings import Finding, note, ok, problem, repaired
from api.readiness import SKEW, judge_revision, revision, skew_of
from api.settings import Settings
from dialer.domain.ids import id_source
from dialer.store import stuck
from dialer.store.database import Database, alembic_config
from dialer.store.pool_store import SqlPoolStore
from telephony.clock import Clock

_SECONDS = 5.0
AGAIN = 2.0  # s between two looks: what is only on its way is gone at the second
_LONG = timedelta(hours=4)  # no call lasts so long
_FULL = 0.9  # of the connections the database allows
_WAITING = timedelta(hours=1)  # recordings are moved within minutes


async def reachable(settings: Settings, database: Database) -> AsyncIterator[Finding]:
    """Whether it answers and its tables are those of this program; the last finding is bad when
    nothing else can be asked of it."""
    shown = sa.make_url(settings.database_url).render_as_string(hide_password=True)
    try:
        async with asyncio.timeout(_SECONDS):
            await database.check()
        yield ok("database", f"{shown} answers")
        newest = ScriptDirectory.from_config(alembic_config("")).get_current_head() or ""
        async with asyncio.timeout(_SECONDS):
            there = await revision(database)
        verdict = judge_revision(there, newest=newest)
        if verdict == "ok":
            yield ok("migrations", f"at {there}")
        elif verdict.startswith("degraded"):
            yield note("migrations", verdict.removeprefix("degraded: "), "upgrade this program")
        else:
            yield problem("migrations", f"at {there}, not {newest}", "run `dialer migrate`")
    except sa.exc.DatabaseError as error:
        if "alembic_version" in str(error):
            yield problem("migrations", "the database is empty", "run `dialer migrate`")
        else:
            yield problem(
                "database",
                f"{shown}: {type(error.orig).__name__}",
                "check DIALER_DATABASE: address, user, password, rights",
            )
    except (OSError, TimeoutError) as error:
        yield problem(
            "database",
            f"{shown} does not answer: {type(error).__name__}",
            "start it, or correct DIALER_DATABASE",
        )


async def state(
    settings: Settings, database: Database, *, clock: Clock, repair: bool
) -> AsyncIterator[Finding]:
    """Everything that is looked for in a database that answers."""
    yield await _clock(database, clock)
    async for finding in _postgres(database, clock):
        yield finding
    async for finding in _leases(settings, database, clock=clock, repair=repair):
        yield finding
    async for finding in _leads(database, repair=repair):
        yield finding
    async for finding in _recordings(database, clock):
        yield finding


async def _clock(database: Database, clock: Clock) -> Finding:
    skew = await skew_of(database, clock)
    if abs(skew) < SKEW:
        return ok("clock of the database", f"{abs(skew):.2f} s from ours")
    return problem(
        "clock of the database",
        f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} ours",
        "run an NTP service on both machines: calling hours and call records depend on the clock",
    )


async def _postgres(database: Database, clock: Clock) -> AsyncIterator[Finding]:
    used = await stuck.connections(database)
    if used is None:
        return
    share = f"{used[0]} of {used[1]} connections in use"
    if used[0] < _FULL * used[1]:
        yield ok("connections", share)
    else:
        yield problem(
            "connections", share, "raise max_connections: 7 for each dialer node are needed"
        )
    missing = await stuck.missing_partitions(database, clock.now())
    if missing:
        yield problem(
            "partitions",
            f"{', '.join(missing)} missing: no call can be written in that month",
            "a running dialer makes them once a day: look for `partitions_failed` in its log",
        )
    else:
        yield ok("partitions", "this month and the next are there")


async def _leases(
    settings: Settings, database: Database, *, clock: Clock, repair: bool
) -> AsyncIterator[Finding]:
    """Pools, their owners, and the calls and leads of those that have none."""
    async with database.read() as connection:
        attempts = await stuck.open_attempts(connection)
        hopper = await stuck.in_the_hopper(connection)
    rows = await stuck.leases(database)
    if not rows:
        yield note("pools", "there are none yet", "`dialer setup` makes the first client")
    for row in rows:
        name = f"pool {row.pool_id}"
        count, oldest = attempts.get(row.pool_id, (0, None))
        if row.held:
            yield ok(name, f"owned by {row.owner}, {count} calls under way")
            if oldest is not None and clock.now() - oldest > _LONG:
                yield problem(
                    f"calls of {name}",
                    f"a call has been under way since {oldest:%Y-%m-%d %H:%M} UTC",
                    "if its channel is gone (see the nodes), restart the owner: it reconciles",
                )
            continue
        since = f"for {-row.left:.0f} s" if row.owner else "it was given up"
        waiting = hopper.get(row.pool_id, 0)
        told = f"nobody owns it ({since}); {count} open calls, {waiting} leads in the hopper"
        if count:
            yield problem(
                name, told, "start a dialer: it concludes the calls from Asterisk's records"
            )
        else:
            yield note(name, told, "start a dialer, and look why its log has no `lease_acquired`")
        if waiting and repair and not count:
            yield await _return_hopper(settings, database, row.pool_id, clock=clock)


async def _return_hopper(
    settings: Settings, database: Database, pool_id: UUID, *, clock: Clock
) -> Finding:
    """As the next engine would: under a lease of our own, so that no engine can work meanwhile."""
    check = f"leads of pool {pool_id}"
    store = SqlPoolStore(database, new_id=id_source(clock), region=settings.region)
    lease = await store.acquire(pool_id, owner="doctor", seconds=settings.lease_seconds)
    if lease is None:
        return note(check, "an engine has taken the pool over in this moment: left to it")
    try:
        count = await store.unclaim_all(lease)
    finally:
        await store.release(lease)
    return repaired(check, f"{count} leads went back from a hopper that nobody has")


async def _leads(database: Database, *, repair: bool) -> AsyncIterator[Finding]:
    async def look() -> tuple[frozenset[UUID], int, frozenset[UUID]]:
        async with database.read() as connection:
            return (
                await stuck.stale_reservations(connection),
                (await stuck.in_the_hopper(connection)).get(None, 0),
                frozenset(await stuck.dialing_without_attempt(connection)),
            )

    stale, unreserved, lost = await look()
    if stale or unreserved or lost:
        await asyncio.sleep(AGAIN)
        again = await look()
        stale, unreserved, lost = stale & again[0], min(unreserved, again[1]), lost & again[2]
    if not stale:
        yield ok("reservations", "none is stale")
    elif repair:
        count = await stuck.release_reservations(database, stale)
        yield repaired(
            "reservations", f"{len(stale)} leads' people may be called again ({count} reservations)"
        )
    else:
        yield problem(
            "reservations",
            f"{len(stale)} leads keep their person from being called, and nobody calls them",
            "`dialer doctor --repair` releases them",
        )
    if unreserved and repair:
        count = await stuck.return_unreserved(database)
        yield repaired("hopper", f"{count} leads went back from a hopper that nobody has")
    elif unreserved:
        yield problem(
            "hopper",
            f"{unreserved} leads are in a hopper and reserved by nobody: they are never called",
            "`dialer doctor --repair` puts them back",
        )
    else:
        yield ok("hopper", "every lead in it is reserved")
    if lost:
        yield problem(
            "leads",
            f"{len(lost)} are said to be called and no call knows them, e.g. {min(lost)}",
            "look at their calls, then set each lead's outcome by hand: the doctor does not guess",
        )
    else:
        yield ok("leads", "each one that is called has its call")


async def _recordings(database: Database, clock: Clock) -> AsyncIterator[Finding]:
    async with database.read() as connection:
        found = await stuck.recordings(connection)
    waiting = [found[state] for state in ("on_node", "copied") if state in found]
    count = sum(n for n, _ in waiting)
    oldest = min((at for _, at in waiting), default=None)
    if oldest is not None and clock.now() - oldest > _WAITING:
        yield problem(
            "recordings waiting",
            f"{count} are not stored yet, the oldest of {oldest:%Y-%m-%d %H:%M} UTC",
            "look for `recording_not_moved` in the log: disk, storage or the node's folder",
        )
    else:
        yield ok("recordings waiting", f"{count} on their way to storage")
    if "damaged" in found:
        yield note(
            "recordings damaged",
            f"{found['damaged'][0]} were not whole on their node",
            "was the node's disk full? Look at `disk of node ...`",
        )
    if "missing" in found:
        yield note(
            "recordings missing",
            f"{found['missing'][0]} were never found in their node's folder",
            "is each node's `recordings` the folder that Asterisk writes to?",
        )
