"""An agent's socket with the real application: cut anywhere, nothing is lost or repeated."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from websockets.asyncio.client import connect

from api.ws import session
from dialer.store import schema
from telephony.clock import SystemClock
from tests.integration.ws.office import Office, Screen, open_office
from tests.lab.process import until

pytestmark = pytest.mark.integration


async def lead(office: Office, index: int) -> None:
    rows = [{"number": f"+1212555{index:04d}", "name": f"Person {index}"}]
    await office.ok(
        "POST", f"/campaigns/{office.campaign}/leads", {"name": str(index), "leads": rows}
    )


async def ready(office: Office) -> Screen:
    screen = await office.screen()
    await screen.state("signed_out")
    assert (await screen.ask("sign_in"))["ok"]
    if screen.messages[-1]["data"].get("state") != "paused":
        await screen.state("paused")
    assert (await screen.ask("ready"))["ok"]
    return screen


def numbered(messages: list[dict[str, Any]]) -> None:
    """One epoch, every number once, in order."""
    seqs = [m["seq"].split("-") for m in messages]
    assert len({epoch for epoch, _ in seqs}) == 1
    numbers = [int(n) for _, n in seqs]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def day(screen: Screen, office: Office) -> None:
    """One call with everything an agent does, and a pause after it."""
    await lead(office, 100)
    pop = await screen.event("pop")
    await screen.event("call", state="connected")
    assert (await screen.ask("pause", reason="lunch"))["ok"]
    assert (await screen.ask("hang_up"))["ok"]
    if screen.messages[-1]["data"].get("state") != "wrap_up":
        await screen.state("wrap_up")
    said = await screen.ask("disposition", call_id=pop["call_id"], code="success", note="fine")
    assert said["ok"], said
    assert (await screen.ask("sign_out"))["ok"]
    if screen.messages[-1]["data"].get("state") != "signed_out":
        await screen.state("signed_out")


async def test_cut_after_every_message_nothing_is_lost_or_repeated(office: Office) -> None:
    """The socket is cut each time one message was read; work goes on meanwhile and while away."""
    async with asyncio.timeout(30):
        await _cut_after_every_message(office)


async def _cut_after_every_message(office: Office) -> None:
    other = await office.deps.auth.authenticate(office.token)
    topic, kept = f"agent:{office.agent}", []
    listener = office.feed.watch(topic)
    screen = await office.screen()
    await screen.read()  # the snapshot
    received: list[dict[str, Any]] = list(screen.messages)
    steps = ["sign_in", "ready", "hang_up", "disposition", "pause", "sign_out"]
    cuts = 0
    for step in steps:
        data: dict[str, Any] = {}
        if step == "disposition":
            pop = next(m for m in reversed(received) if m["type"] == "pop")
            data = {"call_id": pop["data"]["call_id"], "code": "success", "then": "ready"}
        await screen.send(step, **data)
        done = False
        while not done:  # read one message, lose the socket, come back
            screen = await one_message(office, screen, received)
            cuts += 1
            done = _reached(step, received)
        if step == "ready":
            await lead(office, 1)
            while not any(
                m["type"] == "call" and m["data"]["state"] == "connected" for m in received
            ):
                screen = await one_message(office, screen, received)
                cuts += 1
    await screen.socket.close()
    kept = listener.take()
    listener.close()
    assert other.login == "bo"
    assert cuts > 8
    numbered(received)
    told = [json.loads(m.frame) for m in kept]
    assert [m["seq"] for m in received[1:]] == [m["seq"] for m in told]
    assert received[1:] == told, "what was read in pieces is what was told"
    kinds = [m["type"] for m in received]
    assert kinds.count("pop") == 1
    assert {"snapshot", "state", "pop", "call", "call_ended"} <= set(kinds)


def _reached(step: str, received: list[dict[str, Any]]) -> bool:
    goal = {"sign_in": "paused", "ready": "ready", "hang_up": "wrap_up", "disposition": "ready",
            "pause": "paused", "sign_out": "signed_out"}[step]  # fmt: skip
    last = next((m for m in reversed(received) if m["type"] == "state"), None)
    return last is not None and last["data"]["state"] == goal


async def one_message(office: Office, screen: Screen, received: list[dict[str, Any]]) -> Screen:
    """Read the next numbered message, cut, and come back saying what was seen last."""
    while True:
        message = await screen.read()
        if message["type"] != "reply":
            break
    received.append(message)
    screen.socket.transport.abort()  # no closing word: a pulled cable
    return await office.screen(resume=received[-1]["seq"])


async def test_who_was_away_too_long_gets_a_snapshot_and_no_number_twice(office: Office) -> None:
    screen = await ready(office)
    seen = screen.seq
    await screen.socket.close()
    for _ in range(600):  # more than a topic remembers
        office.tell("s", "d")
    back = await office.screen(resume=seen)
    first = await back.read()
    assert (first["type"], first["data"]["state"]) == ("snapshot", "ready")
    assert (await back.ask("pause", reason="x"))["ok"]
    if back.messages[-1]["type"] != "state":  # before the reply or after it
        await back.state("paused")
    numbered(back.messages)
    for nonsense in ("999999-1", "0-0", "1-99999999"):
        other = await office.screen(resume=nonsense)
        assert (await other.read())["type"] == "snapshot"


async def test_a_snapshot_says_which_messages_it_includes(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something happens while the snapshot is on its way: it is told once, after it."""
    real = office.deps.gateway.call

    async def busy(pool_id: Any, command: str, payload: Any, **kwargs: Any) -> Any:
        if command == "agent.snapshot":
            office.tell("before")
            answer = await real(pool_id, command, payload, **kwargs)
            office.tell("after")
            return answer
        return await real(pool_id, command, payload, **kwargs)

    monkeypatch.setattr(office.deps.gateway, "call", busy, raising=True)
    screen = await office.screen()
    assert (await screen.read())["type"] == "snapshot"
    assert (await screen.read())["data"]["slug"] == "after"
    numbered(screen.messages)


async def test_a_second_socket_takes_over(office: Office) -> None:
    first = await ready(office)
    second = await office.screen()
    assert (await second.read())["data"]["state"] == "ready"
    assert await first.closed() == (4000, "opened elsewhere")
    assert (await second.ask("pause"))["ok"]


async def test_a_vanished_agent_keeps_state_and_gets_the_rest_later(office: Office) -> None:
    screen = await ready(office)
    screen.socket.transport.abort()
    await lead(office, 7)  # the person is routed to the phone, which is still there
    agent = next(iter(office.engine.desk.agents.values()))
    await until(lambda: agent.state.value == "on_call", timeout=5, what="the conversation")
    back = await office.screen(resume=screen.seq)
    assert (await back.event("pop"))["customer"]["name"] == "Person 7"
    await back.event("call", state="connected")
    numbered(screen.messages + back.messages)


class Ahead(SystemClock):
    """The machine's clock, some time from now."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead


async def test_who_comes_back_after_an_hour_signs_in_again_and_has_missed_nothing(
    tmp_path: Path,
) -> None:
    clock = Ahead()
    async with open_office(tmp_path, clock=clock) as office:
        screen = await ready(office)
        screen.socket.transport.abort()
        await lead(office, 8)
        agent = next(iter(office.engine.desk.agents.values()))
        await until(lambda: agent.state.value == "on_call", timeout=5, what="the conversation")
        clock.ahead = timedelta(hours=1, seconds=1)
        stale = await office.screen(resume=screen.seq)
        assert (await stale.closed())[0] == session.POLICY
        assert not stale.messages  # with an old token nothing is told
        back = await office.screen(resume=screen.seq, token=await office.sign_in("bo"))
        assert (await back.event("pop"))["customer"]["name"] == "Person 8"
        await back.event("call", state="connected")
        assert (await back.ask("hang_up"))["ok"]
        await back.event("state", state="wrap_up")
        numbered(screen.messages + back.messages)
        # The calendar was stepped, not the time that passed: no stretch got an hour longer.
        async with office.deps.database.begin() as connection:
            rows = (await connection.execute(sa.select(schema.agent_interval))).all()
        assert rows and all(r.ended_at - r.started_at < timedelta(minutes=1) for r in rows)


async def test_a_reader_that_stands_still_is_cut_off_and_may_resume(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_SEND_SECONDS", 0.3)
    await (await ready(office)).socket.close()
    host, port = office.address.removeprefix("http://").split(":")
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    raw.connect((host, int(port)))
    stuck = await connect(
        f"ws://{host}:{port}/api/v1/ws/agent", sock=raw, max_queue=1, compression=None
    )
    await stuck.send(json.dumps({"type": "auth", "token": office.token}))
    await stuck.recv()
    stuck.transport.pause_reading()
    topic = f"agent:{office.agent}"
    served = office.feed._topics[topic]
    for _ in range(400):
        office.tell("s", "x" * 20_000)
    await until(lambda: not served.subscribers, timeout=10, what="the reader to be cut off")
    assert served.log is not None
    last, epoch = served.log.n, served.log.epoch
    stuck.transport.abort()
    back = await office.screen(resume=f"{epoch}-{last - 3}")
    assert [(await back.read())["seq"] for _ in range(3)] == [
        f"{epoch}-{n}" for n in range(last - 2, last + 1)
    ]


HOSTILE: list[tuple[str, str | bytes]] = [
    ("no json", "{"),
    ("binary", b"\x00\x01"),
    ("deep", "[" * 30_000 + "]" * 30_000),
    ("not a number", '{"type": "pause", "data": {"reason": NaN}}'),
]


@pytest.mark.parametrize("text", [t for _, t in HOSTILE], ids=[n for n, _ in HOSTILE])
async def test_what_is_no_message_closes_the_socket(office: Office, text: str | bytes) -> None:
    screen = await ready(office)
    await screen.socket.send(text)
    code, reason = await screen.closed()
    assert (code, "JSON" in reason) == (1008, True), reason
    assert next(iter(office.engine.desk.agents.values())).state.value == "ready"


async def test_an_oversized_message_closes_the_socket(office: Office) -> None:
    screen = await ready(office)
    await screen.socket.send(json.dumps({"type": "pause", "data": {"reason": "x" * 70_000}}))
    assert (await screen.closed())[0] == 1009


WRONG: list[Any] = [
    None, 1, "x", [], {}, {"type": 1}, {"type": None}, {"type": "x" * 50}, {"type": "PAUSE"},
    {"type": "pause", "data": []}, {"type": "pause", "data": {"reason": 5}},
    {"type": "pause", "data": {"reason": "a\r\nAction: x"}},
    {"type": "pause", "data": {"reason": "x" * 10_000}}, {"type": "pause", "extra": 1},
    {"type": "pause", "id": "a b"}, {"type": "nonsense"}, {"type": "auth", "token": "x"},
    {"type": "manual_call", "data": {"campaign_id": "x"}},
    {"type": "manual_call", "data": {"campaign_id": {}, "number": "+1\r\n2"}},
    {"type": "disposition", "data": {"call_id": "01890000-0000-7000-8000-000000000000"}},
    {"type": "disposition", "data": {"call_id": "01890000-0000-7000-8000-000000000000",
                                     "code": "success", "form": {"a": {"b": 1}}}},
    {"type": "disposition", "data": {"call_id": "01890000-0000-7000-8000-000000000000",
                                     "code": "success", "callback_at": "yesterday"}},
]  # fmt: skip


async def test_wrong_commands_are_refused_and_the_socket_lives(office: Office) -> None:
    screen = await ready(office)
    for wrong in WRONG:
        await screen.socket.send(json.dumps(wrong))
        while (message := await screen.read())["type"] != "reply":
            pass
        assert message["ok"] is False, wrong
        assert message["problem"]["status"] in (409, 422), (wrong, message)
        assert message["problem"]["detail"]
    assert (await screen.ask("snapshot"))["ok"]


async def test_commands_come_at_a_bounded_rate(office: Office) -> None:
    screen = await ready(office)
    for _ in range(80):
        await screen.socket.send(json.dumps({"type": "snapshot"}))
    assert await screen.closed() == (1008, "too many commands")


@pytest.mark.parametrize(
    "first",
    ['{"type": "ready"}', '{"type": "auth"}', '{"type": "auth", "token": "x"}', "[]",
     '{"type": "auth", "token": "x", "resume": "1-1-1"}', "null"],
)  # fmt: skip
async def test_who_does_not_sign_in_first_is_sent_away(office: Office, first: str) -> None:
    socket = await connect(f"{office.address.replace('http', 'ws', 1)}/api/v1/ws/agent")
    await socket.send(first)
    assert (await Screen(socket).closed())[0] == 1008


async def test_who_says_nothing_is_sent_away(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_AUTH_SECONDS", 0.1)
    socket = await connect(f"{office.address.replace('http', 'ws', 1)}/api/v1/ws/agent")
    assert await Screen(socket).closed() == (1008, "no auth message came")


async def test_supervisors_have_no_agents_socket_and_agents_no_figures(office: Office) -> None:
    admin = office.http.headers["Authorization"].removeprefix("Bearer ")
    assert (await (await office.screen(token=admin)).closed())[0] == 1008
    socket = await connect(f"{office.address.replace('http', 'ws', 1)}/api/v1/ws/live")
    await socket.send(json.dumps({"type": "auth", "token": office.token}))
    assert (await Screen(socket).closed())[0] == 1008


async def test_a_token_that_is_signed_out_ends_its_socket(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "STANDING_SECONDS", 0.05)
    screen = await ready(office)
    headers = {"Authorization": f"Bearer {office.token}"}
    assert (await office.http.delete("/api/v1/tokens", headers=headers)).status_code == 204
    code, reason = await screen.closed()
    assert (code, "not valid any more" in reason) == (1008, True)


async def test_the_day_of_an_agent(office: Office) -> None:
    screen = await ready(office)
    async with asyncio.timeout(20):
        await day(screen, office)
    numbered(screen.messages)
