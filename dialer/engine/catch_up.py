"""After a standstill: no call is placed on what was known before, until it is known anew.

The lease is asked for, each node is asked for its channels (its answer comes after all that it
said meanwhile; a link that was lost meanwhile resynchronises by itself), the configuration is read
again. Calls that are up go on as if nothing had been: their events are heard in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from dialer.domain.errors import LeaseLost
from dialer.engine.gate import Gate
from dialer.engine.lease import LeaseKeeper
from dialer.engine.recovery import Recovery
from dialer.engine.tasks import TaskGroup
from telephony.nodes import Switchboard

log = structlog.get_logger(__name__)

_AGAIN = 0.5  # s between tries


class CatchUp:
    """Closes the gate at a standstill and opens it when everything is known again."""

    def __init__(
        self,
        *,
        gate: Gate,
        lease: LeaseKeeper,
        switchboard: Switchboard,
        recovery: Recovery,
        refresh: Callable[[], Awaitable[None]],
        tasks: TaskGroup,
        ready: asyncio.Event,
        wake: Callable[[], None],
    ) -> None:
        self._gate, self._lease, self._switchboard = gate, lease, switchboard
        self._recovery, self._refresh, self._tasks, self._ready = recovery, refresh, tasks, ready
        self._wake = wake
        self._stalls = 0
        self._task: asyncio.Task[None] | None = None

    def stalled(self, seconds: float) -> None:
        """The process stood still; synchronous, before anything else is decided."""
        if self._lease.lease is None:
            return
        self._stalls += 1
        self._gate.stale = f"stood still for {seconds:.1f} s"
        log.error("stood still", action="engine_stalled", seconds=round(seconds, 3))
        if self._task is None or self._task.done():
            self._task = self._tasks.spawn(self._run(), name="catch-up")

    async def _run(self) -> None:
        await self._ready.wait()  # a start that is under way looks at everything anyway
        while True:
            seen = self._stalls
            try:
                await self._lease.confirm()
                for switch in self._switchboard.up():
                    await self._recovery.node_back(switch.node, await switch.channels())
                await self._refresh()
            except LeaseLost:
                return  # the lease's watch ends the engine
            except Exception as error:  # the database is away, or a link was lost meanwhile
                log.warning("not caught up", action="catch_up_failed", error=repr(error))
                await asyncio.sleep(_AGAIN)
                continue
            if seen == self._stalls:
                break
        self._gate.stale = ""
        log.info("caught up", action="caught_up")
        self._wake()
