"""Commands to the owner of a pool: from a websocket or a route to the engine that decides.

In one process the engine is called directly; nothing queues between an agent and their engine.
A command is carried out once or not at all: nothing here is ever sent a second time.
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
    """Where commands go. Payloads and answers are what JSON can carry."""

    async def call(
        self, pool_id: UUID, command: str, payload: Mapping[str, Any], *, timeout: float = 5.0
    ) -> Mapping[str, Any]:
        """The owner's answer; raises its DialerError, or Unavailable without an owner or an answer
        in time (s)."""
        ...

    async def serve(self, pool_id: UUID, handler: Handler) -> Release:
        """Answer this pool's commands until the returned function is called."""
        ...

    async def reaches(self, pool_id: UUID) -> bool:
        """Whether anybody answers this pool's commands at the moment."""
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
            raise no_owner(pool_id)
        return await carry_out(handler, command, payload, timeout=timeout)

    async def serve(self, pool_id: UUID, handler: Handler) -> Release:
        self._handlers[pool_id] = handler

        async def release() -> None:
            if self._handlers.get(pool_id) is handler:
                del self._handlers[pool_id]

        return release

    async def reaches(self, pool_id: UUID) -> bool:
        return self.here(pool_id) is not None

    def here(self, pool_id: UUID) -> Handler | None:
        """The handler, when the pool's owner is in this process."""
        return self._handlers.get(pool_id)


def no_owner(pool_id: UUID) -> Unavailable:
    return Unavailable("no engine runs this pool at the moment", pool=str(pool_id))


async def carry_out(
    handler: Handler, command: str, payload: Mapping[str, Any], *, timeout: float
) -> Mapping[str, Any]:
    """Run a handler for `timeout` seconds at most; raises Unavailable after that."""
    try:
        async with asyncio.timeout(timeout) as limit:
            return await handler(command, payload)
    except TimeoutError:
        if not limit.expired():
            raise
        raise Unavailable(f"{command} was not answered within {timeout} s") from None
