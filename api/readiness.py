"""What /readyz says: each part's state, looked at when it is asked.

`ok`; `degraded: ...` when work goes on all the same; anything else is why this process cannot do
its work. docs/operations.md says of each what it means and what to do.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa
import structlog
from alembic.script import ScriptDirectory

from api.watchdog import Watchdog
from api.watched import WatchedTasks
from dialer.engine.heartbeat import Heartbeat
from dialer.engine.lines import Lines
from dialer.jobs.recordings import RecordingMover
from dialer.live.bus import Bus
from dialer.store.database import Database, alembic_config
from telephony.ami import AmiSwitch
from telephony.clock import Clock
from telephony.nodes import Switchboard

log = structlog.get_logger(__name__)

_DATABASE = 2.0  # s the database may take to answer
SKEW = 2.0  # s between two clocks that matter: times of calls begin to contradict each other
WRONG = 60.0  # s by which a clock is plainly wrong: calling hours are judged by it
_LOOK = 15.0  # s between looks for the metrics
_DISK = 2.0  # s a disk may take to say how full it is
_STALL = 0.5  # s of lag that people who wait for an agent notice


class PoolChecks(Protocol):
    """What the pools say of themselves."""

    async def checks(self) -> dict[str, str]: ...

    def all_owned(self) -> bool: ...


class Readiness:
    """The checks of one process."""

    def __init__(
        self,
        *,
        database: Database,
        bus: Bus,
        switchboard: Switchboard,
        switches: Mapping[str, AmiSwitch],
        lines: Lines,
        pools: PoolChecks,
        mover: RecordingMover,
        tasks: WatchedTasks,
        heartbeat: Heartbeat,
        watchdog: Watchdog,
        folders: Mapping[str, Path],
        least_free: int,
        clock: Clock,
    ) -> None:
        """`folders`: what is written to, by what it is for; `least_free`: bytes each should have
        free."""
        self._db, self._bus, self._switchboard = database, bus, switchboard
        self._switches, self._lines, self._pools, self._tasks = switches, lines, pools, tasks
        self._mover = mover
        self._heartbeat, self._watchdog = heartbeat, watchdog
        self._folders, self._least_free, self._clock = folders, least_free, clock
        self._looking: asyncio.Future[dict[str, str]] | None = None
        self.last: Mapping[str, str] = {}  # what was found at the last look
        self.stopping = False
        self._newest = ScriptDirectory.from_config(alembic_config("")).get_current_head() or ""

    async def checks(self) -> dict[str, str]:
        """Each part's state."""
        found = {"process": "stopping"} if self.stopping else {}
        found |= await self._database()
        found["redis"] = self._redis()
        # Calls go on: recordings wait where they are until there is room for them.
        moved = self._mover.state
        found["recordings"] = moved if moved == "ok" else f"degraded: {moved}"
        found.update(self._nodes())
        found["trunks"] = self._trunks()
        found.update(await self._pools.checks())
        found["tasks"] = self._tasks.hold() or "ok"
        found.update({f"task {name}": why for name, why in self._tasks.dead.items()})
        found["loop"] = self._loop()
        found.update(await self._disks())
        self.last = found
        return found

    async def keep(self) -> None:
        """Look again and again, for the metrics, until cancelled."""
        while True:
            try:
                await self.checks()
            except Exception:  # a check that cannot be made is no reason to stop looking
                log.exception("not looked at", action="checks_failed")
                self.last = {"checks": "failed"}
            await asyncio.sleep(_LOOK)

    async def _database(self) -> dict[str, str]:
        """The database, its tables, and its clock against ours."""
        try:
            async with asyncio.timeout(_DATABASE):
                await self._db.check()
        except Exception as error:
            away = type(error).__name__
            return {"database": away, "migrations": "unknown", "clock": "unknown"}
        try:
            async with asyncio.timeout(_DATABASE):
                there, skew = await revision(self._db), await skew_of(self._db, self._clock)
        except Exception as error:
            return {"database": "ok", "migrations": type(error).__name__, "clock": "unknown"}
        return {
            "database": "ok",
            "migrations": judge_revision(there, newest=self._newest),
            "clock": judge_skew(skew, "the database's"),
        }

    def _redis(self) -> str:
        """A node that owns every pool does all its work without Redis."""
        if self._bus.state != "ok" and self._pools.all_owned():
            return f"degraded: {self._bus.state}"
        return self._bus.state

    def _nodes(self) -> dict[str, str]:
        down = self._switchboard.down()
        names = self._switchboard.names
        any_up = bool(names) and len(down) < len(names)
        found = {"nodes": "ok" if any_up else "no Asterisk node is up"}
        for name in names:
            found[f"node {name}"] = self._node(name, down=name in down, others=any_up)
        return found

    def _node(self, name: str, *, down: bool, others: bool) -> str:
        switch = self._switches.get(name)
        if down:
            why = (switch.link.last_error if switch is not None else "") or "the link is down"
            return f"degraded: {why}" if others else why
        if switch is None:
            return "ok"
        for link in switch.links:
            if not link.up:
                return f"degraded: {link.name}: {link.last_error or 'the link is down'}"
        return judge_skew(switch.skew, "the node's")

    def _trunks(self) -> str:
        trunks = self._lines.describe()
        broken = [f"{t['name']}: {t['reason']}" for t in trunks if t["breaker"] == "open"]
        if not trunks:
            return "degraded: none is set, nobody can be called"
        if not broken:
            return "ok"
        return ("degraded: " if len(broken) < len(trunks) else "") + "; ".join(broken)

    def _loop(self) -> str:
        if not self._watchdog.alive:
            return "the watchdog thread is dead"
        worst = self._heartbeat.worst()
        return "ok" if worst < _STALL else f"degraded: stood still for {worst:.1f} s a moment ago"

    async def _disks(self) -> dict[str, str]:
        """In a thread, and one at a time: a network disk that hangs must hang nothing else."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(asyncio.to_thread(self._look_at_disks))
        await asyncio.wait({self._looking}, timeout=_DISK)
        if not self._looking.done():
            return {f"disk {what}": "does not answer" for what in self._folders}
        return self._looking.result()

    def _look_at_disks(self) -> dict[str, str]:
        return {f"disk {what}": disk(at, self._least_free) for what, at in self._folders.items()}


def folders_written(
    url: str, recordings_url: str, node_folders: Sequence[tuple[str, Path | None]]
) -> dict[str, Path]:
    """Folders on our disks that must not be full, by what they are for."""
    found: dict[str, Path] = {}
    file = sa.make_url(url).database
    if url.startswith("sqlite") and file:
        found["of the database"] = Path(file).absolute().parent
    if recordings_url.startswith("file://"):
        found["of recordings"] = Path(recordings_url.removeprefix("file://"))
    found |= {f"of node {name}": folder for name, folder in node_folders if folder is not None}
    return found


def disk(folder: Path, least_free: int) -> str:
    """Whether it can be written and has room; blocking."""
    try:
        room = os.statvfs(folder)
    except OSError as error:
        return f"{folder}: {error.strerror}"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"{folder} cannot be written"
    free = room.f_bavail * room.f_frsize
    if free < least_free:
        return f"{folder}: {free >> 20} MB free, {least_free >> 20} MB wanted"
    return "ok"


async def revision(database: Database) -> str:
    """The migration that the database is at."""
    async with database.engine.connect() as connection:
        return str(await connection.scalar(sa.text("SELECT version_num FROM alembic_version")))


def judge_revision(there: str, *, newest: str) -> str:
    """A database may be newer than the program (one node upgraded before the other), not older."""
    if there == newest:
        return "ok"
    known = {step.revision for step in ScriptDirectory.from_config(alembic_config(""))
             .walk_revisions()}  # fmt: skip
    if there in known:
        return f"at {there}, not {newest}: run `dialer migrate`"
    return f"degraded: at {there}, newer than this program"


async def skew_of(database: Database, clock: Clock) -> float:
    """Seconds by which the database's clock is ahead of ours."""
    async with database.engine.connect() as connection:
        await connection.execute(sa.select(1))  # the connection is there: only the way counts
        before = clock.now().timestamp()
        theirs = float(await connection.scalar(sa.select(database.seconds)) or 0.0)
        return theirs - (before + clock.now().timestamp()) / 2


def judge_skew(ahead: float, whose: str) -> str:
    if abs(ahead) < SKEW:
        return "ok"
    how = f"{whose} clock is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} ours"
    return how if abs(ahead) >= WRONG else f"degraded: {how}"
