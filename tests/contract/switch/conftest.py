"""The two switches: the twin, and a real Asterisk with SIPp as the public and as the phones."""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from telephony.ami import AmiSwitch
from telephony.clock import SystemClock
from telephony.events import NodeUp
from telephony.provision.phones import Phone
from telephony.provision.render import TrunkAccount
from telephony.twin import TwinNode, TwinSwitch
from tests.contract.switch.rig import Heard, Rig
from tests.lab.asterisk import LabAsterisk
from tests.lab.process import free_port
from tests.lab.public import phones, public

PUBLIC, PHONES = "127.0.0.22", "127.0.0.23"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[LabAsterisk]:
    """One node with its public, shared by the tests of a module."""
    trunk_port = free_port(PUBLIC, kind=socket.SOCK_DGRAM)
    phone_port = free_port(PHONES, kind=socket.SOCK_DGRAM)
    async with (
        public(host=PUBLIC, port=trunk_port),
        phones(host=PHONES, port=phone_port),
        LabAsterisk(
            "ast-contract",
            trunks=[TrunkAccount("carrier", PUBLIC, trunk_port)],
            phones=[Phone("agent1", contact=f"sip:agent1@{PHONES}:{phone_port}")],
        ) as node,
    ):
        yield node


@pytest_asyncio.fixture(loop_scope="module")
async def twin() -> AsyncIterator[Rig]:
    heard, clock = Heard(), SystemClock()
    node = TwinNode(clock=clock)
    switch = TwinSwitch(node, sink=heard, clock=clock, reconnect=0.5)
    await switch.start()
    yield Rig(
        switch,
        heard,
        cut=switch.cut,
        trunk="carrier",
        phone="agent1",
        another=lambda sink: TwinSwitch(node, sink=sink, clock=clock),
    )
    await switch.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def asterisk(lab: LabAsterisk) -> AsyncIterator[Rig]:
    heard = Heard()
    switch = AmiSwitch(lab.account(), sink=heard, clock=SystemClock(), rng=random.Random(7))
    await switch.start()
    await heard.wait(NodeUp)
    yield Rig(
        switch,
        heard,
        cut=lambda: switch.link.cut("by the test"),
        trunk="carrier",
        phone="agent1",
        another=lambda sink: AmiSwitch(lab.account(), sink=sink, clock=SystemClock()),
    )
    for channel in await switch.channels():
        await switch.hang_up(channel.unique_id)
    await switch.stop()


@pytest.fixture(params=["twin", "asterisk"])
def rig(request: pytest.FixtureRequest) -> Rig:
    """Each test runs on both switches."""
    found: Rig = request.getfixturevalue(request.param)
    return found
