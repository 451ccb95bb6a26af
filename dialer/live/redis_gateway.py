"""Commands between processes, over Redis pub/sub: never queued, never delivered twice.

Redis says how many listen to a pool's channel, so a pool without an owner is known at once. Before
a command is carried out it is claimed under its id; the caller who waited too long claims it
likewise. Whoever is first wins: a command comes to one owner at most, even while an old owner has
not noticed that there is a new one, and what the caller gave up is not carried out later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import orjson
import structlog
from redis.asyncio import Redis

from dialer.domain.errors import DialerError, Unavailable
from dialer.live.gateway import Handler, LocalGateway, Release, carry_out, no_owner
from dialer.live.redis_link import BROKEN, PREFIX, Listener, answer, name_of

log = structlog.get_logger(__name__)

_CLAIM = 60_000  # ms a claim is remembered; longer than anything lies about in a socket
_GRACE = 0.25  # s beyond the time-out in which the owner's own time-out may arrive


def _channel(pool_id: UUID) -> str:
    return f"{PREFIX}pool:{pool_id}"


class RedisGateway:
    """The gateway of one of several processes. An owner in this process is called directly."""

    def __init__(self, client: Redis, listener: Listener, *, origin: str) -> None:
        self._client, self._listener = client, listener
        self._local = LocalGateway()
        self._replies = f"{PREFIX}replies:{origin}"
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._working: set[asyncio.Task[None]] = set()
        listener.hear(self._replies, self._on_reply)

    async def call(
        self, pool_id: UUID, command: str, payload: Mapping[str, Any], *, timeout: float = 5.0
    ) -> Mapping[str, Any]:
        if self._local.here(pool_id) is not None:
            return await self._local.call(pool_id, command, payload, timeout=timeout)
        if not self._listener.up.is_set():
            raise Unavailable("the bus is down and the pool's engine is elsewhere")
        number = str(uuid4())
        request = {
            "id": number, "to": self._replies, "command": command, "payload": payload,
            "timeout": timeout,
        }  # fmt: skip
        answered = asyncio.get_running_loop().create_future()
        self._waiting[number] = answered
        try:
            heard = await answer(
                self._client.publish(_channel(pool_id), orjson.dumps(request, default=str))
            )
            if not heard:
                raise no_owner(pool_id)
            async with asyncio.timeout(timeout + _GRACE):
                reply = await answered
        except TimeoutError:
            detail = f"{command} was not answered within {timeout} s"
            raise await self._give_up(number, detail) from None
        except BROKEN as error:
            detail = f"{command}: {name_of(error)} on the bus"
            raise await self._give_up(number, detail) from None
        finally:
            del self._waiting[number]
        if "error" in reply:
            raise error_of(reply["error"])
        return dict(reply["answer"])

    async def _give_up(self, number: str, detail: str) -> Unavailable:
        """See to it that the command is not carried out from now on, where that can be done."""
        try:
            withdrawn = await self._claim(number)
        except BROKEN:
            withdrawn = False
        if withdrawn:
            return Unavailable(f"{detail}; it was not carried out")
        return Unavailable(f"{detail}; it may have been carried out", uncertain=True)

    async def _claim(self, number: str) -> bool:
        """Whether nobody else had it before."""
        key = f"{PREFIX}command:{number}"
        return bool(await answer(self._client.set(key, 1, nx=True, px=_CLAIM)))

    async def serve(self, pool_id: UUID, handler: Handler) -> Release:
        release_local = await self._local.serve(pool_id, handler)

        def heard(data: bytes) -> None:
            task = asyncio.get_running_loop().create_task(
                self._work(handler, orjson.loads(data)), name=f"command-{pool_id}"
            )
            self._working.add(task)
            task.add_done_callback(self._working.discard)

        await self._listener.add(_channel(pool_id), heard)

        async def release() -> None:
            await release_local()
            if self._local.here(pool_id) is None:
                await self._listener.remove(_channel(pool_id))

        return release

    async def reaches(self, pool_id: UUID) -> bool:
        if self._local.here(pool_id) is not None:
            return True
        try:
            ((_, count),) = await answer(self._client.pubsub_numsub(_channel(pool_id)))
        except BROKEN:
            return False
        return int(count) > 0

    async def _work(self, handler: Handler, request: Mapping[str, Any]) -> None:
        """Claim, carry out, answer; an answer that cannot be sent is the caller's time-out."""
        try:
            if not await self._claim(request["id"]):
                return
            reply = {"id": request["id"], **await self._outcome(handler, request)}
            await answer(self._client.publish(request["to"], orjson.dumps(reply, default=str)))
        except BROKEN as error:
            log.warning(
                "command not answered",
                action="bus_not_answered",
                command=request["command"],
                error=name_of(error),
            )
        except Exception:
            log.exception("command not understood", action="bus_command_bad")

    async def _outcome(self, handler: Handler, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            done = await carry_out(
                handler, request["command"], request["payload"], timeout=request["timeout"]
            )
            return {"answer": dict(done)}
        except DialerError as error:
            return {"error": wire_of(error)}
        except Exception:
            log.exception("command failed", action="command_failed", command=request["command"])
            return {"error": wire_of(DialerError("the pool's engine failed at this command"))}

    def _on_reply(self, data: bytes) -> None:
        reply = orjson.loads(data)
        future = self._waiting.get(reply["id"])
        if future is not None and not future.done():
            future.set_result(reply)

    async def close(self) -> None:
        """End what is being carried out for others."""
        for task in list(self._working):
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)


def wire_of(error: DialerError) -> dict[str, Any]:
    return {
        "status": error.status, "slug": error.slug, "title": error.title,
        "detail": error.detail, "fields": error.fields,
    }  # fmt: skip


def error_of(wire: Mapping[str, Any]) -> DialerError:
    """The same error on this side; one that this version does not know keeps status and slug."""
    kind = _kinds().get(wire["slug"])
    if kind is None:
        names = {key: wire[key] for key in ("status", "slug", "title")}
        kind = type("RemoteError", (DialerError,), names)
    return kind(wire["detail"], **wire["fields"])


def _kinds() -> dict[str, type[DialerError]]:
    found: dict[str, type[DialerError]] = {}
    todo: list[type[DialerError]] = [DialerError]
    while todo:
        kind = todo.pop()
        if kind.__name__ != "RemoteError":
            found[kind.slug] = kind
            todo += kind.__subclasses__()
    return found
