"""The agent's websocket: state, screen pops and call events out; commands in.

After `auth` the server sends a snapshot, or, to one who resumes, exactly what was missed.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast
from uuid import UUID

import orjson
from fastapi import APIRouter, WebSocket
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocketDisconnect

from api.models import Note, Number, Text, Word
from api.ws.session import (
    GONE,
    POLICY,
    Closed,
    command,
    pump,
    receive,
    refuse,
    reply,
    sign_in,
    together,
)
from dialer.domain.errors import DialerError, Invalid
from dialer.live.feed import Seq
from dialer.store import admin

if TYPE_CHECKING:
    from api.app import Deps

router = APIRouter()

_MOST_COMMANDS = 50  # in a burst; refilled at ten a second


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Nothing(_Data):
    pass


class _Pause(_Data):
    reason: Text = ""


class _Disposition(_Data):
    call_id: UUID
    code: Word
    note: Note = ""
    form: dict[Annotated[str, Field(max_length=60)], Text | int | float | bool | None] = Field(
        default_factory=dict, max_length=100
    )
    callback_at: Annotated[str, Field(max_length=40)] | None = None
    callback_mine: bool = False
    then: Literal["ready", "pause"] = "ready"


class _ManualCall(_Data):
    campaign_id: UUID
    number: Number | None = None
    lead_id: UUID | None = None


COMMANDS: dict[str, type[_Data]] = {
    "sign_in": _Nothing,
    "sign_out": _Nothing,
    "ready": _Nothing,
    "pause": _Pause,
    "hang_up": _Nothing,
    "disposition": _Disposition,
    "manual_call": _ManualCall,
    "preview_dial": _Nothing,
    "preview_skip": _Nothing,
    "snapshot": _Nothing,
}
_open: dict[UUID, WebSocket] = {}  # one socket per agent: the newest


@router.websocket("/api/v1/ws/agent")
async def agent_socket(socket: WebSocket) -> None:
    deps = cast("Deps", socket.app.state.deps)
    await socket.accept()
    agent: Any = None
    try:
        who, resume = await sign_in(socket, deps.auth)
        who.require("agent")
        async with deps.database.begin() as connection:
            agent = await admin.agent_of_account(connection, who.account_id)
        if agent is None:
            raise Closed(POLICY, "this account has no agent")
        if (older := _open.pop(agent["id"], None)) is not None:
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await older.close(GONE, "opened elsewhere")
        _open[agent["id"]] = socket
        left = who.expires - deps.clock.now().timestamp()
        async with asyncio.timeout(max(left, 0.1)):
            await _serve(socket, deps, agent, resume)
    except Closed as closed:
        with contextlib.suppress(RuntimeError):
            await socket.close(closed.code, closed.reason)
    except DialerError as error:
        await socket.close(POLICY, error.detail[:100])
    except TimeoutError:
        await socket.close(POLICY, "the token has expired")
    except WebSocketDisconnect:
        pass
    finally:
        if agent is not None and _open.get(agent["id"]) is socket:
            del _open[agent["id"]]


async def _serve(socket: WebSocket, deps: Deps, agent: Any, resume: Seq | None) -> None:
    topic = f"agent:{agent['id']}"
    subscription = deps.feed.subscribe(topic, resume)
    try:
        if subscription.missed:
            await _snapshot(socket, deps, agent)
        await together(pump(socket, subscription), _commands(socket, deps, agent), name=topic)
    finally:
        subscription.close()


async def _snapshot(socket: WebSocket, deps: Deps, agent: Any) -> None:
    """The state as a message of its own, numbered as the newest it includes."""
    seq = deps.feed.last(f"agent:{agent['id']}")
    try:
        data: Any = await _call(deps, agent, "snapshot", {})
    except DialerError as error:
        data = {"state": "unavailable", "reason": error.detail}
    frame = {
        "type": "snapshot",
        "seq": str(seq),
        "at": deps.clock.now().isoformat(),
        "data": data,
    }
    await socket.send_text(orjson.dumps(frame, default=str).decode())


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
        await socket.send_text(answer)


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
