"""An engine for every pool in the database, also for those that come while the process runs.

Each node keeps one for each pool; the lease decides which of them works, the others stand in line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import structlog

from api.watched import WatchedTasks
from dialer.engine.pool import PoolEngine
from dialer.engine.writer import LeftBehind
from dialer.live.gateway import CommandGateway
from dialer.store import admin
from dialer.store.database import Database, in_trouble
from telephony.nodes import Switchboard

log = structlog.get_logger(__name__)

POOLS = "pools"  # the signal that there is a new one
FREED = "pool-freed"  # the signal that somebody gave one up
_LOOK = 5.0  # s between looks for new pools; a signal makes it at once
_TAKEN = 10.0  # s in which another node must have taken a pool that was left to it
_ASK = 0.1  # s between looks whether it has
_AGAIN = 1.0  # s between a lost lease and the next place in line


async def _nobody() -> int:
    return 0


class Pools:
    """The engines of this node. `changed` may be called at any time."""

    def __init__(
        self,
        database: Database,
        *,
        gateway: CommandGateway,
        switchboard: Switchboard,
        make: Callable[[UUID, LeftBehind], PoolEngine],
        tasks: WatchedTasks,
        signal: Callable[[str], None] = lambda name: None,
        others: Callable[[], Awaitable[int]] = _nobody,
    ) -> None:
        self._db, self._gateway, self._switchboard = database, gateway, switchboard
        self._make, self._tasks, self._signal = make, tasks, signal
        self._others = others
        self._known: dict[UUID, asyncio.Task[None]] = {}
        self._stopping = False
        self._last_reason: dict[UUID, str] = {}  # why the engine before this one stopped
        self._wake = asyncio.Event()
        self.engines: dict[UUID, PoolEngine] = {}

    def changed(self) -> None:
        """Look now."""
        self._wake.set()

    def freed(self) -> None:
        """A pool was given up: whoever stands in line asks now."""
        for engine in self.engines.values():
            engine.lease.freed()

    async def look(self) -> None:
        """Start an engine for each pool that has none."""
        async with self._db.begin() as connection:
            rows = await admin.pools(connection)
        for row in rows:
            pool_id = row["id"]
            if pool_id not in self._known and not self._stopping:
                self._known[pool_id] = self._tasks.start(f"pool {pool_id}", self._run(pool_id))

    async def keep(self) -> None:
        """Look for new pools until cancelled."""
        while True:
            try:
                await self.look()
            except Exception as error:  # the database is away: the next look comes
                log.warning("pools not read", action="pools_not_read", error=repr(error))
            try:
                async with asyncio.timeout(_LOOK):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    async def _run(self, pool_id: UUID) -> None:
        """An engine for one pool; after a lost lease it stands in line for the next one."""
        inherited = LeftBehind(0)
        while not self._stopping:
            engine = self.engines[pool_id] = self._make(pool_id, inherited)
            self._switchboard.listen(engine.on_event)
            try:
                await engine.start()
                await engine.stopped.wait()
                log.error("engine stopped", action="engine_stopped", reason=engine.stop_reason)
            except asyncio.CancelledError:
                await engine.abandon()
                raise
            except Exception as error:
                # Every second while the database is away: a traceback says no more about that.
                trace = None if in_trouble(error) else error
                log.error(
                    "engine failed at start",
                    action="engine_start_failed",
                    error=repr(error),
                    exc_info=trace,
                )
                await engine.abandon()
            finally:
                self._switchboard.unlisten(engine.on_event)
            if engine.died:
                self._tasks.deaths[f"engine {engine.died}"] += 1
            self._last_reason[pool_id] = engine.stop_reason
            inherited = engine.left_behind
            await asyncio.sleep(_AGAIN)
        await asyncio.Event().wait()  # until cancelled

    def owned(self, pool_id: UUID) -> bool:
        engine = self.engines.get(pool_id)
        return engine is not None and engine.ready.is_set() and engine.lease.held

    def all_owned(self) -> bool:
        """Whether this node needs no other for any pool."""
        return all(self.owned(pool_id) for pool_id in self._known)

    async def checks(self) -> dict[str, str]:
        """Each pool: `ok` when it is owned, here or by somebody who answers."""
        found = {}
        for pool_id in sorted(self._known):
            engine = self.engines.get(pool_id)
            good = self.owned(pool_id) or (
                # Ours is in line, so whoever answers is another node.
                (engine is None or engine.lease.lease is None)
                and await self._gateway.reaches(pool_id)
            )
            found[f"pool {pool_id}"] = self._state(pool_id) if good else self._reason(pool_id)
        return found or {"pools": "there are none yet"}

    def _state(self, pool_id: UUID) -> str:
        """Of a pool that has an owner: the engine's own word when that is ours."""
        if not self.owned(pool_id):
            return "ok"
        why = self.engines[pool_id].gate.why
        return f"places no calls: {why}" if why else "ok"

    def _reason(self, pool_id: UUID) -> str:
        engine = self.engines.get(pool_id)
        reason = engine.stop_reason if engine is not None else ""
        before = self._last_reason.get(pool_id, "")
        return reason or (f"not owned; before: {before}" if before else "not owned")

    async def stop(self) -> None:
        """Leave the lines stood in. Pools that are ours are left to other nodes, as they are, where
        there are any; else their engines are drained and everybody is signed out."""
        self._stopping = True
        working = [engine for engine in self.engines.values() if engine.ready.is_set()]
        for pool_id, task in self._known.items():
            if self.engines.get(pool_id) not in working:
                await self._tasks.end(task)
        end = self._leave if working and await self._others() else self._drain
        await asyncio.gather(*(end(engine) for engine in working))

    async def _drain(self, engine: PoolEngine) -> None:
        await engine.stop()

    async def _leave(self, engine: PoolEngine) -> None:
        await engine.leave()
        self._signal(FREED)
        if await self._taken(engine.pool_id):
            log.info("pool taken by another node", action="pool_left", pool=str(engine.pool_id))
            return
        log.error("nobody took the pool", action="pool_not_taken", pool=str(engine.pool_id))
        last = self._make(engine.pool_id, engine.left_behind)
        self._switchboard.listen(last.on_event)
        try:
            async with asyncio.timeout(_TAKEN):
                await last.start()
        except Exception as error:  # somebody has it after all, or nobody can
            log.warning("pool not taken back", action="pool_not_back", error=repr(error))
            await last.abandon()
        else:
            await last.stop()
        finally:
            self._switchboard.unlisten(last.on_event)

    async def _taken(self, pool_id: UUID) -> bool:
        """Whether another node answers for the pool before long: it may be stopping too."""
        try:
            async with asyncio.timeout(_TAKEN):
                while not await self._gateway.reaches(pool_id):
                    if not await self._others():
                        return False
                    await asyncio.sleep(_ASK)
        except TimeoutError:
            return False
        return True
