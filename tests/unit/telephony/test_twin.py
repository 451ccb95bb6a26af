"""The twin in virtual time: exact instants, and faults as commands."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import looptime
import pytest

from telephony.clock import LoopClock
from telephony.events import (
    CallAnswered,
    CallBridged,
    CallEnd,
    CallEnded,
    CallStaged,
    LegEnded,
    LegParked,
    NodeDown,
    NodeUp,
    Stage,
)
from telephony.nodes import Switchboard
from telephony.switch import NotSent, Originate, Refused, Unanswered
from telephony.twin import Behaviour, TwinNode, TwinRecords, TwinSwitch, by_number
from tests.contract.switch.rig import Heard

pytestmark = [pytest.mark.unit, pytest.mark.looptime(start=0)]
assert looptime

START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
CLOCK = LoopClock(START)


def request(call_id: str, *, number: str = "+120", window: float = 2.0) -> Originate:
    return Originate(
        call_id=call_id,
        number=number,
        trunk="t",
        caller_id="",
        ring_timeout=20.0,
        connect_window=window,
        abandon_sound="sorry",
    )


async def twin(**behaviours: Behaviour) -> tuple[TwinNode, TwinSwitch, Heard]:
    public = by_number({number.replace("n", "+"): b for number, b in behaviours.items()})
    node, heard = TwinNode("n1", clock=CLOCK, public=public), Heard()
    switch = TwinSwitch(node, sink=heard, clock=CLOCK)
    await switch.start()
    return node, switch, heard


async def test_exact_instants_of_an_abandoned_call_that_opts_out() -> None:
    node, switch, heard = await twin(n120=Behaviour(delay=3.0, opts_out=True))
    await switch.originate(request("c"))
    await heard.wait(CallEnded, "c", timeout=60)
    assert heard.of(CallAnswered)[0].at == 3.0
    assert [(e.stage, e.at) for e in heard.of(CallStaged)] == [
        (Stage.MESSAGE, 5.0),
        (Stage.OPT_OUT, 7.0),
        (Stage.FINISHED, 8.0),
    ]
    found = (await TwinRecords([node]).find(["c"], since=START))["c"]
    assert (found.answered_at, found.ended_at) == (
        START + timedelta(seconds=3),
        START + timedelta(seconds=8),
    )
    assert found.message_played and found.opted_out and not found.bridged


async def test_a_person_bridged_in_time_hears_no_message() -> None:
    _, switch, heard = await twin(n120=Behaviour(delay=1.0, talk=30.0))
    await switch.call_leg("leg-1", endpoint="a", caller_id="x", ring_timeout=5)
    await heard.wait(LegParked)
    await switch.originate(request("c"))
    await heard.wait(CallAnswered, "c")
    await switch.bridge("c", "leg-1")
    ended = await heard.wait(CallEnded, "c", timeout=60)
    assert (ended.at, ended.end) == (31.0, CallEnd.HUNG_UP_FAR)
    await heard.wait(LegParked, count=2)
    assert not heard.of(CallStaged)


async def test_a_crash_takes_the_channels_and_a_boot_brings_the_node_back() -> None:
    node, switch, heard = await twin(n120=Behaviour(delay=5.0))
    await switch.call_leg("leg-1", endpoint="a", caller_id="x", ring_timeout=5)
    await switch.originate(request("c"))
    await heard.wait(LegParked)
    node.crash()
    await heard.wait(NodeDown)
    with pytest.raises(NotSent):
        await switch.originate(request("d"))
    node.boot()
    up = await heard.wait(NodeUp, count=2)
    assert up.restarted and up.channels == ()
    assert [e.end for e in heard.of(CallEnded)] == [CallEnd.UNKNOWN]
    assert len(heard.of(LegEnded)) == 1
    await asyncio.sleep(30)
    assert len(heard.of(CallEnded)) == 1 and not heard.of(CallAnswered)


async def test_a_lost_request_and_a_lost_answer_both_end_once() -> None:
    node, switch, heard = await twin(n120=Behaviour(delay=5.0, talk=1.0))
    switch.lose_request()
    with pytest.raises(Unanswered):
        await switch.originate(request("never"))
    await heard.wait(NodeUp, count=2)
    switch.lose_answer()
    with pytest.raises(Unanswered):
        await switch.originate(request("did"))
    ended = await heard.wait(CallEnded, "did", timeout=60)
    assert ended.end is CallEnd.HUNG_UP_FAR
    assert [e.end for e in heard.of(CallEnded, "never")] == [CallEnd.UNKNOWN]
    assert node.dialed == ["+120"]


async def test_a_lost_answer_to_a_bridge_is_told_after_the_reconnection() -> None:
    _, switch, heard = await twin(n120=Behaviour())
    await switch.call_leg("leg-1", endpoint="a", caller_id="x", ring_timeout=5)
    await switch.originate(request("c", window=30.0))
    await heard.wait(CallAnswered)
    switch.lose_answer()
    with pytest.raises(Unanswered):
        await switch.bridge("c", "leg-1")
    bridged = await heard.wait(CallBridged)
    assert (bridged.call_id, bridged.leg_id) == ("c", "leg-1")
    await heard.wait(NodeUp, count=2)
    assert len(heard.of(CallBridged)) == 1


async def test_refused_as_told() -> None:
    node, switch, heard = await twin(n120=Behaviour())
    switch.refuse()
    with pytest.raises(Refused):
        await switch.originate(request("c"))
    await asyncio.sleep(10)
    assert not node.dialed and not heard.order("c")


async def test_a_new_dialer_finds_the_calls_of_the_old_one() -> None:
    node, switch, heard = await twin(n120=Behaviour(delay=2.0, talk=1.0))
    await switch.originate(request("c"))
    await asyncio.sleep(1)
    await switch.stop()  # as if killed: the node goes on
    second = Heard()
    again = TwinSwitch(node, sink=second, clock=CLOCK)
    await again.start()
    up = await second.wait(NodeUp)
    assert [c.dialer_id for c in up.channels] == ["c"] and not up.restarted
    assert (await second.wait(CallEnded, "c")).end is CallEnd.HUNG_UP_FAR
    assert not heard.of(CallEnded)


async def test_a_switchboard_of_two_nodes() -> None:
    nodes = {name: TwinNode(name, clock=CLOCK) for name in ("n1", "n2")}
    heard = Heard()
    board = Switchboard(
        {
            name: lambda sink, node=node: TwinSwitch(node, sink=sink, clock=CLOCK)
            for name, node in nodes.items()
        }
    )
    board.listen(heard)
    await board.start()
    await board.settled(5)
    assert not board.down()
    assert [e.node for e in heard.of(NodeUp)] == ["n1", "n2"]
    nodes["n1"].crash()
    assert board.down() == ["n1"] and [s.node for s in board.up()] == ["n2"]
    with pytest.raises(NotSent):
        board.switch("n3")
    nodes["n1"].boot()
    await board.settled(5)
    assert not board.down()
    await board.stop()
