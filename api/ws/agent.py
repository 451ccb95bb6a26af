"""The agent's websocket: state, screen pops and call events out; commands in.

After `auth` the server sends a snapshot, or, to one who resumes, exactly what was missed.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import orjson
from fastapi import APIRouter, WebSocket
from pydantic import ValidationError
from starlette.websockets import WebSocketDisconnect

from api.ws.messages import COMMANDS
from api.ws.session import (
    GONE,
    POLICY,
    Closed,
    close,
    command,
    pump,
    receive,
    refuse,
    reply,
    send,
    sign_in,
    standing,
    together,
    until,
)
from dialer.domain.errors import DialerError, Invalid
from dialer.live.feed import Message, Seq
from dialer.store import admin

if TYPE_CHECKING:
    from api.app import Deps

router = APIRouter()

_MISSED = 5.0  # s after which a pop was not sent but sent again
_MOST_COMMANDS = 50  # in a burst; refilled at ten a second


_open: dict[UUID, WebSocket] = {}  # one socket per agent: the newest


@router.websocket("/api/v1/ws/agent")
async def agent_socket(socket: WebSocket) -> None:
    deps = cast("Deps", socket.app.state.deps)
    await socket.accept()
    agent: Any = None
    try:
        who, token, resume = await sign_in(socket, deps.auth)
        who.require("agent")
        async with deps.database.begin() as connection:
            agent = await admin.agent_of_account(connection, who.account_id)
        if agent is None:
            raise Closed(POLICY, "this account has no agent")
        older, _open[agent["id"]] = _open.get(agent["id"]), socket
        if older is not None:
            await close(older, GONE, "opened elsewhere")
        await until(
            who.expires, _serve(socket, deps, agent, token=token, resume=resume), clock=deps.clock
        )
    except Closed as closed:
        await close(socket, closed.code, closed.reason)
    except DialerError as error:
        await close(socket, POLICY, error.detail)
    except WebSocketDisconnect:
        pass
    finally:
        if agent is not None and _open.get(agent["id"]) is socket:
            del _open[agent["id"]]


async def _serve(
    socket: WebSocket, deps: Deps, agent: Any, *, token: str, resume: Seq | None
) -> None:
    topic = f"agent:{agent['id']}"
    subscription = await deps.feed.subscribe(topic, resume)
    try:
        await together(
            pump(
                socket,
                subscription,
                snapshot=_Snapshots(socket, deps, agent).send,
                sent=lambda message: _count(message, deps),
            ),
            _commands(socket, deps, agent),
            standing(deps.auth, token),
            name=topic,
        )
    finally:
        subscription.close()


def _count(message: Message, deps: Deps) -> None:
    """How long a screen pop took to get here; one that was missed and comes later is no measure."""
    if message.type != "pop":
        return
    posted = datetime.fromisoformat(orjson.loads(message.frame)["at"])
    seconds = (deps.clock.now() - posted).total_seconds()
    if seconds < _MISSED:
        deps.pops.add(seconds)


class _Snapshots:
    """The state as a message of its own, numbered as the newest message that it includes."""

    def __init__(self, socket: WebSocket, deps: Deps, agent: Any) -> None:
        self._socket, self._deps, self._agent = socket, deps, agent
        self._said = False

    async def send(self, last: Seq) -> Seq | None:
        """Its number; None when the engine could not be asked, which the screen is told once."""
        try:
            data: Any = await _call(self._deps, self._agent, "snapshot", {})
        except DialerError as error:
            if not self._said:
                self._said = True
                data = {
                    "state": "unavailable", "reason": error.detail, "since": None, "pending": None,
                    "call": None, "preview": None, "campaigns": [],
                }  # fmt: skip
                await self._send(last, data)
            return None
        self._said = False
        seq = Seq.parse(data.pop("seq"))
        await self._send(seq, data)
        return seq

    async def _send(self, seq: Seq, data: Any) -> None:
        frame = {
            "type": "snapshot",
            "seq": str(seq),
            "at": self._deps.clock.now().isoformat(),
            "data": data,
        }
        await send(self._socket, orjson.dumps(frame, default=str).decode())


async def _commands(socket: WebSocket, deps: Deps, agent: Any) -> None:
    budget, last = float(_MOST_COMMANDS), deps.clock.monotonic()
    while True:
        raw = await receive(socket)
        now = deps.clock.monotonic()
        budget, last = min(budget + (now - last) * 10, _MOST_COMMANDS), now
        if budget < 1:
            raise Closed(POLICY, "too many commands")
        budget -= 1
        message_id = str(raw.get("id", ""))[:60] if isinstance(raw, dict) else ""
        try:
            message = command(raw)
            data = _validated(message.type, message.data)
            answer = reply(message.id, await _call(deps, agent, message.type, data))
        except DialerError as error:
            answer = refuse(message_id, error)
        await send(socket, answer)


def _validated(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    model = COMMANDS.get(kind)
    if model is None:
        raise Invalid(f"unknown command; known: {', '.join(COMMANDS)}")
    try:
        return model.model_validate(data).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors()[0]
        raise Invalid(f"{'/'.join(str(p) for p in first['loc'])}: {first['msg']}"[:300]) from None


async def _call(deps: Deps, agent: Any, kind: str, data: dict[str, Any]) -> Any:
    return dict(
        await deps.gateway.call(
            agent["pool_id"], f"agent.{kind}", {**data, "agent_id": str(agent["id"])}
        )
    )
