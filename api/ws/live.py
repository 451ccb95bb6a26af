"""The supervisors' websocket: the client's live figures once a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from api.ws.session import (
    POLICY,
    Closed,
    close,
    pump,
    receive,
    sign_in,
    standing,
    together,
    until,
)
from dialer.domain.errors import DialerError

if TYPE_CHECKING:
    from api.app import Deps

router = APIRouter()


@router.websocket("/api/v1/ws/live")
async def live_socket(socket: WebSocket) -> None:
    deps = cast("Deps", socket.app.state.deps)
    await socket.accept()
    try:
        who, token, _ = await sign_in(socket, deps.auth)
        who.require("live")
        subscription = deps.feed.watch(f"live:{who.client_id}")
        try:
            work = together(
                pump(socket, subscription),
                _listen(socket),
                standing(deps.auth, token),
                name="live",
            )
            await until(who.expires, work, clock=deps.clock)
        finally:
            subscription.close()
    except Closed as closed:
        await close(socket, closed.code, closed.reason)
    except DialerError as error:
        await close(socket, POLICY, error.detail)
    except WebSocketDisconnect:
        pass


async def _listen(socket: WebSocket) -> None:
    while True:
        await receive(socket)
        raise Closed(POLICY, "this socket takes no commands")
