"""A websocket ends with its token, and nothing of it goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.unit.api.house import PASSWORD, House, open_house

pytestmark = pytest.mark.unit


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize(("path", "login"), [("agent", "bo"), ("live", "supervisor")])
async def test_an_expired_token_closes_the_socket(house: House, path: str, login: str) -> None:
    bo = {"name": "Bo", "endpoint": "phone-1", "login": "bo", "password": PASSWORD}
    assert (await house.call("POST", "/agents", json=bo)).status_code == 201
    token = await house.token(login)
    house.clock.wall += timedelta(seconds=3599.7)  # the token lives for 3600
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    incoming.put_nowait({"type": "websocket.connect"})
    auth = json.dumps({"type": "auth", "token": token})
    incoming.put_nowait({"type": "websocket.receive", "text": auth})
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "path": f"/api/v1/ws/{path}",
        "raw_path": b"",
        "query_string": b"",
        "headers": [],
        "subprotocols": [],
        "app": house.app,
    }
    before = asyncio.all_tasks()
    await asyncio.wait_for(house.app(scope, incoming.get, send), 5)
    assert sent[-1]["type"] == "websocket.close"
    assert (sent[-1]["code"], sent[-1]["reason"]) == (1008, "the token has expired")
    assert not asyncio.all_tasks() - before
