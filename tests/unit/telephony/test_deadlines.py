"""An action that is not answered costs the link, when its own time is over and not before."""

from __future__ import annotations

import asyncio

import pytest

from telephony.ami.wire import Wire
from telephony.switch import Unanswered
from tests.unit.telephony.test_writes import Socket

pytestmark = [pytest.mark.unit, pytest.mark.looptime]


class Link:
    """A wire, and when it was lost."""

    def __init__(self) -> None:
        self.lost: list[tuple[float, str]] = []
        self.wire = Wire(on_event=lambda message: None, on_lost=self._lost)
        self.wire.connection_made(Socket())
        self.wire.data_received(b"Asterisk Call Manager/11.0.0\r\n")

    def _lost(self, reason: str) -> None:
        self.lost.append((asyncio.get_running_loop().time(), reason))

    async def ask(self, action_id: str, seconds: float) -> str:
        try:
            async with asyncio.timeout(60.0):  # a wire that forgets it must not hang the test
                await self.wire.ask("Ping", action_id, {}, timeout=seconds)
        except Unanswered as error:
            return str(error)
        return "answered"

    def answer(self, action_id: str) -> None:
        self.wire.data_received(f"Response: Success\r\nActionID: {action_id}\r\n\r\n".encode())


async def test_the_first_that_is_overdue_costs_the_link_and_all_that_wait() -> None:
    link, begun = Link(), asyncio.get_running_loop().time()
    long, short = asyncio.create_task(link.ask("a", 5.0)), asyncio.create_task(link.ask("b", 2.0))
    await asyncio.wait([long, short])
    ((at, reason),) = link.lost
    assert at - begun == pytest.approx(2.0)
    assert reason == "Ping was not answered within 2.0 s"
    assert reason in long.result()
    assert reason in short.result()


async def test_each_action_has_its_own_time() -> None:
    link, begun = Link(), asyncio.get_running_loop().time()
    early = asyncio.create_task(link.ask("a", 5.0))
    await asyncio.sleep(3.0)
    late = asyncio.create_task(link.ask("b", 5.0))
    await asyncio.sleep(1.0)
    link.answer("a")
    assert await early == "answered"
    await late
    assert [at - begun for at, _ in link.lost] == [pytest.approx(8.0)]


async def test_one_that_nobody_waits_for_any_more_costs_nothing() -> None:
    link = Link()
    asking = asyncio.create_task(link.ask("a", 5.0))
    await asyncio.sleep(1.0)
    asking.cancel()
    await asyncio.sleep(10.0)
    assert not link.lost
    asking = asyncio.create_task(link.ask("b", 5.0))  # and the next one is watched again
    await asyncio.sleep(5.5)
    assert link.lost
    await asking
