"""What every switch does: one life per call, in order, ended exactly once."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from telephony.events import (
    CallAnswered,
    CallBridged,
    CallEnd,
    CallEnded,
    CallStaged,
    CallStarted,
    CallUnbridged,
    LegEnded,
    LegParked,
    LegUp,
    NodeDown,
    NodeUp,
    RecordingEnded,
    Stage,
)
from telephony.switch import NotSent, Refused
from tests.contract.switch.rig import Heard, Rig

pytestmark = [pytest.mark.contract, pytest.mark.asyncio(loop_scope="module")]


@pytest.mark.parametrize(
    ("behaviour", "end", "cause", "tech"),
    [
        (2, CallEnd.BUSY, 17, "486"),
        (4, CallEnd.INVALID_NUMBER, 1, "404"),
        (5, CallEnd.NO_ANSWER, 19, "480"),
        (6, CallEnd.CONGESTION, 34, "503"),
        (7, CallEnd.REJECTED, 21, "603"),
    ],
)
async def test_a_call_that_nobody_takes(
    rig: Rig, behaviour: int, end: CallEnd, cause: int, tech: str
) -> None:
    request = rig.request(behaviour=behaviour)
    ended = await rig.call(request)
    assert (ended.end, ended.answered, ended.cause, ended.tech_cause) == (end, False, cause, tech)
    order = rig.heard.order(request.call_id)
    assert order[0] == "CallStarted" and order[-1] == "CallEnded"
    assert "CallAnswered" not in order


async def test_rings_then_fails_is_congestion(rig: Rig) -> None:
    ended = await rig.call(rig.request(behaviour=8, delay=1))
    assert (ended.end, ended.answered) == (CallEnd.CONGESTION, False)


async def test_ringing_for_ever_ends_at_the_ring_timeout(rig: Rig) -> None:
    request = rig.request(behaviour=3, ring_timeout=1.0)
    ended = await rig.call(request)
    assert (ended.end, ended.answered) == (CallEnd.NO_ANSWER, False)
    began = rig.heard.of(CallStarted, request.call_id)[0].at
    assert 0.8 < ended.at - began < 3.0
    assert rig.heard.order(request.call_id) == ["CallStarted", "CallProgress", "CallEnded"]


async def test_cancelled_while_it_rings(rig: Rig) -> None:
    request = rig.request(behaviour=3)
    await rig.switch.originate(request)
    await rig.heard.wait(CallStarted, request.call_id)
    await rig.switch.hang_up(request.call_id)
    ended = await rig.heard.wait(CallEnded, request.call_id)
    assert (ended.end, ended.answered) == (CallEnd.CANCELLED, False)


async def test_answers_and_hangs_up_at_once(rig: Rig) -> None:
    request = rig.request(behaviour=9)
    ended = await rig.call(request)
    assert (ended.end, ended.answered) == (CallEnd.HUNG_UP_FAR, True)
    order = rig.heard.order(request.call_id)
    assert [name for name in order if name != "CallProgress"] == [
        "CallStarted",
        "CallAnswered",
        "CallEnded",
    ]


async def test_nobody_comes_and_the_message_is_played(rig: Rig) -> None:
    request = rig.request(behaviour=1, window=1.0)
    ended = await rig.call(request)
    answered = rig.heard.of(CallAnswered, request.call_id)[0]
    stages = rig.heard.of(CallStaged, request.call_id)
    assert [s.stage for s in stages] == [Stage.MESSAGE, Stage.FINISHED]
    assert 0.9 < stages[0].at - answered.at < 1.5
    assert (ended.end, ended.answered) == (CallEnd.HUNG_UP_NEAR, True)


async def test_a_leg_answers_parks_and_ends(rig: Rig) -> None:
    leg = await rig.leg()
    await rig.switch.hang_up(leg)
    await rig.heard.wait(LegEnded, leg)
    assert rig.heard.order(leg) == ["LegUp", "LegParked", "LegEnded"]


async def test_a_person_is_joined_to_a_leg_and_hangs_up(rig: Rig) -> None:
    leg = await rig.leg()
    request = rig.request(behaviour=0, talk=2, window=10.0)
    await rig.switch.originate(request)
    await rig.heard.wait(CallAnswered, request.call_id)
    await rig.switch.bridge(request.call_id, leg)
    bridged = await rig.heard.wait(CallBridged, request.call_id)
    assert bridged.leg_id == leg
    ended = await rig.heard.wait(CallEnded, request.call_id)
    assert (ended.end, ended.answered) == (CallEnd.HUNG_UP_FAR, True)
    await rig.heard.wait(LegParked, leg, count=2)
    order = rig.heard.order(request.call_id)
    assert order[-3:] == ["CallBridged", "CallUnbridged", "CallEnded"]
    assert len(rig.heard.of(CallBridged)) == len(rig.heard.of(CallUnbridged)) == 1
    assert not rig.heard.of(CallStaged, request.call_id)
    assert not rig.heard.of(LegEnded, leg)


async def test_the_agent_hangs_up_the_person_and_takes_the_next(rig: Rig) -> None:
    leg = await rig.leg()
    for turn in (1, 2):
        request = rig.request(behaviour=1, window=10.0)
        await rig.switch.originate(request)
        await rig.heard.wait(CallAnswered, request.call_id)
        await rig.switch.bridge(request.call_id, leg)
        await rig.heard.wait(CallBridged, request.call_id)
        await rig.switch.hang_up(request.call_id)
        ended = await rig.heard.wait(CallEnded, request.call_id)
        assert ended.end is CallEnd.HUNG_UP_NEAR
        await rig.heard.wait(LegParked, leg, count=turn + 1)


async def test_a_dying_leg_leaves_nobody_in_silence(rig: Rig) -> None:
    leg = await rig.leg()
    request = rig.request(behaviour=1, window=2.0)
    await rig.switch.originate(request)
    await rig.heard.wait(CallAnswered, request.call_id)
    await rig.switch.bridge(request.call_id, leg)
    await rig.heard.wait(CallBridged, request.call_id)
    await rig.switch.hang_up(leg)
    await rig.heard.wait(LegEnded, leg)
    ended = await rig.heard.wait(CallEnded, request.call_id, timeout=4)
    assert (ended.end, ended.answered) == (CallEnd.HUNG_UP_NEAR, True)
    # Nobody was late for this person: the abandon message is not for them.
    assert Stage.MESSAGE not in [s.stage for s in rig.heard.of(CallStaged, request.call_id)]


async def test_the_agent_hears_ringing_and_parks_again(rig: Rig) -> None:
    leg = await rig.leg()
    await rig.switch.ring_tone(leg, on=True)
    await rig.switch.ring_tone(leg, on=False)
    await rig.heard.wait(LegParked, leg, count=2)
    await rig.switch.play(leg, "beep")
    await rig.heard.wait(LegParked, leg, count=3)


async def test_a_person_is_joined_to_a_leg_that_hears_ringing(rig: Rig) -> None:
    leg = await rig.leg()
    await rig.switch.ring_tone(leg, on=True)
    request = rig.request(behaviour=1, window=10.0)
    await rig.switch.originate(request)
    await rig.heard.wait(CallAnswered, request.call_id)
    await rig.switch.bridge(request.call_id, leg)
    await rig.heard.wait(CallBridged, request.call_id)
    await rig.switch.hang_up(request.call_id)
    await rig.heard.wait(LegParked, leg, count=2)


async def test_a_conversation_is_recorded(rig: Rig) -> None:
    leg = await rig.leg()
    path = f"contract/{uuid.uuid4()}.wav"
    request = rig.request(behaviour=1, window=10.0, record=path)
    await rig.switch.originate(request)
    await rig.heard.wait(CallAnswered, request.call_id)
    await rig.switch.bridge(request.call_id, leg)
    await rig.heard.wait(CallBridged, request.call_id)
    await rig.switch.hang_up(request.call_id)
    closed = await rig.heard.wait(RecordingEnded, request.call_id)
    assert closed.path == path


async def test_bridging_what_is_gone_is_refused(rig: Rig) -> None:
    leg = await rig.leg()
    with pytest.raises(Refused):
        await rig.switch.bridge(str(uuid.uuid4()), leg)
    request = rig.request(behaviour=1, window=10.0)
    await rig.switch.originate(request)
    await rig.heard.wait(CallAnswered, request.call_id)
    with pytest.raises(Refused):
        await rig.switch.bridge(request.call_id, f"leg-{uuid.uuid4()}")
    await rig.switch.hang_up(leg)
    await rig.heard.wait(LegEnded, leg)


async def test_hanging_up_what_is_gone_is_no_error(rig: Rig) -> None:
    await rig.switch.hang_up(str(uuid.uuid4()))


async def test_the_same_id_is_not_called_twice(rig: Rig) -> None:
    request = rig.request(behaviour=3)
    await rig.switch.originate(request)
    with pytest.raises(Refused):
        await rig.switch.originate(request)
    await rig.heard.wait(CallStarted, request.call_id)
    await rig.switch.hang_up(request.call_id)
    await rig.heard.wait(CallEnded, request.call_id)
    assert len(rig.heard.of(CallEnded, request.call_id)) == 1


@pytest.mark.parametrize("to", ["+1202\r\nAction: Hangup", "1;drop", "", "9" * 10_000, "+1\x002"])
async def test_a_number_that_is_none_is_not_sent(rig: Rig, to: str) -> None:
    request = rig.request(behaviour=1)
    fields = {f: getattr(request, f) for f in request.__slots__} | {"number": to}
    with pytest.raises(NotSent):
        await rig.switch.originate(type(request)(**fields))
    assert not rig.heard.order(request.call_id)


async def test_channels_are_shown_with_our_ids(rig: Rig) -> None:
    leg = await rig.leg()
    request = rig.request(behaviour=3)
    await rig.switch.originate(request)
    await rig.heard.wait(CallStarted, request.call_id)
    shown = {c.dialer_id: c for c in await rig.switch.channels()}
    assert (shown[leg].kind, shown[leg].answered) == ("leg", True)
    assert (shown[request.call_id].kind, shown[request.call_id].answered) == ("call", False)
    await rig.switch.hang_up(request.call_id)
    await rig.heard.wait(CallEnded, request.call_id)


async def test_what_happened_while_the_link_was_away_is_told_afterwards(rig: Rig) -> None:
    leg = await rig.leg()
    ends = rig.request(behaviour=2)  # over before the link is back
    rings = rig.request(behaviour=3)
    answers = rig.request(behaviour=1, delay=1, window=10.0)
    for request in (rings, answers, ends):
        await rig.switch.originate(request)
    await rig.heard.wait(CallStarted, answers.call_id)
    rig.cut()
    await rig.heard.wait(NodeDown)
    with pytest.raises(NotSent):
        await rig.switch.originate(rig.request(behaviour=1))
    up = await rig.heard.wait(NodeUp, count=2)
    assert not up.restarted
    assert {c.dialer_id for c in up.channels} >= {leg, rings.call_id, answers.call_id}
    await rig.heard.wait(CallEnded, ends.call_id)
    await rig.heard.wait(CallAnswered, answers.call_id)
    assert len(rig.heard.of(LegUp, leg)) == 1
    assert not rig.heard.of(LegEnded, leg)
    await rig.switch.bridge(answers.call_id, leg)
    await rig.heard.wait(CallBridged, answers.call_id)
    for request in (rings, answers):
        await rig.switch.hang_up(request.call_id)
        await rig.heard.wait(CallEnded, request.call_id)
    for request in (rings, answers, ends):
        assert len(rig.heard.of(CallEnded, request.call_id)) == 1


async def test_many_at_once_end_exactly_once_each(rig: Rig) -> None:
    requests = [rig.request(behaviour=(2, 4, 6, 9)[i % 4]) for i in range(80)]
    ended = await asyncio.gather(*(rig.call(r) for r in requests))
    wanted = [
        (CallEnd.BUSY, CallEnd.INVALID_NUMBER, CallEnd.CONGESTION, CallEnd.HUNG_UP_FAR)[i % 4]
        for i in range(80)
    ]
    assert [e.end for e in ended] == wanted
    assert len(rig.heard.of(CallEnded)) == 80


async def test_a_dialer_that_stood_by_goes_on_with_what_another_one_placed(rig: Rig) -> None:
    """From its look at the channels on: a parked leg, and a conversation that is under way."""
    heard = Heard()
    assert rig.another is not None
    standby = rig.another(heard)
    await standby.start()
    try:
        await heard.wait(NodeUp)
        busy, talking = await rig.leg(), rig.request(behaviour=1)
        await rig.switch.originate(talking)
        await rig.heard.wait(CallAnswered, talking.call_id)
        await rig.switch.bridge(talking.call_id, busy)
        await rig.heard.wait(CallBridged, talking.call_id)
        leg = await rig.leg()
        await standby.channels()
        waiting = rig.request(behaviour=1)
        await standby.originate(waiting)
        await heard.wait(CallAnswered, waiting.call_id)
        await standby.bridge(waiting.call_id, leg)
        assert (await heard.wait(CallBridged, waiting.call_id)).leg_id == leg
        seen = len(heard.of(LegParked, leg))
        await standby.hang_up(waiting.call_id)
        await heard.wait(CallEnded, waiting.call_id)
        await heard.wait(LegParked, leg, count=seen + 1)
        await standby.hang_up(talking.call_id)
        ended = await heard.wait(CallEnded, talking.call_id)
        assert (ended.end, ended.answered) == (CallEnd.HUNG_UP_NEAR, True)
        await heard.wait(LegParked, busy)
        await standby.hang_up(leg)
        await heard.wait(LegEnded, leg)
    finally:
        await standby.stop()
