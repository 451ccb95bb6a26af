"""Agents' phones fail: one after the other, by their own hang-up and by a dead machine, and all at
once. Nobody is sent to a phone that is not there, nobody is left in silence, and the phones are
called again.
"""

from __future__ import annotations

import asyncio
import random
import signal
import socket

import pytest

from telephony.provision.phones import RTP_TIMEOUT
from tests.faults.campaign import DELAYS, MOST, Running, running
from tests.lab.faults import injected
from tests.lab.process import free_port, until
from tests.lab.promises import promises_kept, settled
from tests.lab.public import Sipp
from tests.lab.scenario import phone_scenario, restless_phone_scenario
from tests.lab.sounds import make_sounds

pytestmark = [pytest.mark.e2e, pytest.mark.full]


class OwnPhones(Sipp):
    """Phones on an address of their own; each is called as `login`, whatever the scenario."""

    def uri(self, login: str) -> str:
        return f"sip:{login}@{self.host}:{self.port}"


def _own_phones(name: str, scenario: str, *, host: str) -> OwnPhones:
    return OwnPhones(
        name, scenario, host=host, port=free_port(host, kind=socket.SOCK_DGRAM), rtp_port=0
    )


async def _end(run: Running) -> None:
    """Everything comes to rest with all phones connected, and every promise was kept."""
    run.feeding = False
    await settled(run.centre, run.campaign, timeout=90 + len(run.given) / 4, ready=run.present)
    told = await promises_kept(
        run.centre, run.campaign, run.given, max_attempts=MOST, delays=DELAYS
    )
    print(f"\n{len(told.calls)} calls: {told.outcomes}")
    assert told.outcomes["ended_by_agent"] + told.outcomes["ended_by_customer"] > 20


async def test_phones_hang_up_by_themselves() -> None:
    """Three agents' phones end their calls every few seconds, whatever goes on there."""
    rng = random.Random()
    restless = _own_phones("restless", restless_phone_scenario(make_sounds()), host="127.0.0.4")
    async with restless, running(rng, agents=7) as run:
        calm = list(run.centre.agents)
        for login in ("restless3", "restless5", "restless7"):
            await run.one_more_agent(login, phone=restless)

        def hang_ups() -> int:
            return sum("BYE_SENT" in call.ends for call in restless.truth())

        await until(lambda: hang_ups() >= 30, timeout=120, what="30 hang-ups by phones")
        injected("agent's phone: BYE", hang_ups())
        for agent in run.centre.agents:  # the calm ones noticed nothing
            told = [m["data"]["slug"] for _, m in agent.messages if m["type"] == "notice"]
            assert ("phone-lost" in told) is (agent not in calm), (agent.name, told)
            if agent not in calm:
                await agent.leave()
        await _end(run)


async def test_a_phone_dies_without_a_word() -> None:
    """No BYE comes from a dead machine: Asterisk misses its voice, and ends its call."""
    rng = random.Random()
    async with running(rng, agents=5, talk=(3.0, 6.0)) as run:
        scenario = phone_scenario(make_sounds())
        for turn in range(3):
            phone = _own_phones("mortal", scenario, host=f"127.0.0.{5 + turn}")
            await run.stack.enter_async_context(phone)
            agent = await run.one_more_agent(f"mortal{turn}", phone=phone)
            await agent.until("on_call", timeout=60)
            assert phone.child is not None
            await phone.child.stop(number=signal.SIGKILL)
            injected("agent's phone: killed")
            await agent.until("leg_lost", "signed_out", timeout=RTP_TIMEOUT + 10)
            await phone.start()  # another machine is put on the desk
            await agent.until("ready", "on_call", timeout=60)
        await _end(run)


async def test_all_phones_die_at_once() -> None:
    rng = random.Random()
    async with running(rng, agents=8, talk=(1.0, 3.0)) as run:
        phones_now = run.centre.phones
        for _ in range(3):
            await until(
                lambda: sum(a.state == "on_call" for a in run.centre.agents) >= 3,
                timeout=60,
                what="conversations",
            )
            assert phones_now.child is not None
            await phones_now.child.stop(number=signal.SIGKILL)
            injected("agents' phones: all killed", len(run.centre.agents))
            await until(
                lambda: all(a.state in ("leg_lost", "signed_out") for a in run.centre.agents),
                timeout=RTP_TIMEOUT + 15,
                what="every agent to be told",
            )
            placed = len(run.centre.public.truth())
            await phones_now.start()
            await asyncio.gather(
                *(a.until("ready", "on_call", timeout=60) for a in run.centre.agents)
            )
            assert len(run.centre.public.truth()) >= placed
        await _end(run)
