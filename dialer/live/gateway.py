"""Commands to the owner of a pool: from a websocket or a route to the engine that decides.

In one process the engine is called directly; nothing queues between an agent and their engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol
from uuid import UUID

from dialer.domain.errors import Unavailable

Handler = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
Release = Callable[[], Awaitable[None]]


class CommandGateway(Protocol):
    """Where commands go."""

    async def call(
        self, pool_id: UUID, command: str, payload: Mapping[str, Any], *, timeout: float = 5.0
    ) -> Mapping[str, Any]:
        """The owner's answer; raises its DialerError, or Unavailable without an owner."""
        ...

    async def serve(self, pool_id: UUID, handler: Handler) -> Release:
        """Answer this pool's commands until the returned function is called."""
        ...


class LocalGateway:
    """The gateway of a single process."""

    def __init__(self) -> None:
        self._handlers: dict[UUID, Handler] = {}

    async def call(
        self, pool_id: UUID, command: str, payload: Mapping[str, Any], *, timeout: float = 5.0
    ) -> Mapping[str, Any]:
        handler = self._handlers.get(pool_id)
        if handler is None:
            raise Unavailable("no engine runs this pool at the moment", pool=str(pool_id))
        try:
            return await asyncio.wait_for(handler(command, payload), timeout)
        except TimeoutError:
            raise Unavailable(f"{command} was not answered within {timeout} s") from None

    async def serve(self, pool_id: UUID, handler: Handler) -> Release:
        self._handlers[pool_id] = handler

        async def release() -> None:
            if self._handlers.get(pool_id) is handler:
                del self._handlers[pool_id]

        return release
