"""What the engine may still do: everything while the pool is its own, nothing afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from dialer.domain.errors import Unavailable
from dialer.engine.lease import LeaseKeeper
from dialer.engine.writer import BatchWriter
from telephony.nodes import Switchboard
from telephony.switch import NotSent, Switch


class Gate:
    """Asked before anything leaves the engine."""

    def __init__(self, lease: LeaseKeeper, writer: BatchWriter, switchboard: Switchboard) -> None:
        self._lease, self._writer, self._switchboard = lease, writer, switchboard
        self.stopping = False
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
        return self._writer.healthy and self._lease.held and not self.stopping

    def switch(self, node: str) -> Switch:
        """The node's switch; raises NotSent when the pool is not ours (or there is no node)."""
        if not self._lease.held:
            raise NotSent("the pool is not ours any more")
        return self._switchboard.switch(node)

    def check(self, *, placing: bool) -> None:
        """Raise Unavailable when a command (one that places a call) cannot be carried out."""
        if not self._lease.held:
            raise Unavailable("the pool has another owner")
        if placing and not self.open:
            raise Unavailable("no calls can be placed at the moment")
