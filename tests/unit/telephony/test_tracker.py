"""One life per call, whatever the order in which AMI tells it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from panoramisk.message import Message

from telephony.ami.tracker import Tracker
from telephony.clock import ManualClock
from telephony.events import (
    CallBridged,
    CallEnd,
    CallEnded,
    CallUnbridged,
    ChannelSnapshot,
    LegParked,
    RecordingEnded,
    SwitchEvent,
)
from tests.unit.telephony.frames import (
    Fields,
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


class Bench:
    """A tracker with its events kept and its timers in the test's hand."""

    def __init__(self) -> None:
        self.events: list[SwitchEvent] = []
        self.timers: list[Callable[[], None]] = []
        self.left_over: list[str] = []
        self.tracker = Tracker(
            "n1",
            sink=self.events.append,
            clock=ManualClock(datetime(2026, 1, 1, tzinfo=UTC)),
            later=lambda delay, do: self.timers.append(do),
            left_over=lambda channel_id, reason: self.left_over.append(channel_id),
        )

    def feed(self, *frames: Fields) -> None:
        for fields in frames:
            self.tracker.on_message(Message(dict(fields)))

    def time_over(self) -> None:
        timers, self.timers = self.timers, []
        for do in timers:
            do()

    def names(self) -> list[str]:
        return [type(e).__name__ for e in self.events]

    def ended(self) -> list[CallEnded]:
        return [e for e in self.events if isinstance(e, CallEnded)]


LIVES: dict[CallEnd, Sequence[Fields]] = {
    CallEnd.BUSY: (
        newchannel("c"), response("c", success=False, reason=0), hangup("c", 17, "486"),
    ),
    CallEnd.SILENT: (
        newchannel("c"), response("c", success=False, reason=3), hangup("c", 16),
    ),
    CallEnd.HUNG_UP_NEAR: (up("c"), response("c", success=True, reason=4), hangup("c", 16)),
    CallEnd.HUNG_UP_FAR: (
        up("c"), response("c", success=True, reason=4), hangup_request("c"), hangup("c", 31, "480"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("end", [CallEnd.BUSY, CallEnd.SILENT, CallEnd.HUNG_UP_NEAR])
@given(data=st.data())
def test_any_order_of_the_ending_events_is_the_same_end(end: CallEnd, data: st.DataObject) -> None:
    frames = data.draw(st.permutations(LIVES[end]))
    bench = Bench()
    bench.tracker.expect("c", leg=False)
    bench.feed(*frames)
    bench.time_over()
    bench.feed(*frames)  # said twice, heard once
    bench.time_over()
    assert [e.end for e in bench.ended()] == [end]
    assert bench.ended()[0].answered == (end is CallEnd.HUNG_UP_NEAR)
    assert bench.names()[-1] == "CallEnded"
    assert len(bench.events) == len(set(bench.names()))


@given(place=st.integers(0, 3))
def test_the_response_may_come_anywhere_in_an_answered_call(place: int) -> None:
    frames = [f for f in LIVES[CallEnd.HUNG_UP_FAR] if f["Event"] != "OriginateResponse"]
    frames.insert(place, response("c", success=True, reason=4))
    bench = Bench()
    bench.tracker.expect("c", leg=False)
    bench.feed(newchannel("c"), *frames)
    assert bench.names() == ["CallStarted", "CallAnswered", "CallEnded"]
    # Up is looked at first: the BYE's own cause says nothing.
    assert bench.ended()[0].end is CallEnd.HUNG_UP_FAR


@pytest.mark.parametrize("seen", ["the ringing", "not all", "nothing before"])
def test_who_rang_or_may_have_rung_did_not_answer(seen: str) -> None:
    bench = Bench()
    if seen == "nothing before":  # another dialer placed it
        bench.tracker.adopt([ChannelSnapshot("PJSIP/x", "c", "c", "call", False, "", 5.0)])
    else:
        bench.tracker.expect("c", leg=False)
    bench.feed(newchannel("c"))
    if seen == "the ringing":
        bench.feed(ringing("c"))
    elif seen == "not all":
        bench.tracker.link_lost()
    bench.feed(response("c", success=False, reason=3), hangup("c", 19, "480"))
    assert [e.end for e in bench.ended()] == [CallEnd.NO_ANSWER]


def test_it_is_not_over_before_hangup_and_response() -> None:
    for first in (hangup("c", 17), response("c", success=False, reason=0)):
        bench = Bench()
        bench.tracker.expect("c", leg=False)
        bench.feed(newchannel("c"), first)
        assert not bench.ended()


def test_a_failure_without_a_channel_waits_for_one_that_is_late() -> None:
    bench = Bench()
    bench.tracker.expect("c", leg=False)
    bench.feed(response("c", success=False, reason=0))
    assert not bench.ended()
    bench.feed(newchannel("c"))
    bench.time_over()
    assert not bench.ended()
    bench.feed(hangup("c", 1, "404"))
    assert [e.end for e in bench.ended()] == [CallEnd.INVALID_NUMBER]


def test_a_failure_without_any_channel_is_the_end() -> None:
    bench = Bench()
    bench.tracker.expect("c", leg=False)
    bench.feed(response("c", success=False, reason=0))
    bench.time_over()
    assert [e.end for e in bench.ended()] == [CallEnd.FAILED]
    assert bench.names() == ["CallEnded"]


def test_a_hangup_whose_response_never_comes_is_the_end() -> None:
    bench = Bench()
    bench.tracker.expect("c", leg=False)
    bench.feed(newchannel("c"), hangup("c", 17, "486"))
    bench.time_over()
    assert [e.end for e in bench.ended()] == [CallEnd.BUSY]


def test_bridged_only_when_both_are_in_the_same_bridge() -> None:
    bench = Bench()
    bench.tracker.expect("c", leg=False, recording="a/b.wav")
    bench.tracker.expect("l", leg=True)
    bench.feed(up("l"), enter("l", "hold", "holding_bridge"), up("c"), leave("l", "hold"))
    bench.feed(enter("l", "b1"), enter("c", "b2"))
    assert "CallBridged" not in bench.names()
    bench.feed(leave("c", "b2"), enter("c", "b1"))
    assert [e for e in bench.events if isinstance(e, CallBridged)] == [
        CallBridged("n1", 0.0, "c", "l", "b1")
    ]
    bench.feed(leave("c", "b1"), leave("l", "b1"), enter("l", "hold", "holding_bridge"))
    assert sum(isinstance(e, CallUnbridged) for e in bench.events) == 1
    assert sum(isinstance(e, LegParked) for e in bench.events) == 2
    bench.feed(hangup_request("c"), hangup("c", 16), response("c", success=True, reason=4))
    assert not any(isinstance(e, RecordingEnded) for e in bench.events)  # not closed yet
    bench.time_over()
    assert [e.path for e in bench.events if isinstance(e, RecordingEnded)] == ["a/b.wav"]


def test_a_bridge_told_twice_parts_nobody() -> None:
    bench = Bench()
    bench.tracker.expect("c", leg=False)
    bench.tracker.expect("l", leg=True)
    bench.feed(up("c"), up("l"))
    for frame in (enter("c", "b1"), enter("l", "b1")):
        bench.feed(frame, frame)
    assert bench.names().count("CallBridged") == 1
    assert "CallUnbridged" not in bench.names()
    bench.feed(leave("l", "b1"), leave("l", "b1"))
    assert bench.names().count("CallUnbridged") == 1


def test_a_channel_that_outlives_its_far_end_is_left_over() -> None:
    """Seen on Asterisk 22: a BYE that crosses the move into a bridge ends nothing."""
    bench = Bench()
    for channel_id, leg in (("c", False), ("l", True), ("ended", False)):
        bench.tracker.expect(channel_id, leg=leg)
        bench.feed(up(channel_id), response(channel_id, success=True, reason=4))
    bench.feed(hangup_request("c"), enter("c", "b1"), enter("l", "b1"), hangup_request("l"))
    bench.feed(hangup_request("ended"), hangup("ended", 16))
    bench.time_over()
    assert bench.left_over == ["c", "l"]
    bench.feed(hangup("c", 16))
    assert bench.ended()[-1].end is CallEnd.HUNG_UP_FAR


def test_events_of_channels_that_are_not_ours_are_nothing() -> None:
    bench = Bench()
    bench.feed(newchannel("x"), ringing("x"), up("x"), enter("x", "b"), leave("x", "b"))
    bench.feed(hangup("x", 16), response("x", success=False, reason=0))
    assert not bench.events and not bench.left_over


def test_ringing_and_answer_are_told_once() -> None:
    bench = Bench()
    bench.tracker.expect("c", leg=False)
    bench.feed(ringing("c"), newchannel("c"), ringing("c"), up("c"), up("c"), ringing("c"))
    assert bench.names() == ["CallStarted", "CallProgress", "CallAnswered"]


_WORDS = ("Hangup", "Newstate", "BridgeEnter", "UserEvent", "OriginateResponse", "Failure")
_WORDS += ("DialerStage", "c", "²", "", "99999999999", "-1", "6", "message")


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["Event", "Uniqueid", "Cause", "Response", "Stage", "UserEvent"]),
            st.sampled_from(_WORDS),
        ),
        max_size=20,
    )
)
def test_no_frame_breaks_the_tracker(frames: list[dict[str, str]]) -> None:
    bench = Bench()
    bench.tracker.expect("c", leg=False)
    bench.feed(*frames)
    bench.time_over()
    assert len(bench.ended()) <= 1
