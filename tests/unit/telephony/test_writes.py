"""When actions are written: those of one turn of the loop together, a Bridge in its own moment."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from telephony.ami.wire import Wire
from telephony.switch import Unanswered

pytestmark = pytest.mark.unit


class Socket(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data).decode())

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None: ...


def connected() -> tuple[Wire, Socket]:
    wire, socket = Wire(on_event=lambda message: None, on_lost=lambda reason: None), Socket()
    wire.connection_made(socket)
    wire.data_received(b"Asterisk Call Manager/11.0.0\r\n")
    return wire, socket


def ids(text: str) -> list[str]:
    return [row.partition(": ")[2] for row in text.split("\r\n") if row.startswith("ActionID")]


async def test_actions_of_one_turn_leave_in_one_write_and_in_order() -> None:
    wire, socket = connected()
    asking = [
        asyncio.create_task(wire.ask("Originate", f"c{i}", {"Channel": "x"}, timeout=5))
        for i in range(3)
    ]
    await asyncio.sleep(0)
    assert not socket.writes
    wire.post("Setvar", "s1", {"Variable": "x"})
    await asyncio.sleep(0)
    assert [ids(text) for text in socket.writes] == [["c0", "c1", "c2", "s1"]]
    for i in range(3):
        wire.data_received(f"Response: Success\r\nActionID: c{i}\r\n\r\n".encode())
    await asyncio.gather(*asking)


async def test_what_is_begun_is_on_the_wire_at_once_behind_what_was_asked_before() -> None:
    wire, socket = connected()
    wire.post("Setvar", "s1", {"Variable": "x"})
    wire.begin("Bridge", "b1", {"Channel1": "x"}, timeout=5.0)
    assert [ids(text) for text in socket.writes] == [["s1", "b1"]]
    await asyncio.sleep(0)
    assert len(socket.writes) == 1  # nothing twice


async def test_a_link_lost_before_the_write_leaves_the_action_unanswered() -> None:
    wire, socket = connected()
    asking = asyncio.create_task(wire.ask("Originate", "c1", {"Channel": "x"}, timeout=5))
    await asyncio.sleep(0)
    wire.connection_lost(None)
    with pytest.raises(Unanswered):
        await asking
    assert not socket.writes
