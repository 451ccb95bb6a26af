"""What keeps a manager link: nothing that Asterisk says ends it, and its death is told."""

from __future__ import annotations

import asyncio

import pytest

from api.watched import WatchedTasks
from telephony.ami import AmiAccount, AmiSwitch
from telephony.clock import SystemClock
from telephony.events import NodeDown, NodeUp, SwitchEvent
from tests.lab.process import until
from tests.unit.telephony.scripted_ami import Action, ScriptedAmi
from tests.unit.telephony.test_holes import switch_to

pytestmark = pytest.mark.unit


async def test_what_makes_no_sense_costs_the_link_and_not_the_node() -> None:
    seen: list[SwitchEvent] = []

    def sink(event: SwitchEvent) -> None:
        seen.append(event)
        if len(seen) == 1:
            raise ValueError("not understood")

    async with ScriptedAmi() as ami:
        account = AmiAccount("n1", "127.0.0.1", ami.port, "dialer", "right")
        switch = AmiSwitch(account, sink=sink, clock=SystemClock())
        await switch.start()
        try:
            await until(lambda: len(seen) > 1 and switch.is_up, timeout=5, what="the next link")
        finally:
            await switch.stop()
        assert ami.connections == 2
        assert [type(event) for event in seen[:3]] == [NodeUp, NodeDown, NodeUp]


async def test_the_death_of_the_task_that_keeps_it_is_told() -> None:
    tasks = WatchedTasks()
    async with ScriptedAmi() as ami:
        account = AmiAccount("n1", "127.0.0.1", ami.port, "dialer", "right")
        switch = AmiSwitch(
            account, sink=lambda event: None, clock=SystemClock(), spawn=tasks.start_link
        )
        await switch.start()
        await until(lambda: switch.is_up, timeout=5, what="the link")
        (keeper,) = (t for t in asyncio.all_tasks() if t.get_name() == "ami n1")
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        assert not switch.is_up, "nothing is sent by a link that nobody keeps"
        assert tasks.dead == {"ami n1": "died: cancelled"}
        await switch.stop()


async def test_each_ping_compares_the_clocks() -> None:
    def reply(server: ScriptedAmi, action: Action) -> None:
        theirs = SystemClock().now().timestamp() + 7.0
        server.answer(action, Ping="Pong", Timestamp=f"{theirs:.6f}")

    async with ScriptedAmi() as ami, switch_to(ami, sink=lambda e: None, ping=0.05) as switch:
        ami.replies["Ping"] = reply
        await until(lambda: switch.skew > 0.0, timeout=5, what="a ping")
        assert switch.skew == pytest.approx(7.0, abs=1.0)
        ami.replies["Ping"] = lambda server, action: server.answer(action, Timestamp="soon")
        pings = len(ami.of("Ping"))
        await ami.wait("Ping", count=pings + 2)
        assert switch.is_up, "a time that is none is no reason to hang up"
