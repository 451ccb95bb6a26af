"""The supervisors' websocket: the client's live figures once a second."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, cast

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from api.ws.session import POLICY, Closed, pump, receive, sign_in, together
from dialer.domain.errors import DialerError

if TYPE_CHECKING:
    from api.app import Deps

router = APIRouter()


@router.websocket("/api/v1/ws/live")
async def live_socket(socket: WebSocket) -> None:
    deps = cast("Deps", socket.app.state.deps)
    await socket.accept()
    try:
        who, _ = await sign_in(socket, deps.auth)
        who.require("live")
        subscription = deps.feed.subscribe(f"live:{who.client_id}", None)
        try:
            left = who.expires - deps.clock.now().timestamp()
            async with asyncio.timeout(max(left, 0.1)):
                await together(pump(socket, subscription), _listen(socket), name="live")
        finally:
            subscription.close()
    except Closed as closed:
        with contextlib.suppress(RuntimeError):
            await socket.close(closed.code, closed.reason)
    except DialerError as error:
        await socket.close(POLICY, error.detail[:100])
    except TimeoutError:
        await socket.close(POLICY, "the token has expired")
    except WebSocketDisconnect:
        pass


async def _listen(socket: WebSocket) -> None:
    while True:
        await receive(socket)
        raise Closed(POLICY, "this socket takes no commands")
