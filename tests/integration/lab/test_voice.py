"""What people hear: both ways in a conversation, the abandon message, and who is never called."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from telephony.provision.phones import Phone, write_phones
from telephony.provision.render import TrunkAccount
from tests.integration.lab.ami import BareAmi
from tests.lab.asterisk import LabAsterisk
from tests.lab.process import until
from tests.lab.softphone import Softphone
from tests.lab.sounds import power_at

pytestmark = pytest.mark.integration

_AGENT_TONE, _PERSON_TONE, _MUSIC = 700.0, 900.0, 330.0


class Lab:
    """One Asterisk, one agent's phone, one called person; both are phones that listen."""

    def __init__(
        self, node: LabAsterisk, ami: BareAmi, agent: Softphone, person: Softphone
    ) -> None:
        self.node, self.ami, self.agent, self.person = node, ami, agent, person

    async def bridge(self, call_id: str, leg_id: str) -> None:
        answer = await self.ami.ask("Bridge", Channel1=call_id, Channel2=leg_id, Tone="Channel2")
        assert answer["Response"] == "Success", answer

    def records(self, call_id: str) -> list[list[str]]:
        text = self.node.cel.read_text() if self.node.cel.exists() else ""
        return [row for row in csv.reader(text.splitlines()) if call_id in row]


@pytest_asyncio.fixture
async def lab() -> AsyncIterator[Lab]:
    async with (
        Softphone(host="127.0.0.53", tone=_AGENT_TONE) as agent,
        Softphone(host="127.0.0.54", tone=_PERSON_TONE) as person,
        LabAsterisk(
            "lab-voice",
            trunks=(TrunkAccount("public", person.host, person.port),),
            phones=(Phone("agent1", contact=agent.uri("agent1")),),
        ) as node,
        BareAmi(node.ami_port, "dialer", node.secret) as ami,
    ):
        yield Lab(node, ami, agent, person)


async def test_voice_both_ways_and_the_agent_hears_the_beep(lab: Lab) -> None:
    leg_id = await lab.ami.leg("agent1")
    call_id = await lab.ami.call("PJSIP/+12025550111@public", window="5")
    await lab.ami.event(Event="Newstate", Uniqueid=call_id, ChannelStateDesc="Up")
    asked = asyncio.get_running_loop().time()
    await lab.bridge(call_id, leg_id)
    heard_at = await lab.agent.until_hears(_PERSON_TONE)
    await lab.person.until_hears(_AGENT_TONE)
    assert lab.person.invites == ["+12025550111"]
    assert heard_at - asked < 1.0, "the beep must not keep the two apart"
    # Neither hears itself.
    assert power_at(lab.agent.heard()[-1600:], _AGENT_TONE) < 0.05
    assert power_at(lab.person.heard()[-1600:], _PERSON_TONE) < 0.05
    lab.person.hang_up()
    await lab.ami.event(Event="Hangup", Uniqueid=call_id)


async def test_the_leg_parks_again_after_twenty_conversations(lab: Lab) -> None:
    leg_id = await lab.ami.leg("agent1")
    for n in range(20):
        call_id = await lab.ami.call(f"PJSIP/+120255501{n:02d}@public", window="5")
        await lab.ami.event(Event="Newstate", Uniqueid=call_id, ChannelStateDesc="Up")
        await lab.bridge(call_id, leg_id)
        await lab.ami.event(Event="BridgeEnter", Uniqueid=call_id)
        await lab.ami.ask("Hangup", Channel=call_id)
        await lab.ami.event(Event="Hangup", Uniqueid=call_id)
        await lab.ami.event(
            Event="BridgeEnter", Uniqueid=leg_id, BridgeTechnology="holding_bridge", count=n + 2
        )
    assert not lab.ami.all(Event="Hangup", Uniqueid=leg_id)
    assert len(lab.agent.dialogs) == 1, "nailed up: the phone rang once"


async def test_no_agent_comes_the_person_hears_the_message_without_any_dialer(lab: Lab) -> None:
    """The manager client only places the call and looks at the records afterwards."""
    call_id = await lab.ami.call("PJSIP/+12025550122@public", window="1")
    await lab.person.until(lambda: bool(lab.person.dialogs and lab.person.dialog.answered_at))
    answered = lab.person.dialog.answered_at

    def speech_began() -> bool:
        return any(not p.silent for p in lab.person.dialog.heard)

    await lab.person.until(speech_began, timeout=5)
    first = next(p.at for p in lab.person.dialog.heard if not p.silent)
    assert 0.8 < first - answered < 1.4, "silence for the window, no longer"
    await lab.person.until(lambda: lab.person.dialog.ended_by == "far", timeout=30)
    spoken = sum(not p.silent for p in lab.person.dialog.heard) * 0.02
    assert spoken > 4.0, "the whole message"
    await lab.ami.event(UserEvent="DialerStage", CallId=call_id, Stage="finished")
    stages = [e["Stage"] for e in lab.ami.all(UserEvent="DialerStage", CallId=call_id)]
    assert stages == ["message", "finished"]

    def over() -> bool:
        return any(row[1] == "CHAN_END" for row in lab.records(call_id))

    await until(over, timeout=5, what="the call's last record")
    rows = lab.records(call_id)
    kinds = [row[1] for row in rows]
    assert kinds[0] == "CHAN_START" and kinds[-1] == "CHAN_END" and "ANSWER" in kinds
    noted = [row[3] for row in rows if row[1] == "DialerStage"]
    assert ["message" in n or "finished" in n for n in noted] == [True, True]


async def test_music_on_hold_and_ringing(lab: Lab) -> None:
    leg_id = await lab.ami.leg("agent1")
    call_id = await lab.ami.call("PJSIP/+12025550133@public", window="9")
    await lab.ami.event(Event="Newstate", Uniqueid=call_id, ChannelStateDesc="Up")
    for channel, context, exten in (
        (call_id, "dialer-hold", "s"),
        (leg_id, "dialer-agent", "ringing"),
    ):
        answer = await lab.ami.ask(
            "Redirect", Channel=channel, Context=context, Exten=exten, Priority="1"
        )
        assert answer["Response"] == "Success", answer
    await lab.person.until_hears(_MUSIC, timeout=8)
    await lab.agent.until(lambda: any(not p.silent for p in lab.agent.dialog.heard[-50:]))
    # A person joined to a leg that hears ringing: the tone stops, and the leg parks afterwards.
    await lab.bridge(call_id, leg_id)
    await lab.agent.until_hears(_PERSON_TONE)
    await lab.ami.ask("Hangup", Channel=call_id)
    await lab.ami.event(
        Event="BridgeEnter", Uniqueid=leg_id, BridgeTechnology="holding_bridge", count=2
    )


async def test_a_redirect_by_the_network_places_no_call(lab: Lab) -> None:
    async with Softphone(
        host="127.0.0.55", answer="redirect", redirect_to="+12025550199"
    ) as network:
        write_phones(lab.node.phones_file, (Phone("agent2", contact=network.uri("agent2")),))
        async with BareAmi(lab.node.ami_port, "provision", lab.node.provision_secret) as provision:
            answer = await provision.ask("Reload", Module="res_pjsip.so")
            assert answer["Response"] == "Success", answer
            refused = await provision.ask("Originate", Channel="PJSIP/agent2", Exten="s")
            assert refused["Response"] == "Error", "the provision account may not call"
        call_id = await lab.ami.call("PJSIP/agent2", seconds=4)
        ended = await lab.ami.event(Event="Hangup", Uniqueid=call_id, timeout=8)
        assert network.invites == ["agent2"], "nobody else was called"
        assert not lab.person.invites
        # Asterisk follows the redirect with a Local channel; it must find nothing to dial.
        made = [e for e in lab.ami.all(Event="Newchannel") if e["Channel"].startswith("PJSIP/")]
        assert [e["Uniqueid"] for e in made] == [call_id], "no channel to anybody else"
        local = [e for e in lab.ami.all(Event="Newchannel") if "Local/" in e["Channel"]]
        assert {e["Context"] for e in local} <= {"dialer-refuse", "default"}
        assert not lab.ami.all(Event="Newstate", Uniqueid=call_id, ChannelStateDesc="Up")
        # Asterisk may hang the first channel up before it has noted the 302: then the cause is 0.
        assert ended["Cause"] in ("0", "21", "23"), ended


async def test_the_call_account_has_no_rights_beyond_calls(lab: Lab) -> None:
    asked = lab.ami.ask
    for answer in (
        await asked("Command", Command="core show version"),
        await asked("Reload", Module="res_pjsip.so"),
        await asked("GetConfig", Filename="manager.conf"),
        await asked("MixMonitor", Channel="x", File="x.wav"),
    ):
        assert answer["Response"] == "Error", answer
        assert "ermission" in answer["Message"], answer
