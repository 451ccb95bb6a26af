"""A socket whose work is cancelled in the moment something comes ends all the same."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from fastapi import WebSocket

from api.auth import Auth
from api.ws import session

pytestmark = pytest.mark.unit


class Half:
    """A socket that does one thing when it is told to."""

    def __init__(self) -> None:
        self.turn: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def receive(self) -> Any:
        return await self.turn

    async def close(self, code: int, reason: str) -> None:
        await self.turn


async def test_an_auth_message_that_comes_as_the_socket_is_cancelled() -> None:
    socket = Half()
    signing = asyncio.ensure_future(
        session.sign_in(cast(WebSocket, socket), cast(Auth, None))  # nobody is asked any more
    )
    await asyncio.sleep(0)
    socket.turn.set_result({"type": "websocket.receive", "text": '{"type": "auth", "token": "x"}'})
    signing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await signing


async def test_a_close_that_is_done_as_it_is_cancelled() -> None:
    socket = Half()
    closing = asyncio.ensure_future(session.close(cast(WebSocket, socket), 1000, "bye"))
    await asyncio.sleep(0)
    socket.turn.set_result(None)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
