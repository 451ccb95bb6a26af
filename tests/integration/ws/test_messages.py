"""Real messages of every type, read from real sockets, are what the description says they are."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import orjson
import pytest
from pydantic import TypeAdapter
from websockets.asyncio.client import connect

from api.ws import messages as m
from tests.integration.ws.office import Office, Screen
from tests.integration.ws.test_agent_socket import lead, ready

pytestmark = pytest.mark.integration

REPLY: TypeAdapter[Any] = TypeAdapter(m.Done | m.Refused)


def held(message: dict[str, Any], kinds: dict[str, type[m.Strict]]) -> None:
    """The message's data is exactly its model, and its frame exactly what is described."""
    if message["type"] == "reply":
        REPLY.validate_python(message)
        return
    assert set(message) == {"type", "seq", "at", "data"}
    kinds[message["type"]].model_validate_json(orjson.dumps(message["data"]))


async def test_every_message_of_a_day_is_as_described(office: Office) -> None:
    quick = await office.make_campaign("quick", wrap_up=0.2, mode="preview")
    await office.ok("POST", f"/campaigns/{quick}/start")
    screen = await ready(office)
    async with asyncio.timeout(30):
        await lead(office, 1)
        pop = await screen.event("pop")
        await screen.event("call", state="connected")
        back = await office.screen(resume="0-0")  # a snapshot with a call in it
        assert (await back.read())["data"]["call"]["call_id"] == pop["call_id"]
        await back.ask("hang_up")
        if back.messages[-1]["data"].get("state") != "wrap_up":
            await back.state("wrap_up")
        await back.ask("disposition", call_id=pop["call_id"], code="nonsense")
        await back.ask("disposition", call_id=pop["call_id"], code="success", then="pause")
        path = f"/agents/{office.agent}/campaigns"
        await office.ok("PUT", path, {"campaigns": [quick]})
        rows = [{"number": "+12125550177", "name": "Preview"}]
        await office.ok("POST", f"/campaigns/{quick}/leads", {"name": "l", "leads": rows})
        await back.ask("ready")
        if not any(x["type"] == "preview" for x in back.messages):
            await back.event("preview")
        other = await office.screen()
        snapshot = await other.read()
        assert snapshot["data"]["preview"]["customer"]["name"] == "Preview"
        await other.ask("preview_dial")
        if not any(x["type"] == "call" for x in other.messages):
            await other.event("call", state="connected")
        await other.ask("hang_up")
        await other.event("notice", slug="wrap-up-over")
    seen = [*screen.messages, *back.messages, *other.messages]
    for message in (*seen, *back.replies.values(), *other.replies.values()):
        held(message, m.AGENT_EVENTS)
    assert {x["type"] for x in seen} == set(m.AGENT_EVENTS)
    assert {r["ok"] for r in back.replies.values()} == {True, False}


async def test_live_figures_are_as_described(office: Office) -> None:
    await ready(office)
    socket = await connect(f"{office.address.replace('http', 'ws', 1)}/api/v1/ws/live")
    token = office.http.headers["Authorization"].removeprefix("Bearer ")
    await socket.send(json.dumps({"type": "auth", "token": token}))
    live = Screen(socket)
    for _ in range(3):
        held(await live.read(), m.LIVE_EVENTS)
    assert len(live.messages) == 3
    asked = (await office.ok("GET", "/live"))["pools"]
    assert asked[0]["agents"] == live.messages[-1]["data"]["agents"]
    await socket.send("{}")
    assert (await live.closed()) == (1008, "this socket takes no commands")


async def test_without_an_engine_the_screen_says_so(office: Office) -> None:
    await office.engine.stop()
    screen = await office.screen()
    message = await screen.read()
    assert message["data"]["state"] == "unavailable"
    held(message, m.AGENT_EVENTS)
    assert (await screen.ask("ready"))["problem"]["status"] == 503
