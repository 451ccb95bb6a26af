"""Whoever is not the dialer places no call: hostile SIP against the real Asterisk, our templates.

On 127.0.0.0/8, where the laboratory's addresses stand for strangers, carriers and agents.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from telephony.destinations import COSTLY
from telephony.provision.phones import Phone
from telephony.provision.render import Gate, TrunkAccount
from tests.integration.lab.ami import BareAmi
from tests.lab.asterisk import LabAsterisk
from tests.lab.softphone import Softphone
from tests.lab.stranger import Stranger

pytestmark = pytest.mark.integration

OUTSIDE = "+12025550199"
PHONE_PASSWORD = "stolen-from-a-desk"
_CALLS = 5  # sound ports of the node: a pair for each call


@dataclass
class Lab:
    node: LabAsterisk
    ami: BareAmi
    carrier: Softphone

    @property
    def server(self) -> tuple[str, int]:
        return self.node.sip_host, self.node.sip_port


@pytest_asyncio.fixture
async def lab() -> AsyncIterator[Lab]:
    async with (
        Softphone(host="127.0.0.71") as carrier,
        Softphone(host="127.0.0.72") as desk,
        LabAsterisk(
            "lab-fraud",
            trunks=(TrunkAccount("carrier", carrier.host, carrier.port),),
            phones=(
                Phone("kim", password=PHONE_PASSWORD),
                Phone("fenced", password=PHONE_PASSWORD, permit=("127.0.0.72/32",)),
                Phone("open", contact=desk.uri("open")),
            ),
            sip_permit=("127.0.0.64/26",),
            calls=_CALLS,
        ) as node,
        BareAmi(node.ami_port, "dialer", node.secret) as ami,
    ):
        yield Lab(node, ami, carrier)


async def nothing_left(lab: Lab) -> None:
    assert lab.carrier.invites == [], "a call reached the carrier"
    assert "0 active channels" in await lab.node.cli("core show channels")


async def test_strangers_and_phones_that_dial_reach_nobody(lab: Lab) -> None:
    async with Stranger("127.0.0.66", lab.server) as somebody:
        asks = somebody.asks
        for to in (OUTSIDE, "s", "carrier", "kim", "9011" + OUTSIDE[1:], ""):
            assert await asks("INVITE", to) == 401, f"a stranger called {to!r}"
        for name in ("anonymous", "carrier", "dialer"):
            assert await asks("INVITE", OUTSIDE, sender=name) == 401, name
        # Guessing and registering: an account, a wrong password, an account without a password.
        assert await asks("REGISTER", "", sender="nobody", password="x") in (401, 403, 404)
        assert await asks("REGISTER", "", sender="kim", password="wrong") in (401, 403)
        assert await asks("REGISTER", "", sender="open") in (401, 403)
        # Not even to the context that refuses everything: nobody can prove to be this phone.
        assert await asks("INVITE", OUTSIDE, sender="open") == 401, "a phone without password"
        # With the stolen password of a phone: still nothing outside, nor to colleagues.
        for to in (OUTSIDE, OUTSIDE[1:], "s", "fenced", "911", "carrier"):
            got = await asks("INVITE", to, sender="kim", password=PHONE_PASSWORD)
            assert 400 <= got < 700 and got != 401, f"kim's phone called {to!r}: {got}"
        refer = (f"Refer-To: <sip:{OUTSIDE}@{lab.carrier.host}:{lab.carrier.port}>",)
        for method, headers in (
            ("REFER", refer), ("MESSAGE", ()), ("SUBSCRIBE", ("Event: presence", "Expires: 60")),
            ("PUBLISH", ("Event: presence",)), ("INFO", ()), ("NOTIFY", ("Event: check-sync",)),
        ):  # fmt: skip
            got = await asks(
                method, OUTSIDE, sender="kim", password=PHONE_PASSWORD, headers=headers
            )
            assert got == 0 or got >= 400, f"{method} was taken: {got}"
        # A phone that may only speak from its desk.
        assert await asks("REGISTER", "", sender="fenced", password=PHONE_PASSWORD) in (401, 403)
    async with Stranger("127.0.0.72", lab.server) as desk:
        assert await desk.asks("REGISTER", "", sender="fenced", password=PHONE_PASSWORD) == 200
    async with Stranger("127.0.0.7", lab.server) as far:
        assert await far.asks("OPTIONS", "s") in (0, 403), "outside the permitted networks"
        registered = await far.asks("REGISTER", "", sender="kim", password=PHONE_PASSWORD)
        assert registered in (0, 403)
    async with Stranger(lab.carrier.host, lab.server) as as_carrier:
        # The carrier's own address brings calls in; they lead nowhere.
        for to in (OUTSIDE, "s", "kim"):
            assert await as_carrier.asks("INVITE", to) >= 400, to
    await nothing_left(lab)


async def test_a_stolen_manager_secret_has_an_end(lab: Lab) -> None:
    """Asterisk itself has sound ports for so many calls; nobody can ask it for more."""
    answers = await asyncio.gather(
        *(
            lab.ami.ask(
                "Originate", ActionID=f"stolen-{n}", Channel=f"PJSIP/+1202555{n:04d}@carrier",
                Context="dialer-answered", Exten="s", Priority="1", Timeout="20000", Async="true",
                ChannelId=f"stolen-{n}",
            )
            for n in range(30)
        )
    )  # fmt: skip
    assert all(answer["Response"] == "Success" for answer in answers), "asked for, not refused"
    refused = 30 - _CALLS
    await lab.ami.event(Event="OriginateResponse", Response="Failure", count=refused)
    assert 0 < len(lab.carrier.invites) <= _CALLS
    # What else the account could be used for.
    for application in ("Dial", "System", "MixMonitor", "ChanSpy", "Originate", "ExternalIVR"):
        await lab.ami.ask(
            "Originate", ActionID=f"app-{application}", Channel="Local/s@dialer-hold",
            Application=application, Data="PJSIP/+12025550111@carrier", Async="true",
        )  # fmt: skip
    for variable in ("SHELL(id)", "FILE(/etc/passwd)", "CURL(http://127.0.0.1)", "ENV(PATH)"):
        answer = await lab.ami.ask("Getvar", Variable=variable)
        assert answer["Response"] == "Error" or not answer.get("Value"), answer
    assert len(lab.carrier.invites) <= _CALLS
    made = [e for e in lab.ami.all(Event="Newchannel") if e["Channel"].startswith("PJSIP/")]
    assert {e["Uniqueid"].partition("-")[0] for e in made} == {"stolen"}
    await lab.node.kill()  # an orderly stop waits for the calls


@pytest.mark.full
async def test_a_gate_lets_through_what_it_should_and_no_more() -> None:
    """Before the carrier stands an Asterisk without a manager: what a dialer's node asks for, with
    or without our consent, ends at its list of destinations and at its lines."""
    gate_secret = "between-node-and-gate"
    async with (
        Softphone(host="127.0.0.73") as carrier,
        Softphone(host="127.0.0.74", answer="redirect", redirect_to=OUTSIDE) as crooked,
        LabAsterisk(
            "lab-gate", sip_host="127.0.0.75",
            trunks=(TrunkAccount("carrier", carrier.host, carrier.port),),
            gate=Gate(("127.0.0.76/32",), secret=gate_secret, lines=2,
                      prefixes=("+1", "+44", "+979"), most_seconds=600),
        ) as gate,
        LabAsterisk(
            "lab-crooked-gate", sip_host="127.0.0.77",
            trunks=(TrunkAccount("carrier", crooked.host, crooked.port),),
            gate=Gate(("127.0.0.76/32",), prefixes=("+1",)),
        ) as crooked_gate,
        LabAsterisk(
            "lab-inside", sip_host="127.0.0.76",
            trunks=(
                TrunkAccount("carrier", gate.sip_host, gate.sip_port, username="dialer",
                             password=gate_secret),
                TrunkAccount("crooked", crooked_gate.sip_host, crooked_gate.sip_port),
            ),
        ) as node,
        BareAmi(node.ami_port, "dialer", node.secret) as ami,
    ):  # fmt: skip

        async def ends(number: str, trunk: str = "carrier") -> str:
            """How a call that nobody checked ends: the SIP status, without its words."""
            call_id = await ami.call(f"PJSIP/{number}@{trunk}", seconds=8)
            ended = await ami.event(Event="Hangup", Uniqueid=call_id)
            return ended.get("TechCause", "").removeprefix("SIP ")[:3]

        for number in (
            "+99012345678", "+9795551234", "+19005551234", "+8816123456789", "+449012345678",
            "12025550111", "+1202", "+120255501110000000", "s", "carrier", "911",
        ):  # fmt: skip
            assert await ends(number) in ("403", "404", "484", "603"), number
        assert carrier.invites == [], "refused by the gate, whoever asks"
        # Honest numbers pass, as many as there are lines.
        good = [f"+1202555010{n}" for n in range(4)]
        calls = [await ami.call(f"PJSIP/{number}@carrier", seconds=20) for number in good[:2]]
        await carrier.until(lambda: len(carrier.invites) == 2)
        assert await ends(good[2]) == "503", "both lines are taken"
        assert sorted(carrier.invites) == good[:2]
        await ami.ask("Hangup", Channel=calls[0])
        await ami.event(Event="Hangup", Uniqueid=calls[0])
        # The carrier has seen the CANCEL; the gate's own channel may still be ending.
        for _ in range(50):
            await ami.call(f"PJSIP/{good[3]}@carrier", seconds=20)
            await asyncio.sleep(0.1)
            if len(carrier.invites) == 3:
                break
        await carrier.until(lambda: len(carrier.invites) == 3)
        # A redirect at the far side is an end.
        assert await ends(good[0], "crooked") not in ("", "200")
        assert len(crooked.invites) == 1
        # Nobody else: not with the secret from another address, not from the address without.
        async with Stranger("127.0.0.66", (gate.sip_host, gate.sip_port)) as somebody:
            got = await somebody.asks("INVITE", good[0], sender="dialer", password=gate_secret)
            assert got in (401, 403)
        async with Stranger("127.0.0.76", (gate.sip_host, gate.sip_port)) as inside:
            assert await inside.asks("INVITE", good[0], sender="dialer") == 401
            assert await inside.asks("INVITE", good[0], sender="dialer", password="x") == 401
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", gate.ami_port)
        assert len(carrier.invites) == 3


def test_costly_numbers_are_numbers() -> None:
    assert len(set(COSTLY)) == len(COSTLY)
    for prefix in COSTLY:
        assert prefix.startswith("+") and prefix[1:].isdigit()
