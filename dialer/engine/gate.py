"""What the engine may still do: everything while the pool is its own, nothing afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dialer.domain.errors import Unavailable
from dialer.engine.heartbeat import Heartbeat
from dialer.engine.lease import LeaseKeeper
from dialer.engine.writer import BatchWriter
from telephony.nodes import Switchboard
from telephony.switch import NotSent, Switch


class Gate:
    """Asked before anything leaves the engine."""

    def __init__(
        self,
        lease: LeaseKeeper,
        writer: BatchWriter,
        switchboard: Switchboard,
        *,
        heartbeat: Heartbeat,
        hold: Callable[[], str],
    ) -> None:
        """`hold`: why this process may place no calls at all; '' while it may."""
        self._lease, self._writer, self._switchboard = lease, writer, switchboard
        self._heartbeat, self._hold = heartbeat, hold
        self.stopping = False
        self.leaving = False  # all is told: nothing may change any more
        self.stale = ""  # what makes us doubt what we know
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Around work that takes leads or places calls: a stop waits for what has begun."""
        self._busy += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._busy -= 1
            if not self._busy:
                self._idle.set()

    async def idle(self) -> None:
        """Return when nothing of that kind is under way."""
        await self._idle.wait()

    @property
    def open(self) -> bool:
        """New calls may be placed."""
        return not self.why

    @property
    def why(self) -> str:
        """Why no calls may be placed at the moment; '' while they may."""
        if why := self.doubt:
            return why
        if self.stopping:
            return "stopping"
        if not self._lease.held:
            return "the pool is not ours any more"
        return "" if self._writer.healthy else "the database does not take what is written"

    @property
    def doubt(self) -> str:
        """Why not even a call that is committed already may leave; '' while it may."""
        self._heartbeat.look()
        return self.stale or self._hold()

    def switch(self, node: str) -> Switch:
        """The node's switch; raises NotSent when the pool is not ours (or there is no node)."""
        if not self._lease.held:
            raise NotSent("the pool is not ours any more")
        return self._switchboard.switch(node)

    def check(self, *, placing: bool) -> None:
        """Raise Unavailable when a command (one that places a call) cannot be carried out."""
        if not self._lease.held:
            raise Unavailable("the pool has another owner")
        if self.leaving:
            raise Unavailable("the pool is being handed to another dialer")
        if placing and not self.open:
            raise Unavailable(f"no calls can be placed at the moment: {self.why}")
