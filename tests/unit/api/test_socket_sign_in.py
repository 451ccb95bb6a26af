"""A websocket lets in exactly whom the REST routes let in."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from fastapi import WebSocket

from api.ws.session import Closed, sign_in
from tests.unit.api.house import House

pytestmark = pytest.mark.unit


class Socket:
    def __init__(self, token: str) -> None:
        self._text = json.dumps({"type": "auth", "token": token})

    async def receive(self) -> dict[str, Any]:
        return {"type": "websocket.receive", "text": self._text}


async def test_a_signed_out_token_opens_no_socket(house: House) -> None:
    socket = cast(WebSocket, Socket(await house.token("agent")))
    who, _, resume = await sign_in(socket, house.deps.auth)
    assert (who.login, resume) == ("agent", None)
    assert (await house.call("DELETE", "/tokens", login="agent")).status_code == 204
    with pytest.raises(Closed):
        await sign_in(socket, house.deps.auth)
