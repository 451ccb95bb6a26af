"""Both websockets, sent anything: an answer or an end with a reason, never a failure of ours."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from api.ws.messages import COMMANDS
from tests.lab.fuzz import SECONDS, mutated, rounds, text, value
from tests.unit.api.house import PASSWORD, House, open_house

pytestmark = pytest.mark.unit


class Socket:
    """One connection, spoken in the server's own protocol: no network between."""

    def __init__(self, house: House, path: str) -> None:
        self._in: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.out: list[dict[str, Any]] = []
        self._in.put_nowait({"type": "websocket.connect"})
        scope = {
            "type": "websocket", "path": path, "raw_path": path.encode(), "headers": [],
            "query_string": b"", "subprotocols": [], "client": ("127.0.0.1", 1),
            "server": ("house", 80), "scheme": "ws", "asgi": {"version": "3.0"},
            "http_version": "1.1", "root_path": "", "app": house.app, "state": {},
            "extensions": {},
        }  # fmt: skip
        self.task = asyncio.create_task(house.app(scope, self._in.get, self._sent), name="fuzz")

    async def _sent(self, message: Any) -> None:
        self.out.append(message)

    def say(self, data: str | bytes) -> None:
        kind = "bytes" if isinstance(data, bytes) else "text"
        self._in.put_nowait({"type": "websocket.receive", kind: data})

    async def leave(self) -> None:
        """Hang up when all was read; the handler must end by itself, and not by an exception."""
        self._in.put_nowait({"type": "websocket.disconnect", "code": 1006})
        await asyncio.wait_for(self.task, 5)

    @property
    def closed(self) -> list[int]:
        return [m["code"] for m in self.out if m["type"] == "websocket.close"]


def message(rng: random.Random, token: str) -> str | bytes:
    kind = rng.randrange(8)
    if kind == 0:
        return json.dumps(value(rng))
    if kind == 1:
        return rng.randbytes(rng.randrange(50))
    if kind == 2:
        return "[" * rng.choice((10, 2000, 60_000))
    if kind == 3:
        return text(rng) * rng.choice((1, 3000))
    if kind == 4:
        auth = {
            "type": "auth",
            "token": token,
            "resume": rng.choice(("9" * 5000, "1--5", "1-5", f"{2**70}-1", text(rng))),
        }
        return json.dumps(auth)
    if kind == 7:
        return json.dumps({"type": rng.choice(("sign_in", "ready", "hang_up")), "id": "1"})
    name = rng.choice([*COMMANDS, text(rng, most=10)])
    names = ["call_id", "code", "note", "at", "number", "reason", "campaign_id", "lead_id"]
    data = {k: value(rng) for k in rng.sample([*names, text(rng)], 3)}
    said = json.dumps({"type": name, "id": rng.choice(("1", value(rng))), "data": data})
    return said if kind == 5 else mutated(rng, said.encode()).decode("utf-8", "replace")


@pytest.mark.parametrize("seconds", SECONDS)
async def test_messages(seconds: float, tmp_path: Path) -> None:
    asked: list[str] = []
    answers = closes = 0

    async def engine(command: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        asked.append(command)
        assert payload["agent_id"] == agent, "another's agent"
        return {"seq": "1-0", "state": "paused"} if command == "agent.snapshot" else {}

    async with open_house(tmp_path) as house:
        body = {"name": "Bo", "endpoint": "bo", "login": "bo", "password": PASSWORD}
        agent = (await house.call("POST", "/agents", json=body)).json()["id"]
        await house.deps.gateway.serve(house.pools["house"], engine)
        tokens = [await house.token(login) for login in ("bo", "supervisor", "guest-admin")]
        with capture_logs() as logs:
            for rng in rounds("socket", seconds, least=12):
                name = rng.choice(("agent", "agent", "agent", "live"))
                socket = Socket(house, f"/api/v1/ws/{name}")
                token = rng.choice([*tokens, tokens[0], text(rng)])
                if rng.random() < 0.85:
                    socket.say(json.dumps({"type": "auth", "token": token}))
                for _ in range(rng.randrange(8)):
                    socket.say(message(rng, token))
                await socket.leave()
                answers += sum(m["type"] == "websocket.send" for m in socket.out)
                closes += len(socket.closed)
                assert set(socket.closed) <= {1008, 1013, 4000}, socket.closed
                for sent in socket.out:
                    assert len(str(sent.get("text", ""))) < 5000
        assert not [line for line in logs if line["log_level"] in ("error", "critical")], logs
    assert answers > 10 and closes > 5 and len(set(asked)) > 1
