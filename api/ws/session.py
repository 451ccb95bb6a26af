"""What both websockets share: sign-in by the first message, checked input, paced output."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import orjson
import structlog
from fastapi import WebSocket
from pydantic import ValidationError
from starlette.websockets import WebSocketDisconnect

from api.auth import Auth as Authenticator
from api.auth import Caller
from api.problems import describe
from api.ws.messages import Auth, Command
from dialer.domain.errors import DialerError, Invalid, Unauthenticated
from dialer.live.feed import Message, Missed, Seq, SlowSubscriber, Subscription
from telephony.clock import Clock

log = structlog.get_logger(__name__)

_AUTH_SECONDS = 5.0
_SEND_SECONDS = 10.0  # what a reader may stand still
_CLOSE_SECONDS = 1.0
STANDING_SECONDS = 30.0  # between looks whether the account still stands
_OWNERLESS_SECONDS = 1.0  # between tries to get a snapshot
_MOST_BYTES = 64 * 1024
POLICY, TRY_AGAIN, GONE = 1008, 1013, 4000


class Closed(Exception):
    """The socket is to be closed with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


async def receive(socket: WebSocket) -> Any:
    """One JSON message; raises Closed for what is none."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    text = message.get("text")
    if text is None or len(text) > _MOST_BYTES:
        raise Closed(POLICY, "expected a JSON text of at most 64 KiB")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Closed(POLICY, "expected JSON") from None


async def sign_in(socket: WebSocket, auth: Authenticator) -> tuple[Caller, str, Seq | None]:
    """The caller and token of the first message, and where they left off; raises Closed."""
    try:
        async with asyncio.timeout(_AUTH_SECONDS):  # wait_for can lose a cancellation on 3.11
            raw = await receive(socket)
        message = Auth.model_validate(raw)
        who = await auth.authenticate(message.token)
        return who, message.token, Seq.parse(message.resume) if message.resume else None
    except TimeoutError:
        raise Closed(POLICY, "no auth message came") from None
    except (ValidationError, ValueError):
        raise Closed(POLICY, "expected an auth message") from None
    except DialerError as error:
        raise Closed(POLICY, error.detail) from None


async def send(socket: WebSocket, text: str) -> None:
    """Send, unless the other side has stopped reading; raises Closed."""
    try:
        async with asyncio.timeout(_SEND_SECONDS):
            await socket.send_text(text)
    except TimeoutError:
        raise Closed(TRY_AGAIN, "too slow; come back and resume") from None


async def close(socket: WebSocket, code: int, reason: str) -> None:
    """Say why, if anybody is there to hear it; never raises, never waits long."""
    with contextlib.suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
        async with asyncio.timeout(_CLOSE_SECONDS):
            await socket.close(code, reason[:120])


async def pump(
    socket: WebSocket,
    subscription: Subscription,
    *,
    snapshot: Callable[[Seq], Awaitable[Seq | None]] | None = None,
    sent: Callable[[Message], None] = lambda _: None,
) -> None:
    """Send what the feed has until the socket or the subscriber gives up. Where something is
    missing, or the pool has a new owner, a snapshot comes first. `sent` hears of each message."""
    last = subscription.base
    try:
        while True:
            if subscription.missed and snapshot is not None:
                seq = await snapshot(last)
                if seq is None:  # nobody owns the pool at the moment, or Redis is away
                    await asyncio.sleep(_OWNERLESS_SECONDS)
                    continue
                subscription.rebase(seq)
            try:
                messages = await subscription.wait()
            except Missed:
                continue
            for message in messages:
                await send(socket, message.frame.decode())
                sent(message)
            last = messages[-1].seq
    except SlowSubscriber:
        raise Closed(TRY_AGAIN, "too slow; come back and resume") from None


async def standing(auth: Authenticator, token: str) -> None:
    """Raise Closed when the account was disabled or the token signed out meanwhile."""
    while True:
        await asyncio.sleep(STANDING_SECONDS)
        try:
            await auth.authenticate(token)
        except Unauthenticated as error:
            raise Closed(POLICY, error.detail) from None
        except Exception:
            # Without the database nobody can be asked; conversations go on.
            log.warning("standing unknown", action="standing_unknown", exc_info=True)


async def together(*parts: Coroutine[Any, Any, None], name: str) -> None:
    """Run a socket's parts until one ends; the others end with it, and with the caller."""
    tasks = [asyncio.create_task(p, name=f"{name}-{i}") for i, p in enumerate(parts)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:  # also when the token expires: no command may be taken after that
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def until(moment: float, work: Coroutine[Any, Any, None], *, clock: Clock) -> None:
    """Run a socket's work until the token's end (Unix seconds); raises Closed then."""
    left = moment - clock.now().timestamp()
    try:
        async with asyncio.timeout(max(left, 0.1)):
            await work
    except TimeoutError:
        raise Closed(POLICY, "the token has expired") from None


def reply(message_id: str, data: Any) -> str:
    return orjson.dumps({"type": "reply", "id": message_id, "ok": True, "data": data}).decode()


def refuse(message_id: str, error: DialerError) -> str:
    return orjson.dumps(
        {"type": "reply", "id": message_id, "ok": False, "problem": describe(error)}, default=str
    ).decode()


def command(raw: Any) -> Command:
    """A command message; raises Invalid."""
    try:
        return Command.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = "/".join(str(p)[:60] for p in first["loc"])
        raise Invalid(f"{where}: {first['msg']}"[:300]) from None
