"""Commands between processes, over Redis pub/sub: never queued, never delivered twice.

Redis says how many listen to a pool's channel, so a pool without an owner is known at once. Beside
a command goes a ticket, a key that ends by itself at the command's deadline. Whoever takes the
ticket away has the command: one owner, even while an old one has not noticed that there is a new
one, or the caller who gives it up. Where the ticket is gone nothing is carried out: so not after
the deadline, whatever stood still on the way (this process, Redis, the owner) and whoever died.
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

_GRACE = 0.25  # s beyond the time-out in which the owner's own time-out may arrive
_WITHDRAWAL = 1.0  # s beyond that in which the caller takes its ticket back


def _channel(pool_id: UUID) -> str:
    return f"{PREFIX}pool:{pool_id}"


def _ticket(number: str) -> str:
    return f"{PREFIX}command:{number}"


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
        try:
            until = await self._deadline(timeout)
        except BROKEN as error:
            detail = f"{command}: {name_of(error)} on the bus"
            raise Unavailable(f"{detail}; it was not carried out") from None
        request = {
            "id": number, "to": self._replies, "command": command, "payload": payload,
            "timeout": timeout,
        }  # fmt: skip
        answered = asyncio.get_running_loop().create_future()
        self._waiting[number] = answered
        try:
            if not await self._send(pool_id, number, request, until=until):
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
            withdrawn = await self._take(number)
        except BROKEN:
            withdrawn = False
        if withdrawn:
            return Unavailable(f"{detail}; it was not carried out")
        return Unavailable(f"{detail}; it may have been carried out", uncertain=True)

    async def _deadline(self, timeout: float) -> int:
        """When a command of now is over, in ms by the clock of Redis, which alone keeps it."""
        seconds, micros = await answer(self._client.time())
        lasts = timeout + _GRACE + _WITHDRAWAL
        return int(seconds) * 1000 + int(micros) // 1000 + int(lasts * 1000)

    async def _send(
        self, pool_id: UUID, number: str, request: Mapping[str, Any], *, until: int
    ) -> bool:
        """Ticket and command in one; whether anybody listens."""
        async with self._client.pipeline(transaction=True) as both:
            both.set(_ticket(number), 1, pxat=until)
            both.publish(_channel(pool_id), orjson.dumps(request, default=str))
            _, listening = await answer(both.execute())
        return int(listening) > 0

    async def _take(self, number: str) -> bool:
        """Whether the ticket was still there; it is not any more."""
        return bool(await answer(self._client.delete(_ticket(number))))

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
        """Take the ticket, carry out, answer; an answer that cannot be sent is the caller's
        time-out."""
        try:
            if not await self._take(request["id"]):
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
