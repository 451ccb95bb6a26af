"""Every behaviour of the called public, against the SIP outcome that Asterisk saw."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from telephony.provision.render import TrunkAccount
from tests.integration.lab.ami import BareAmi
from tests.lab.asterisk import LabAsterisk
from tests.lab.process import free_port
from tests.lab.public import Sipp, public
from tests.lab.scenario import number

pytestmark = pytest.mark.integration


@dataclass(frozen=True, slots=True)
class Lab:
    ami: BareAmi
    sipp: Sipp


@pytest_asyncio.fixture
async def lab() -> AsyncIterator[Lab]:
    async with public(
        host="127.0.0.52", port=free_port("127.0.0.52", kind=socket.SOCK_DGRAM)
    ) as sipp:
        trunk = TrunkAccount("public", sipp.host, sipp.port)
        async with (
            LabAsterisk("lab-public", trunks=(trunk,)) as node,
            BareAmi(node.ami_port, "dialer", node.secret) as ami,
        ):
            yield Lab(ami, sipp)


@dataclass(frozen=True, slots=True)
class Case:
    """A number, what Asterisk must report, and what SIPp must have written."""

    number: str
    cause: str
    tech_cause: str
    truth: tuple[str, ...]
    answered: bool = False
    seconds: float = 12.0  # given to the Originate


_CASES = {
    "answers after 1 s, hangs up after 2 s": Case(
        number(behaviour=0, delay=3, talk=3, index=1), "16", "", ("ANSWERED", "BYE_SENT"), True
    ),
    "answers, waits for us": Case(
        number(behaviour=1, delay=0, index=2), "16", "", ("ANSWERED", "BYE_RECEIVED"), True, 12
    ),
    "busy": Case(number(behaviour=2, index=3), "17", "486", ("REFUSED 486",)),
    "rings for ever": Case(
        number(behaviour=3, index=4), "19", "480", ("CANCELLED",), seconds=2.0
    ),
    "not found": Case(number(behaviour=4, index=5), "1", "404", ("REFUSED 404",)),
    "unavailable": Case(number(behaviour=5, index=6), "19", "480", ("REFUSED 480",)),
    "no service": Case(number(behaviour=6, index=7), "34", "503", ("REFUSED 503",)),
    "declines": Case(number(behaviour=7, index=8), "21", "603", ("REFUSED 603",)),
    "rings, then fails": Case(
        number(behaviour=8, delay=3, index=9), "38", "500", ("REFUSED 500",)
    ),
    "hangs up at once": Case(
        number(behaviour=9, index=10), "16", "", ("ANSWERED", "BYE_SENT"), True
    ),
    "hangs up while waiting": Case(
        number(behaviour=0, delay=0, talk=2, index=11), "16", "", ("ANSWERED", "BYE_SENT"), True
    ),
}  # fmt: skip


async def test_each_behaviour_is_what_asterisk_and_the_truth_log_say(lab: Lab) -> None:
    ids = {
        name: await lab.ami.call(f"PJSIP/{case.number}@public", seconds=case.seconds, window="3")
        for name, case in _CASES.items()
    }
    waits = ids["answers, waits for us"]
    # A BYE within milliseconds of the answer is too early for SIPp: another call ends first.
    await lab.ami.event(Event="Hangup", Uniqueid=ids["hangs up while waiting"])
    await lab.ami.ask("Hangup", Channel=waits)
    ended = await asyncio.gather(
        *(lab.ami.event(Event="Hangup", Uniqueid=i, timeout=25) for i in ids.values())
    )
    truth = {c.number: c for c in await lab.sipp.truth_of(len(_CASES), timeout=10, ended=True)}
    assert len(lab.sipp.truth()) == len(_CASES), "one INVITE for each call"
    for (name, case), hangup in zip(_CASES.items(), ended, strict=True):
        assert truth[case.number].ends == list(case.truth), name
        assert truth[case.number].call_id
        up = lab.ami.all(Event="Newstate", Uniqueid=ids[name], ChannelStateDesc="Up")
        assert bool(up) is case.answered, name
        assert hangup.get("ChanVariable", "").startswith("DIALER_"), hangup
        if case.answered:
            assert hangup["Cause"] in ("0", "16"), (name, hangup)
        else:
            assert (hangup["Cause"], hangup.get("TechCause", "")[-3:]) == (
                case.cause,
                case.tech_cause,
            ), (name, hangup)


async def test_two_hundred_instant_answers_in_a_second(lab: Lab) -> None:
    numbers = [number(behaviour=9, index=1000 + i) for i in range(200)]
    loop = asyncio.get_running_loop()
    began, ids = loop.time(), []
    for i, called in enumerate(numbers):
        await asyncio.sleep(max(0.0, began + i / 200 - loop.time()))
        ids.append(await lab.ami.call(f"PJSIP/{called}@public"))
    for call_id in ids:
        await lab.ami.event(Event="Hangup", Uniqueid=call_id, timeout=10)
    truth = await lab.sipp.truth_of(200, timeout=10, ended=True)
    assert sorted(c.number for c in truth) == numbers
    assert all(c.ends == ["ANSWERED", "BYE_SENT"] for c in truth)
