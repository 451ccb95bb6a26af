"""`dialer doctor` and a real Asterisk: its accounts, modules, trunks, clock, and calls that nobody
knows any more."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from api.cli.doctor import examine
from api.cli.doctor.findings import State
from api.settings import NodeSettings, Settings, TrunkSettings
from dialer.store import schema as t
from telephony.clock import Clock, ManualClock, SystemClock
from telephony.provision.phones import Phone
from telephony.provision.render import TrunkAccount
from tests.contract.store.house import SqlHouse
from tests.integration.api.test_cli import dialer
from tests.integration.doctor.findings import Findings
from tests.integration.lab.ami import BareAmi
from tests.integration.store.conftest import open_database
from tests.lab.answering import AnsweringPeer
from tests.lab.asterisk import LabAsterisk
from tests.lab.faults import injected
from tests.lab.process import free_port, until
from tests.lab.public import Sipp, phones, public
from tests.lab.scenario import number

pytestmark = pytest.mark.integration


@dataclass
class Ward:
    """An Asterisk with three trunks (the public, one that answers OPTIONS, one that does not), a
    database with the house in it, and the settings of a dialer for both."""

    folder: Path
    asterisk: LabAsterisk
    public: Sipp
    house: SqlHouse
    url: str

    def node(self, **changed: Any) -> NodeSettings:
        a = self.asterisk
        values = {
            "name": "ast1", "port": a.ami_port, "secret": a.secret, "cel": a.cel,
            "provision_secret": a.provision_secret, "record_secret": a.record_secret,
            "phones_file": a.phones_file, "recordings": a.recordings,
        }  # fmt: skip
        return NodeSettings(**{**values, **changed})

    def settings(self, *, trunks: tuple[str, ...] = ("public",), **changed: Any) -> Settings:
        ways = tuple(TrunkSettings(name=n, node="ast1", host="127.0.0.2") for n in trunks)
        return Settings(
            folder=self.folder, database=self.url, disk_free=0, nodes=(self.node(**changed),),
            trunks=ways,
        )  # fmt: skip

    async def findings(
        self, *, repair: bool = False, clock: Clock | None = None, **changed: Any
    ) -> Findings:
        settings = self.settings(**changed)
        return Findings([f async for f in examine(settings, repair=repair, clock=clock)])

    def rights(self, account: str, write: str) -> None:
        """Change an account's rights in manager.conf."""
        file = self.asterisk.etc / "manager.conf"
        section = re.compile(rf"(\[{account}\][^\[]*?\nwrite = )[^\n]*")
        text, count = section.subn(rf"\g<1>{write}", file.read_text())
        assert count == 1
        file.write_text(text)


@asynccontextmanager
async def open_ward(folder: Path) -> AsyncIterator[Ward]:
    async with AsyncExitStack() as stack:
        sipp = await stack.enter_async_context(
            public(port=free_port("127.0.0.2", kind=2), host="127.0.0.2")
        )
        seats = await stack.enter_async_context(phones(port=free_port("127.0.0.3", kind=2)))
        peer = await stack.enter_async_context(AnsweringPeer("127.0.0.4"))
        node = LabAsterisk(
            "ast1",
            trunks=[
                TrunkAccount("public", sipp.host, sipp.port),
                TrunkAccount("there", peer.host, peer.port, qualify=1),
                TrunkAccount("away", "127.0.0.5", free_port("127.0.0.5", kind=2), qualify=1),
            ],
            phones=[Phone("kim", contact=f"sip:kim@127.0.0.3:{seats.port}")],
        )
        await stack.enter_async_context(node)
        database = await open_database(folder, None)
        stack.push_async_callback(database.close)
        house = SqlHouse(database)
        await house.build()
        for pool in (house.pool, house.other_pool):
            await house.own(pool, owner="the engine")
        yield Ward(folder, node, sipp, house, database.url)


@pytest.fixture
async def ward(tmp_path: Path) -> AsyncIterator[Ward]:
    async with open_ward(tmp_path) as made:
        yield made


async def test_each_thing_that_is_wrong_with_a_node_is_found_and_explained(ward: Ward) -> None:
    found = await ward.findings()
    assert found.problems() == set()
    for check, word in {
        "account dialer of ast1": "call, originate, reporting, no more",
        "account provision of ast1": "config, no more",
        "account recorder of ast1": "system, no more",
        "version of ast1": "Asterisk ",
        "modules of ast1": "are loaded",
        "clock of ast1": "from ours",
        "recordings of ast1": "emptied",
        "phones of ast1": "replaced",
        "channels of ast1": "none orphaned",
    }.items():
        assert found[check].state is State.OK and word in found[check].explanation, check

    # accounts that are not let in, and values that could not be sent
    wrong = {"secret": "wrong", "record_secret": "wrong", "provision_secret": "a\r\nb"}
    assert (await ward.findings(**wrong)).problems() == {"account dialer of ast1"}
    wrong.pop("secret")
    found = await ward.findings(**wrong)
    assert found.problems() == {"account provision of ast1", "account recorder of ast1"}
    assert "refuses recorder" in found["account recorder of ast1"].explanation
    assert found["modules and trunks of ast1"].state is State.NOTE
    found = await ward.findings(port=free_port())
    assert found["account dialer of ast1"].explanation.startswith("no AMI at 127.0.0.1:")

    # rights: too many, too few
    ward.rights("dialer", "call,originate,reporting,system,command")
    ward.rights("provision", "reporting")
    ward.rights("recorder", "system,config")
    await ward.asterisk.cli("manager reload")
    injected("Asterisk: rights of manager accounts changed")
    found = await ward.findings()
    assert "may write command, system too" in found["account dialer of ast1"].explanation
    assert "lacks the right to write config" in found["account provision of ast1"].explanation
    assert "may write config too" in found["account recorder of ast1"].explanation
    ward.asterisk.configure()
    await ward.asterisk.cli("manager reload")

    # a module, a trunk that is not there, one that does not answer, one that does
    await ward.asterisk.cli("module unload app_amd.so")
    injected("Asterisk: module unloaded")
    both = ("public", "there", "away", "nowhere")

    async def qualified() -> bool:
        told = await ward.findings(trunks=both)
        return told["trunk there"].state is State.OK and told["trunk away"].state is State.PROBLEM

    await until(qualified, timeout=20, what="both trunks to be qualified")
    found = await ward.findings(trunks=both)
    assert "not loaded: app_amd" in found["modules of ast1"].explanation
    assert found["trunk public"].state is State.NOTE, "not qualified: nobody knows"
    assert "does not answer OPTIONS" in found["trunk away"].explanation
    assert "no PJSIP endpoint" in found["trunk nowhere"].explanation
    await ward.asterisk.cli("module load app_amd.so")

    # clocks and folders
    slow = ManualClock(SystemClock().now() - timedelta(seconds=9))
    assert "ahead of ours" in (await ward.findings(clock=slow))["clock of ast1"].explanation
    gone = ward.folder / "not there"
    found = await ward.findings(
        recordings=gone, phones_file=gone / "phones.conf", cel=gone / "cel.csv"
    )
    assert {"recordings of ast1", "phones of ast1", "call events of ast1"} <= found.problems()
    assert "cel` is not set" in (await ward.findings(cel=None))["call events of ast1"].explanation


async def originate(ami: BareAmi, call_id: str, channel: str, *, kind: str = "call") -> None:
    answer = await ami.ask(
        "Originate", ActionID=call_id, Channel=channel, Exten="s", Priority="1",
        Context="dialer-agent" if kind == "leg" else "dialer-answered", Timeout="20000",
        Async="true", CallerID='"+12025550100" <+12025550100>', ChannelId=call_id,
        Variable=f"DIALER_ID={call_id}\nDIALER_KIND={kind}\nDIALER_WINDOW=50\n"
        "DIALER_ABANDON_SOUND=dialer-abandon",
    )  # fmt: skip
    assert answer["Response"] == "Success", answer
    await ami.event(Event="Newstate", Uniqueid=call_id, ChannelStateDesc="Up")


async def attempts(house: SqlHouse, *ended: bool) -> list[UUID]:
    """An attempt each in the database: over, or still open."""
    lease = await house.own(house.pool, owner="another")
    made = []
    for lead, over in zip(await house.claim(lease, house.first, len(ended)), ended, strict=True):
        attempt = house.attempt(lead, at=house.clock_now())
        await house.store.intend(lease, [attempt])
        made.append(attempt.id)
        if over:
            async with house._db.begin() as db:
                await db.execute(
                    sa.update(t.attempt).where(t.attempt.c.id == attempt.id)
                    .values(outcome="abandoned", ended_at=house.clock_now())
                )  # fmt: skip
                await db.execute(
                    sa.update(t.lead).where(t.lead.c.id == lead.lead_id).values(state="done")
                )
                await db.execute(
                    sa.delete(t.reservation).where(t.reservation.c.lead_id == lead.lead_id)
                )
    return made


@pytest.mark.full
async def test_orphaned_calls_are_hung_up_and_no_other(ward: Ward) -> None:
    house = ward.house
    async with house._db.begin() as db:
        await db.execute(sa.update(t.pool_lease).values(expires=0.0, owner=""))
    orphan, talking, open_call = map(str, await attempts(house, True, True, False))
    stranger = str(house.new_id())
    leg = f"leg-{house.agent.hex}-1-1"
    calls = {key: i for i, key in enumerate((orphan, talking, open_call, stranger))}
    async with BareAmi(ward.asterisk.ami_port, "dialer", ward.asterisk.secret) as ami:
        await originate(ami, leg, "PJSIP/kim", kind="leg")
        await ami.event(Event="BridgeEnter", Uniqueid=leg, BridgeTechnology="holding_bridge")
        for key, index in calls.items():
            await originate(ami, key, f"PJSIP/{number(behaviour=1, index=index)}@public")
        answer = await ami.ask("Bridge", Channel1=talking, Channel2=leg, Tone="no")
        assert answer["Response"] == "Success"
        await ami.event(Event="BridgeEnter", Uniqueid=talking)
        injected("Asterisk: a call that its database says is over")

        async def up() -> set[str]:
            shown = len(ami.all(Event="CoreShowChannelsComplete"))
            await ami.ask("CoreShowChannels")
            await ami.event(Event="CoreShowChannelsComplete", count=shown + 1)
            return {e["Uniqueid"] for e in ami.all(Event="CoreShowChannel")}

        found = await ward.findings()
        assert found["channels of ast1"].state is State.PROBLEM
        assert "1 calls are up that no open attempt knows" in found["channels of ast1"].explanation
        assert "1 calls" in found["conversations of ast1"].explanation
        assert "1 calls carry" in found["strangers on ast1"].explanation
        assert not ami.all(Event="Hangup"), "without --repair nothing is touched"

        settings = ward.settings().model_dump(mode="json")
        node = {
            **settings["nodes"][0], "secret": ward.asterisk.secret,
            "provision_secret": ward.asterisk.provision_secret,
            "record_secret": ward.asterisk.record_secret,
        }  # fmt: skip
        environment = {
            "DIALER_DATABASE": ward.url, "DIALER_NODES": json.dumps([node]),
            "DIALER_TRUNKS": json.dumps(settings["trunks"]), "DIALER_DISK_FREE": "0",
        }  # fmt: skip
        code, out, err = await dialer(ward.folder, "doctor", "--repair", "--json", **environment)
        said = {line["check"]: line for line in map(json.loads, out.splitlines())}
        assert said["channels of ast1"]["state"] == "repaired", (out, err)
        assert said["channels of ast1"]["good"] is True
        await ami.event(Event="Hangup", Uniqueid=orphan)
        assert {talking, open_call, stranger, leg} <= await up()
        assert {e["Uniqueid"] for e in ami.all(Event="Hangup")} == {orphan}
        assert code == 0, "what was wrong is repaired; the rest are notes"
        for key in (talking, open_call, stranger, leg):
            await ami.ask("Hangup", Channel=key)


@pytest.mark.full
async def test_the_exit_code_says_whether_a_problem_is_left(tmp_path: Path) -> None:
    code, out, _ = await dialer(tmp_path, "doctor", DIALER_DISK_FREE="0")
    assert code == 1
    assert "PROBLEM  migrations: the database is empty" in out
    assert "         - run `dialer migrate`" in out
