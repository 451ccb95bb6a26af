"""The ten holes of the transport, each against a server that makes it show."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.ami import AmiAccount, AmiSwitch
from telephony.ami.wire import Wire, clean
from telephony.clock import SystemClock
from telephony.events import (
    CallAnswered,
    CallBridged,
    CallEnd,
    CallEnded,
    CallStarted,
    CallUnbridged,
    LegEnded,
    LegParked,
    NodeDown,
    NodeUp,
    SwitchEvent,
)
from telephony.switch import NotSent, Originate, Refused, Unanswered
from tests.contract.switch.rig import Heard
from tests.lab.garbage import GARBAGE
from tests.unit.telephony import frames
from tests.unit.telephony.scripted_ami import Action, ScriptedAmi, frame

pytestmark = pytest.mark.unit


def request(call_id: str = "call-1") -> Originate:
    return Originate(
        call_id=call_id,
        number="+12025550123",
        trunk="carrier",
        caller_id="+12025550100",
        ring_timeout=20,
        connect_window=2,
        abandon_sound="sorry",
    )


@asynccontextmanager
async def switch_to(
    ami: ScriptedAmi,
    *,
    sink: Callable[[SwitchEvent], None],
    answer: float = 2.0,
    ping: float = 30.0,
    secret: str = "right",
) -> AsyncIterator[AmiSwitch]:
    account = AmiAccount("n1", "127.0.0.1", ami.port, "dialer", secret, answer=answer, ping=ping)
    switch = AmiSwitch(account, sink=sink, clock=SystemClock(), rng=random.Random(1))
    await switch.start()
    try:
        yield switch
    finally:
        await switch.stop()


async def test_1_a_lost_originate_is_not_sent_again() -> None:
    heard = Heard()
    async with ScriptedAmi() as ami, switch_to(ami, sink=heard) as switch:
        await heard.wait(NodeUp)
        ami.replies["Originate"] = lambda server, action: server.cut()
        with pytest.raises(Unanswered):
            await switch.originate(request())
        await heard.wait(NodeUp, count=2)
        ended = await heard.wait(CallEnded, "call-1")
        assert ended.end is CallEnd.UNKNOWN
        await switch.hang_up("another")  # a whole round trip on the new link
        assert len(ami.of("Originate")) == 1


async def test_2_a_call_lost_after_queued_still_ends() -> None:
    heard = Heard()
    async with ScriptedAmi() as ami, switch_to(ami, sink=heard) as switch:
        await heard.wait(NodeUp)
        await switch.originate(request())
        ami.cut()
        await heard.wait(NodeDown)
        ended = await heard.wait(CallEnded, "call-1")
        assert (ended.end, ended.answered) == (CallEnd.UNKNOWN, False)
        assert len(heard.of(CallEnded)) == 1


async def test_2_an_action_without_answer_ends_and_costs_the_link() -> None:
    heard = Heard()
    async with ScriptedAmi() as ami, switch_to(ami, sink=heard, answer=0.1) as switch:
        await heard.wait(NodeUp)
        ami.replies["Originate"] = lambda server, action: None
        with pytest.raises(Unanswered):
            await asyncio.wait_for(switch.originate(request()), 2)
        await heard.wait(NodeUp, count=2)
        await heard.wait(CallEnded, "call-1")
        assert ami.connections == 2


@pytest.mark.parametrize("bad", ["a\r\nAction: Hangup", "a\nb", "a\rb", "\0", "x" * 1025, "\x85"])
def test_3_values_that_would_be_headers_are_refused(bad: str) -> None:
    with pytest.raises(NotSent):
        clean("CallerID", bad)
    with pytest.raises(NotSent):
        clean("Variable", ["good", bad])


async def test_3_nothing_of_a_refused_value_reaches_the_server() -> None:
    heard = Heard()
    async with ScriptedAmi() as ami, switch_to(ami, sink=heard) as switch:
        await heard.wait(NodeUp)
        for name in ("number", "caller_id", "trunk", "abandon_sound", "call_id", "record"):
            bad = {f: getattr(request(), f) for f in Originate.__slots__}
            with pytest.raises(NotSent):
                await switch.originate(Originate(**bad | {name: "1\r\nAction: Evil"}))
        with pytest.raises(NotSent):
            await switch.originate(
                Originate(**bad | {"call_id": "c2", "variables": {"A": "1\r\nEvil: 1"}})
            )
        with pytest.raises(NotSent):
            await switch.link.ask("Setvar", {"Value": "1\r\nAction: Evil"})
        await switch.hang_up("somebody")
        assert b"Evil" not in ami.raw


async def test_4_events_keep_their_order() -> None:
    heard = Heard()
    async with ScriptedAmi() as ami, switch_to(ami, sink=heard) as switch:
        await heard.wait(NodeUp)
        ids = [f"call-{i}" for i in range(50)]
        for call_id in ids:
            await switch.originate(request(call_id))
        wire = b"".join(frame(frames.newchannel(i)) for i in ids)
        ami.send(wire + b"".join(frame(frames.up(i)) for i in ids))
        await heard.wait(CallAnswered, count=50)
        assert [e.call_id for e in heard.of(CallStarted)] == ids
        assert [e.call_id for e in heard.of(CallAnswered)] == ids


async def test_5_a_failing_handler_harms_no_other_event() -> None:
    heard = Heard()

    def sink(event: SwitchEvent) -> None:
        heard(event)
        if isinstance(event, CallStarted):
            raise RuntimeError("a defect of the dialer")

    async with ScriptedAmi() as ami, switch_to(ami, sink=sink) as switch:
        await heard.wait(NodeUp)
        for call_id in ("call-1", "call-2"):
            await switch.originate(request(call_id))
            ami.send(frames.newchannel(call_id))
            ami.send(frames.up(call_id))
        await heard.wait(CallAnswered, "call-2")
        assert len(heard.of(CallAnswered)) == 2
        assert switch.is_up and not heard.of(NodeDown)


@given(data=st.data())
def test_6_any_split_of_the_bytes_gives_the_same_events(data: st.DataObject) -> None:
    texts = ["Zoë", "漢字 name", "plain", "😀"]
    raw = b"Asterisk Call Manager/11.0.0\r\n" + b"".join(
        frame({"Event": "UserEvent", "Name": text, "N": str(i)}) for i, text in enumerate(texts)
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=12)))

    async def feed() -> list[tuple[str, str]]:
        seen: list[tuple[str, str]] = []
        wire = Wire(
            on_event=lambda m: seen.append((str(m.get("name")), str(m.get("n")))),
            on_lost=lambda reason: None,
        )
        for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
            wire.data_received(raw[start:end])
        return seen

    assert asyncio.run(feed()) == [(text, str(i)) for i, text in enumerate(texts)]


@pytest.mark.parametrize("response_first", [True, False])
async def test_7_the_originate_response_reaches_the_call(response_first: bool) -> None:
    """Also when it overtakes the answer to the action, with the same ActionID."""
    heard = Heard()

    def reply(server: ScriptedAmi, action: Action) -> None:
        call = action["ActionID"]
        failure = frames.response(call, success=False, reason=0)
        if response_first:
            server.send(failure)
        server.answer(action, Message="Originate successfully queued")
        if not response_first:
            server.send(failure)

    async with ScriptedAmi() as ami, switch_to(ami, sink=heard) as switch:
        await heard.wait(NodeUp)
        ami.replies["Originate"] = reply
        await switch.originate(request())
        ended = await heard.wait(CallEnded, "call-1")
        assert (ended.end, ended.answered) == (CallEnd.FAILED, False)


async def test_8_a_half_open_link_is_noticed() -> None:
    heard = Heard()
    async with ScriptedAmi() as ami, switch_to(ami, sink=heard, answer=0.2, ping=0.1) as switch:
        await heard.wait(NodeUp)
        ami.silent = True
        await heard.wait(NodeDown, timeout=2)
        with pytest.raises(NotSent):
            await switch.originate(request())
        ami.silent = False
        await heard.wait(NodeUp, count=2)


async def test_9_a_bad_secret_stays_down_and_says_so() -> None:
    heard = Heard()
    async with (
        ScriptedAmi(secret="other") as ami,
        switch_to(ami, sink=heard) as switch,
    ):
        await ami.wait("Login", count=3)
        assert not switch.is_up and not heard.events
        assert "refused" in switch.link.last_error and "right" not in switch.link.last_error
        with pytest.raises(NotSent):
            await switch.originate(request())
        ami.secret = "right"
        await heard.wait(NodeUp)


async def test_10_nothing_is_believed_before_the_channels_are_known() -> None:
    heard = Heard()
    async with ScriptedAmi() as ami:
        ami.replies["CoreShowChannels"] = lambda server, action: None
        async with switch_to(ami, sink=heard) as switch:
            asked = await ami.wait("CoreShowChannels")
            assert not switch.is_up and not heard.events
            with pytest.raises(NotSent):
                await switch.originate(request())
            del ami.replies["CoreShowChannels"]
            ami._reply(asked)
            await heard.wait(NodeUp)


async def test_garbage_is_dropped_and_counted() -> None:
    heard = Heard()
    async with ScriptedAmi() as ami, switch_to(ami, sink=heard) as switch:
        await heard.wait(NodeUp)
        await switch.originate(request())
        wire = switch.link._wire
        assert wire is not None
        ami.send(b"\xff\xfe\x00garbage\r\n\r\n: \r\n\r\nNo colon at all\r\n\r\n")
        ami.send(b"Event: Hangup\r\nUniqueid: call-1\r\nUniqueid: call-2\r\n\r\n")
        ami.send(frames.newchannel("call-1"))
        await heard.wait(CallStarted, "call-1")
        assert wire.dropped == 3
        for junk in GARBAGE:
            ami.send(junk)
        ami.send(frames.up("call-1"))
        await heard.wait(CallAnswered, "call-1")
        assert not heard.of(CallEnded) and switch.is_up and wire.failed_handlers == 0


async def test_a_frame_without_end_costs_the_link_not_the_memory() -> None:
    heard = Heard()
    async with ScriptedAmi() as ami, switch_to(ami, sink=heard):
        await heard.wait(NodeUp)
        ami.send(b"Event: " + b"x" * 300_000)
        await heard.wait(NodeDown)
        await heard.wait(NodeUp, count=2)


async def test_what_vanished_and_what_advanced_while_away() -> None:
    heard = Heard()
    async with ScriptedAmi() as ami, switch_to(ami, sink=heard) as switch:
        await heard.wait(NodeUp)
        for call_id in ("gone", "talking", "rings"):
            await switch.originate(request(call_id))
        for leg_id in ("leg-1", "leg-2"):
            await switch.call_leg(leg_id, endpoint="a1", caller_id="x", ring_timeout=5)
        for frame_ in (
            frames.newchannel("talking"), frames.up("talking"), frames.up("leg-1"),
            frames.up("leg-2"), frames.enter("talking", "b1"), frames.enter("leg-1", "b1"),
        ):  # fmt: skip
            ami.send(frame_)
        await heard.wait(CallAnswered, "talking")
        ami.channels = [
            frames.live("talking", kind="call", answered=True),
            frames.live("rings", kind="call", answered=True),
            frames.live("leg-1", kind="leg", answered=True, bridge="hold"),
        ]
        ami.bridges = [{"BridgeUniqueid": "hold", "BridgeTechnology": "holding_bridge"}]
        ami.cut()
        up = await heard.wait(NodeUp, count=2)
        assert not up.restarted and len(up.channels) == 3
        assert up.channels[2].kind == "leg" and up.channels[2].seconds == 65
        assert heard.order("gone") == ["CallEnded"]
        assert heard.order("rings") == ["CallStarted", "CallAnswered"]
        assert len(heard.of(CallUnbridged, "talking")) == 1
        assert len(heard.of(LegParked, "leg-1")) == 1
        assert len(heard.of(LegEnded, "leg-2")) == 1
        assert not heard.of(CallEnded, "talking")


async def test_another_asterisk_process_is_recognised() -> None:
    heard = Heard()
    async with ScriptedAmi() as ami, switch_to(ami, sink=heard) as switch:
        await heard.wait(NodeUp)
        await switch.originate(request())
        ami.restart()
        up = await heard.wait(NodeUp, count=2)
        assert up.restarted
        assert heard.of(CallEnded)[0].end is CallEnd.UNKNOWN


async def test_a_call_given_up_for_lost_that_begins_after_all_is_ended() -> None:
    heard = Heard()
    async with ScriptedAmi() as ami, switch_to(ami, sink=heard) as switch:
        await heard.wait(NodeUp)
        ami.replies["Originate"] = lambda server, action: server.cut()
        with pytest.raises(Unanswered):
            await switch.originate(request())
        await heard.wait(CallEnded, "call-1")
        await heard.wait(NodeUp, count=2)
        ami.send(frames.newchannel("call-1"))
        assert (await ami.wait("Hangup"))["Channel"] == "call-1"
        assert len(heard.of(CallEnded)) == 1


async def test_a_hangup_during_the_resynchronisation_keeps_its_cause() -> None:
    heard = Heard()
    async with ScriptedAmi() as ami, switch_to(ami, sink=heard) as switch:
        await heard.wait(NodeUp)
        await switch.originate(request())
        ami.send(frames.newchannel("call-1"))
        await heard.wait(CallStarted)
        ami.channels = [frames.live("call-1", kind="call", answered=False)]

        def late(server: ScriptedAmi, action: Action) -> None:
            server.send(frames.hangup("call-1", 17, "486"))
            del server.replies["CoreShowChannels"]
            server._reply(action)

        ami.replies["CoreShowChannels"] = late
        ami.cut()
        up = await heard.wait(NodeUp, count=2)
        assert [e.end for e in heard.of(CallEnded)] == [CallEnd.BUSY]
        assert up.channels == ()


@pytest.mark.parametrize("far", [True, False])
async def test_who_hung_up_during_the_resynchronisation_is_heard(far: bool) -> None:
    heard = Heard()
    async with ScriptedAmi() as ami, switch_to(ami, sink=heard) as switch:
        await heard.wait(NodeUp)
        await switch.originate(request())
        ami.send(frames.newchannel("call-1"))
        ami.send(frames.up("call-1"))
        ami.send(frames.response("call-1", success=True, reason=4))
        await heard.wait(CallAnswered)

        def late(server: ScriptedAmi, action: Action) -> None:
            if far:
                server.send(frames.hangup_request("call-1"))
            server.send(frames.hangup("call-1", 16))
            del server.replies["CoreShowChannels"]
            server._reply(action)

        ami.replies["CoreShowChannels"] = late
        ami.cut()
        await heard.wait(NodeUp, count=2)
        ends = [e.end for e in heard.of(CallEnded)]
        assert ends == [CallEnd.HUNG_UP_FAR if far else CallEnd.HUNG_UP_NEAR]


async def test_a_conversation_that_began_without_the_recorders_link_is_recorded_later() -> None:
    heard = Heard()
    async with ScriptedAmi() as ami, ScriptedAmi() as other:
        account = AmiAccount(
            "n1", "127.0.0.1", ami.port, "dialer", "right",
            record_user="recorder", record_secret="right",
        )  # fmt: skip
        switch = AmiSwitch(account, sink=heard, clock=SystemClock(), rng=random.Random(1))
        recorder = switch.links[1]
        recorder._settings = replace(recorder._settings, port=other.port)  # a link of its own
        other.secret = "not yet"
        await switch.start()
        try:
            await heard.wait(NodeUp)
            for call in ("call-1", "call-2"):
                await switch.originate(replace(request(call), record=f"{call}.wav"))
                await switch.call_leg(f"leg-{call}", endpoint="e", caller_id="d", ring_timeout=5.0)
                for channel in (call, f"leg-{call}"):
                    ami.send(frames.newchannel(channel))
                    ami.send(frames.up(channel))
                    ami.send(frames.enter(channel, f"bridge-{call}"))
                await heard.wait(CallBridged, call)
            ami.send(frames.hangup("call-2", 16))
            ami.send(frames.response("call-2", success=True, reason=4))
            await heard.wait(CallEnded, "call-2")
            assert not other.of("MixMonitor")
            other.secret = "right"
            begun = await other.wait("MixMonitor")
            assert (begun["Channel"], begun["File"]) == ("call-1", "call-1.wav")
            assert len(other.of("MixMonitor")) == 1  # call-2 was over by then
        finally:
            await switch.stop()


async def test_a_bridge_refused_in_the_first_moment_is_tried_again() -> None:
    heard = Heard()
    refusals = ["Channel1 is not in a state for it"]

    def reply(server: ScriptedAmi, action: Action) -> None:
        if refusals:
            server.refuse(action, refusals.pop())
        else:
            server.answer(action)

    async with ScriptedAmi() as ami, switch_to(ami, sink=heard) as switch:
        await heard.wait(NodeUp)
        ami.replies["Bridge"] = reply
        await switch.bridge("call-1", "leg-1")
        assert len(ami.of("Bridge")) == 2
        refusals.append("No such channel")
        with pytest.raises(Refused):
            await switch.bridge("call-1", "leg-1")
        assert len(ami.of("Bridge")) == 3
