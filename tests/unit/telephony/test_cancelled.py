"""A cancellation is heard, also in the moment in which what was waited for comes.

Python 3.11's `asyncio.wait_for` loses it then: a link that is stopped as it breaks would connect
again for ever.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from telephony.ami.wire import Wire
from telephony.clock import SystemClock
from telephony.events import NodeUp
from tests.contract.switch.rig import Heard
from tests.unit.telephony.scripted_ami import ScriptedAmi
from tests.unit.telephony.test_holes import switch_to

pytestmark = pytest.mark.unit


class Deaf(asyncio.Transport):
    """A transport that takes everything and answers nothing."""

    def write(self, data: object) -> None: ...

    def abort(self) -> None: ...

    def is_closing(self) -> bool:
        return False


async def test_a_link_that_breaks_as_it_is_stopped_stays_stopped() -> None:
    heard = Heard()
    async with ScriptedAmi() as ami, switch_to(ami, sink=heard) as switch:
        await heard.wait(NodeUp)
        await asyncio.sleep(0)  # the link sits between two pings
        switch.link.cut("in this moment")
        async with asyncio.timeout(1):
            await switch.stop()
        assert ami.connections == 1


async def test_an_action_that_is_answered_as_its_caller_is_cancelled() -> None:
    wire = Wire(on_event=lambda message: None, on_lost=lambda reason: None)
    wire.connection_made(Deaf())
    wire.data_received(b"Asterisk Call Manager/11.0.0\r\n")
    asking = asyncio.ensure_future(wire.ask("Ping", "p1", {}, timeout=5))
    await asyncio.sleep(0)  # written, and waited for
    wire.data_received(b"Response: Success\r\nActionID: p1\r\n\r\n")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_reload_whose_link_comes_up_as_it_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The provision account's link is made, and nobody wants it any more: nothing is reloaded."""
    from telephony.ami import switch as module

    ups = []

    class Link(module.Link):
        async def start(self) -> None:
            ups.append(self._on_up)

        async def stop(self) -> None: ...

    async with ScriptedAmi() as ami:
        account = module.AmiAccount(
            "n1", "127.0.0.1", ami.port, "dialer", "right", "provision", "right"
        )
        switch = module.AmiSwitch(account, sink=Heard(), clock=SystemClock(), rng=random.Random(1))
        monkeypatch.setattr(module, "Link", Link)
        reloading = asyncio.ensure_future(switch.reload_phones())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await ups[-1]()
        reloading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reloading
