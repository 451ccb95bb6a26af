"""What both websockets share: sign-in by the first message, checked input, paced output."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, Literal

import orjson
from fastapi import WebSocket
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocketDisconnect

from api.auth import Auth, Caller
from api.problems import describe
from dialer.domain.errors import DialerError, Invalid
from dialer.live.feed import Seq, SlowSubscriber, Subscription

_AUTH_SECONDS = 5.0
_MOST_BYTES = 64 * 1024
POLICY, TRY_AGAIN, GONE = 1008, 1013, 4000


class AuthMessage(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: Literal["auth"]
    token: Annotated[str, Field(max_length=4096)]
    resume: Annotated[str, Field(max_length=40)] | None = None


class CommandMessage(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")]
    id: Annotated[str, Field(max_length=60, pattern=r"^[A-Za-z0-9_.\-]*$")] = ""
    data: dict[str, Any] = Field(default_factory=dict)


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


async def sign_in(socket: WebSocket, auth: Auth) -> tuple[Caller, Seq | None]:
    """The caller of the first message, and where they left off; raises Closed."""
    try:
        raw = await asyncio.wait_for(receive(socket), _AUTH_SECONDS)
        message = AuthMessage.model_validate(raw)
        who = await auth.authenticate(message.token)
        return who, Seq.parse(message.resume) if message.resume else None
    except TimeoutError:
        raise Closed(POLICY, "no auth message came") from None
    except (ValidationError, ValueError):
        raise Closed(POLICY, "expected an auth message") from None
    except DialerError as error:
        raise Closed(POLICY, error.detail) from None


async def pump(socket: WebSocket, subscription: Subscription) -> None:
    """Send what the feed has until the socket or the subscriber gives up."""
    try:
        while True:
            for message in await subscription.wait():
                await socket.send_text(message.frame.decode())
    except SlowSubscriber:
        raise Closed(TRY_AGAIN, "too slow; come back and resume") from None


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


def reply(message_id: str, data: Any) -> str:
    return orjson.dumps({"type": "reply", "id": message_id, "ok": True, "data": data}).decode()


def refuse(message_id: str, error: DialerError) -> str:
    return orjson.dumps(
        {"type": "reply", "id": message_id, "ok": False, "problem": describe(error)}, default=str
    ).decode()


def command(raw: Any) -> CommandMessage:
    """A command message; raises Invalid."""
    try:
        return CommandMessage.model_validate(raw)
    except ValidationError as error:
        raise Invalid(error.errors()[0]["msg"][:200]) from None
