"""Hostile text in every field of every route, header and command: AMI never sees it.

The application is the real one with the real AMI switch; at the other end is a scripted Asterisk
that keeps every byte. Whatever arrives must be whole frames of known actions and known headers, and
none of the hostile text.
"""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from api.ws import messages as m
from telephony.ami import AmiAccount, AmiSwitch
from telephony.clock import SystemClock
from tests.integration.ws.office import Office, Screen, open_office
from tests.unit.telephony.scripted_ami import Action, ScriptedAmi

pytestmark = pytest.mark.integration

MARK = "Zz9evil"
HOSTILE = [
    f"+12125550100\r\nAction: Originate\r\n{MARK}: 1",
    f"{MARK}\n\nAction: Command",
    f"{MARK}\r",
    f"{MARK}\x00tail",
    f"{MARK}\x85{MARK}\u2028{MARK}",
    MARK + "x" * 10_000,
    f"{MARK},s,1)&Local/0@{MARK}",
    f'${{{MARK}}}|"<>;{MARK}',
    f"../../{MARK}",
]
ACTIONS = {
    "Login": {"Username", "Secret", "Events"},
    "CoreStatus": set(),
    "BridgeList": set(),
    "CoreShowChannels": set(),
    "Ping": set(),
    "Originate": {"Channel", "Context", "Exten", "Priority", "Timeout", "Async", "ChannelId",
                  "Variable", "CallerID"},
    "Bridge": {"Channel1", "Channel2", "Tone"},
    "Redirect": {"Channel", "Context", "Exten", "Priority"},
    "Hangup": {"Channel"},
    "Setvar": {"Channel", "Variable", "Value"},
    "Logoff": set(),
    "Filter": {"Operation", "Filter"},
}  # fmt: skip


def whole(ami: ScriptedAmi) -> None:
    """Every byte that came belongs to a frame we meant."""
    assert MARK.encode() not in ami.raw
    assert ami.raw.endswith(b"\r\n\r\n")
    for frame in bytes(ami.raw).split(b"\r\n\r\n")[:-1]:
        assert not re.search(rb"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n", frame), frame
        pairs = [line.split(b": ", 1) for line in frame.split(b"\r\n")]
        assert all(len(pair) == 2 for pair in pairs), frame
        names = [name.decode() for name, _ in pairs]
        action = pairs[names.index("Action")][1].decode()
        assert set(names) <= {"Action", "ActionID", *ACTIONS[action]}, frame
        assert len(frame) < 4096


def answered(ami: ScriptedAmi, action: Action) -> None:
    """The phone answers and parks, so that the agent can be used; a call rings for ever."""
    ami.answer(action, Message="Originate successfully queued")
    key = action["ChannelId"]
    channel = {"Channel": f"PJSIP/x-{key[-8:]}", "Uniqueid": key, "Linkedid": key}
    ami.send({"Event": "Newchannel", **channel, "ChannelState": "0", "ChannelStateDesc": "Down"})
    if action["Context"] == "dialer-agent":
        ami.send({"Event": "Newstate", **channel, "ChannelState": "6", "ChannelStateDesc": "Up"})
        ami.send({"Event": "OriginateResponse", "ActionID": key, "Response": "Success",
                  "Uniqueid": key})  # fmt: skip
        ami.send({"Event": "BridgeEnter", **channel, "BridgeUniqueid": f"hold-{key}",
                  "BridgeTechnology": "holding_bridge", "BridgeType": "base"})  # fmt: skip


def strings(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where text stands in an example, keys of free objects too."""
    if isinstance(value, str):
        return [at]
    if isinstance(value, dict):
        return [p for k, v in value.items() for p in strings(v, (*at, k))]
    if isinstance(value, list):
        return [p for i, v in enumerate(value) for p in strings(v, (*at, i))]
    return []


def replaced(value: Any, at: tuple[Any, ...], text: str) -> Any:
    """A copy with the text at one place."""
    copy = json.loads(json.dumps(value))
    node = copy
    for step in at[:-1]:
        node = node[step]
    node[at[-1]] = text
    return copy


async def send(office: Office, method: str, path: str, **kwargs: Any) -> httpx.Response:
    answer = await office.http.request(method, path, **kwargs)
    assert answer.status_code < 500 or answer.status_code == 503, (method, path, answer.text)
    return answer


async def try_routes(office: Office) -> int:
    """Each text field of each request, each path and query parameter, each header."""
    paths = (await office.ok("GET", "/openapi.json"))["paths"]
    ids = {"campaign_id": office.campaign, "agent_id": office.agent}
    tried = 0
    for path, item in paths.items():
        for method, operation in item.items():
            if path == "/api/v1/tokens" and method == "delete":
                continue  # ends this test's own token
            good = re.sub(r"\{(\w+)\}", lambda hit: ids.get(hit[1], office.agent), path)
            body = operation.get("requestBody", {}).get("content", {})
            example = body.get("application/json", {}).get("example")
            for index, text in enumerate(HOSTILE):
                if example is not None:
                    places = strings(example)
                    for at in places[index % 2 :: 2] if index > 2 else places:
                        await send(office, method, good, json=replaced(example, at, text))
                        tried += 1
                if "{" in path:
                    bad = re.sub(
                        r"\{\w+\}", lambda hit, text=text: quote(text[:200], safe=""), path
                    )
                    await send(office, method, bad, json=example)
                    tried += 1
                for parameter in operation.get("parameters", []):
                    if parameter["in"] == "query":
                        query = {parameter["name"]: text[:3000]}
                        await send(office, method, good, params=query, json=example)
                        tried += 1
            for name in ("Idempotency-Key", "X-Client", "Range"):
                headers = [(name.encode(), f'{MARK}\u00e9,\t;"{{}}'.encode())]
                await send(office, method, good, json=example, headers=headers)
                tried += 1
    return tried


async def try_commands(screen: Screen, office: Office) -> int:
    """Each text field of each command, beside its type, id and unknown fields."""
    call_id = "01890000-0000-7000-8000-000000000000"
    examples: dict[str, dict[str, Any]] = {
        "pause": {"reason": "x"},
        "disposition": {
            "call_id": call_id, "code": "success", "note": "x", "form": {"a": "x"},
            "callback_at": "2030-01-01T10:00:00Z", "then": "ready",
        },
        "manual_call": {"campaign_id": office.campaign, "number": "+12125550100",
                        "lead_id": call_id},
    }  # fmt: skip
    tried = 0
    for kind in m.COMMANDS:
        example = {"type": kind, "id": "c", "data": examples.get(kind, {})}
        for text in HOSTILE:
            for at in [*strings(example), ("data", "extra"), ("data", text[:60])]:
                await screen.socket.send(json.dumps(replaced(example, at, text)))
                while (await screen.read())["type"] != "reply":
                    pass
                tried += 1
    return tried


@pytest.fixture
async def ami() -> Any:
    async with ScriptedAmi() as server:
        server.replies["Originate"] = answered
        yield server


async def test_hostile_text_never_reaches_ami(
    ami: ScriptedAmi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.ws.agent._MOST_COMMANDS", 1_000_000)
    account = AmiAccount("ast", "127.0.0.1", ami.port, "dialer", "right")
    clock = SystemClock()
    async with open_office(
        tmp_path, make=lambda sink: AmiSwitch(account, sink=sink, clock=clock)
    ) as office:
        screen = await office.screen()
        await screen.state("signed_out")
        assert (await screen.ask("sign_in"))["ok"]
        await screen.state("paused")
        routes = await try_routes(office)
        await office.ok("PATCH", f"/agents/{office.agent}", {"disabled": False})
        screen = await office.screen(token=await office.sign_in("bo"))
        commands = await try_commands(screen, office)
        assert routes > 500
        assert commands > 200
        # What was taken is dialed: a lead with every odd thing that is allowed.
        odd = await office.make_campaign(f"{MARK} ${{x}}")
        await office.ok("PUT", f"/agents/{office.agent}/campaigns", {"campaigns": [odd]})
        await office.ok("POST", f"/campaigns/{odd}/start")
        if (await screen.ask("snapshot"))["data"]["state"] == "signed_out":
            assert (await screen.ask("sign_in"))["ok"]
            await screen.state("paused")
        assert (await screen.ask("ready"))["ok"]
        rows = [
            {"number": "+1 (212) 555-01.77", "name": f"{MARK} \u202e\U0001f600",
             "external_key": MARK,             "attributes": {MARK: f"{MARK}\n\t${{{MARK}}}"}}
        ]  # fmt: skip
        loaded = await office.ok("POST", f"/campaigns/{odd}/leads", {"name": MARK, "leads": rows})
        assert loaded["accepted"] == 1, loaded
        async with asyncio.timeout(10):
            while not [a for a in ami.of("Originate") if "+12125550177" in a["Channel"]]:
                await ami.wait("Originate", count=len(ami.of("Originate")) + 1)
    whole(ami)
