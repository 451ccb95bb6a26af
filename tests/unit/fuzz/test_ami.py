"""Whatever bytes come over the manager link: nothing breaks, nothing grows, nothing is believed of
calls that are not ours, and each of ours has one life."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from unittest.mock import MagicMock

import pytest

from telephony.ami.tracker import Tracker
from telephony.ami.wire import Wire
from telephony.clock import ManualClock
from telephony.events import SwitchEvent
from tests.lab.fuzz import SECONDS, mutated, rounds
from tests.unit.telephony.frames import (
    enter,
    hangup,
    hangup_request,
    leave,
    newchannel,
    response,
    ringing,
    up,
)

pytestmark = pytest.mark.unit

OURS = [f"0198c0de-0000-7000-8000-00000000000{n}" for n in range(4)]
LEGS = ["leg-1", "leg-2"]
NOT_OURS = ["1764070000.17", "0198c0de-0000-7000-8000-0000000000ff", "", "leg-99"]
_MOST_BUFFER = 256 * 1024


def frame(fields: dict[str, str]) -> bytes:
    return "".join(f"{k}: {v}\r\n" for k, v in fields.items()).encode() + b"\r\n"


def some_event(rng: random.Random, channel: str) -> bytes:
    bridge = rng.choice(("b1", "b2", "hold"))
    return frame(
        dict(
            rng.choice(
                [
                    newchannel(channel), up(channel), ringing(channel), hangup_request(channel),
                    hangup(channel, rng.choice((0, 16, 17, 34, 999)), rng.choice(("", "SIP 486"))),
                    response(channel, success=rng.random() < 0.5, reason=rng.randrange(9)),
                    enter(channel, bridge), enter(channel, "hold", "holding_bridge"),
                    leave(channel, bridge), {"Event": "SoftHangupRequest", "Uniqueid": channel},
                    {"Event": "UserEvent", "UserEvent": "DialerStage", "Uniqueid": channel,
                     "CallId": rng.choice(OURS), "Stage": rng.choice(("message", "optout", "x"))},
                    {"Response": "Success", "ActionID": "d1", "EventList": "start"},
                    {"Event": "CoreShowChannel", "ActionID": "d1", "Uniqueid": channel},
                ]
            )
        )
    )  # fmt: skip


class Bench:
    def __init__(self) -> None:
        self.told: list[SwitchEvent] = []
        self.timers: list[Any] = []
        self.tracker = Tracker(
            "n1", sink=self.told.append, clock=ManualClock(datetime(2026, 1, 1, tzinfo=UTC)),
            later=lambda _, do: self.timers.append(do),
        )  # fmt: skip
        self.wire = Wire(on_event=self.tracker.on_message, on_lost=lambda reason: None)
        self.transport = MagicMock(spec=asyncio.Transport)
        self.transport.is_closing.return_value = False
        self.wire.connection_made(self.transport)
        self.pending = self.wire.begin("CoreShowChannels", "d1", {}, timeout=5.0)
        for channel in OURS:
            self.tracker.expect(channel, leg=False, recording="a.wav")
        for channel in LEGS:
            self.tracker.expect(channel, leg=True)

    def feed(self, data: bytes, rng: random.Random) -> None:
        while data:
            size = rng.choice((1, 7, 100, 5000, 100_000))
            self.wire.data_received(data[:size])
            data = data[size:]
            assert len(self.wire._buffer) <= _MOST_BUFFER + size

    def time_over(self) -> None:
        timers, self.timers = self.timers, []
        for do in timers:
            do()


def one_life_each(told: list[SwitchEvent]) -> None:
    """Started, answered, ended: each once at most, in this order, and nothing afterwards."""
    order = ["CallStarted", "CallAnswered", "CallEnded"]
    seen: dict[str, list[str]] = {}
    for event in told:
        subject = getattr(event, "call_id", None) or getattr(event, "leg_id", "")
        assert subject in OURS + LEGS, f"told of a call that is not ours: {event}"
        seen.setdefault(subject, []).append(type(event).__name__)
    for names in seen.values():
        counts = Counter(names)
        assert all(counts[name] <= 1 for name in (*order, "LegUp", "LegEnded")), names
        lived = [name for name in names if name in order]
        assert lived == sorted(lived, key=order.index), names
        if "CallEnded" in names:
            assert set(names[names.index("CallEnded") + 1 :]) <= {"RecordingEnded"}, names
        assert counts["CallBridged"] >= counts["CallUnbridged"], names


@pytest.mark.parametrize("seconds", SECONDS)
async def test_bytes_of_the_link(seconds: float) -> None:
    told = 0
    for rng in rounds("ami", seconds):
        bench = Bench()
        events = [some_event(rng, rng.choice(OURS + LEGS + NOT_OURS)) for _ in range(60)]
        if rng.random() < 0.7:
            events = [e if rng.random() < 0.7 else mutated(rng, e) for e in events]
        banner = b"Asterisk Call Manager/11.0.0\r\n"
        bench.feed(banner if rng.random() < 0.95 else mutated(rng, banner), rng)
        for event in events:
            bench.feed(event, rng)
            if rng.random() < 0.1:
                bench.time_over()
        bench.time_over()
        assert bench.wire.failed_handlers == 0, "a handler raised"
        assert len(bench.tracker._tracks) <= len(OURS + LEGS)
        assert len(bench.tracker._bridges) <= len(OURS + LEGS)
        one_life_each(bench.told)
        told += len(bench.told)
        bench.wire.close()
        await asyncio.sleep(0)
    assert told > 100, "calls lived: the fuzzer reaches what it should"


async def test_a_list_without_an_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telephony.ami.wire._MOST_LISTED", 2000)
    bench, rng = Bench(), random.Random(1)
    bench.feed(b"Asterisk Call Manager/11.0.0\r\n", rng)
    bench.feed(frame({"Response": "Success", "ActionID": "d1", "EventList": "start"}), rng)
    item = frame({"Event": "CoreShowChannel", "ActionID": "d1", "Uniqueid": "x"})
    for _ in range(30):
        bench.wire.data_received(item * 100)
    assert not bench.wire._lists, "given up, with the link"
    assert bench.pending.future.exception() is not None
    assert bench.transport.abort.called


async def test_after_the_end_of_a_link_nothing_of_it_is_believed() -> None:
    """A server that is no Asterisk, and what came in the same breath as the bad end."""
    for begin in (b"SSH-2.0-x\r\n", b"Asterisk Call Manager/1\r\n" + b"x" * 300_000):
        bench = Bench()
        bench.wire.data_received(begin)
        bench.wire.data_received(frame(dict(up(OURS[0]))))
        bench.wire.data_received(begin + frame(dict(up(OURS[0]))) + frame(dict(up(OURS[1]))))
        assert bench.told == []
