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


class _Caller(asyncio.DatagramProtocol):
    """A SIP client of a few lines, for what Asterisk does only now and then."""

    def __init__(self, peer: tuple[str, int]) -> None:
        self._peer, self._heard = peer, asyncio.Queue[str]()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport
        self.host, self.port = transport.get_extra_info("sockname")

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._heard.put_nowait(data.decode())

    def send(self, method: str, called: str, *, cseq: int, to_tag: str = "") -> None:
        sdp = (
            f"v=0\r\no=- 1 1 IN IP4 {self.host}\r\ns=-\r\nc=IN IP4 {self.host}\r\nt=0 0\r\n"
            "m=audio 40000 RTP/AVP 0\r\n"
        )
        body = sdp if method == "INVITE" else ""
        kind = "Content-Type: application/sdp\r\n" if body else ""
        text = (
            f"{method} sip:{called}@{self._peer[0]}:{self._peer[1]} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {self.host}:{self.port};branch=z9hG4bK{method}{cseq}\r\n"
            f"From: <sip:us@{self.host}:{self.port}>;tag=us\r\n"
            f"To: <sip:{called}@{self._peer[0]}:{self._peer[1]}>{to_tag}\r\n"
            f"Call-ID: crossing@{self.host}\r\nCSeq: {cseq} {method}\r\n"
            f"Contact: <sip:us@{self.host}:{self.port}>\r\nMax-Forwards: 70\r\n{kind}"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )
        self._transport.sendto(text.encode(), self._peer)

    async def until(self, start: str, having: str) -> str:
        async with asyncio.timeout(10):
            while True:
                text = await self._heard.get()
                if text.startswith(start) and having in text:
                    return text


async def test_two_byes_that_cross_are_an_end_like_any_other() -> None:
    called = number(behaviour=0, delay=0, talk=2, index=12)
    host = "127.0.0.53"
    async with public(host=host, port=free_port(host, kind=socket.SOCK_DGRAM)) as sipp:
        loop = asyncio.get_running_loop()
        transport, caller = await loop.create_datagram_endpoint(
            lambda: _Caller((sipp.host, sipp.port)), local_addr=("127.0.0.1", 0)
        )
        try:
            caller.send("INVITE", called, cseq=1)
            answer = await caller.until("SIP/2.0 200", "INVITE")
            to_tag = ";tag=" + answer.split("\nTo:", 1)[1].split("tag=", 1)[1].split("\r\n", 1)[0]
            caller.send("ACK", called, cseq=1, to_tag=to_tag)
            await caller.until("BYE ", "CSeq: 1 BYE")
            caller.send("BYE", called, cseq=2, to_tag=to_tag)
            await caller.until("SIP/2.0 200", "CSeq: 2 BYE")
            (seen,) = await sipp.truth_of(1, timeout=10, ended=True)
        finally:
            transport.close()
    assert seen.ends == ["ANSWERED", "BYE_SENT"]
