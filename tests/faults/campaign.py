"""A campaign under way in a real call centre, to be broken in some way: what those tests share."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.test_campaign import MIX
from tests.lab.callcentre import CallCentre
from tests.lab.diligent import DiligentAgent
from tests.lab.faulty_link import FaultyLink
from tests.lab.process import until
from tests.lab.promises import Told, promises_kept, settled
from tests.lab.scenario import DELAYS as DELAY
from tests.lab.scenario import number

MOST = 2  # attempts
RING = 5  # s
#: Short, so that people are called again within the test.
RETRIES = {
    "busy": {"delay": 1.0, "most": 1},
    "congestion": {"delay": 3.0, "most": 1},
    "expired": {"delay": 1.0, "most": 50},
    "failed": {"delay": 1.0, "most": 1},
    "unknown": {"delay": 86400.0, "most": 0},
}
DELAYS = {outcome: rule["delay"] for outcome, rule in RETRIES.items() if rule["most"]}
_CHUNK, _AHEAD = 40, 60  # leads that are loaded at a time, and how many wait at least


def _person(index: int, rng: random.Random) -> dict[str, Any]:
    """Anybody, but nobody who decides in the moment in which Asterisk gives up: what then crosses
    on the wire would be judged by whose clock was looked at."""
    called = number(
        behaviour=rng.choice(MIX),
        index=index,
        delay=rng.choice([d for d, seconds in enumerate(DELAY) if abs(seconds - RING) > 2.0]),
        talk=rng.randrange(2, 6),
    )
    return {"number": called, "name": f"Person {index}", "attributes": {"index": index}}


@dataclass(slots=True)
class Running:
    """A started campaign with agents at work, and leads as long as `feeding`."""

    centre: CallCentre
    campaign: str
    rng: random.Random
    link: FaultyLink | None = None
    given: list[dict[str, Any]] = field(default_factory=list)
    feeding: bool = True
    behaviour: dict[str, Any] = field(default_factory=dict)
    stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    async def load(self, count: int) -> None:
        first = len(self.given)
        made = [_person(first + i, self.rng) for i in range(count)]
        loaded = await self.centre.load(self.campaign, made)
        assert loaded["accepted"] == count
        self.given += made

    async def feed(self) -> None:
        """Load more people before the list is through: a campaign under faults must not end."""
        while self.feeding:
            called = {call.number for call in self.centre.public.truth()}
            if len(self.given) - len(called) < _AHEAD:
                try:
                    await self.load(_CHUNK)
                except (RuntimeError, httpx.HTTPError) as error:
                    print(f"not loaded: {error!r}")  # the dialer may be away at the moment
            await asyncio.sleep(0.5)

    async def one_more_agent(self, login: str, *, phone: Any) -> DiligentAgent:
        """At work from now on; `phone`: what knows the phone's `uri(login)`."""
        token = await self.centre.make_agent(login, [self.campaign], phone=phone)
        agent = DiligentAgent(self.centre.address, token, name=login, **self.behaviour)
        self.centre.agents.append(agent)
        await agent.start()
        return agent

    @property
    def present(self) -> int:
        """Agents who have not left for good."""
        return sum(not getattr(agent, "gone", False) for agent in self.centre.agents)

    async def agent_comes_anew(self) -> None:
        """One agent's phone is put down and called again."""
        agent = self.rng.choice(self.centre.agents)
        await agent.until("ready", "on_call", "wrap_up", timeout=60)
        await agent.command("sign_out")

    @property
    def called(self) -> int:
        return len(self.centre.public.truth())


@asynccontextmanager
async def running(
    rng: random.Random,
    *,
    agents: int = 8,
    link: bool = False,
    first: int = 80,
    talk: tuple[float, float] = (0.6, 1.5),
    wrap: tuple[float, float] = (0.3, 0.6),
    settings: dict[str, Any] | None = None,
    start: bool = True,
    **centre_options: Any,
) -> AsyncIterator[Running]:
    """A call centre at work; `link`: a faulty link lies between the dialer and Asterisk; `start`:
    the campaign is started, and gets new people as long as it is fed."""
    centre = CallCentre(agents=agents, **centre_options)
    async with contextlib.AsyncExitStack() as stack:
        faulty: FaultyLink | None = None
        if link:
            faulty = await stack.enter_async_context(FaultyLink(centre.asterisk.ami_port, rng=rng))
            centre.ami_port = faulty.port
        await stack.enter_async_context(centre)
        campaign = await centre.campaign(
            "main",
            **{
                "mode": "ratio", "dial_ratio": 2.0, "target_abandon": 1.0, "ring_timeout": RING,
                "max_attempts": MOST, "wrap_up": 5, "retries": RETRIES, **(settings or {}),
            },
        )  # fmt: skip
        behaviour = {"talk": talk, "wrap": wrap}
        run = Running(
            centre, campaign, rng, faulty, feeding=start, behaviour=behaviour, stack=stack
        )
        if first:
            await run.load(first)
        await centre.add_agents(
            [campaign], kind=DiligentAgent, addresses=centre.addresses, talk=talk, wrap=wrap
        )
        if start:
            await centre.post(f"/campaigns/{campaign}/start")
        feeder = asyncio.create_task(run.feed(), name="feeder")
        try:
            yield run
        except BaseException:
            for child in (centre.dialer, *centre.others):
                if child is not None:
                    print(f"\nlast words of the {child.name}:\n{child.tail(25)}")
            _keep(centre)
            raise
        finally:
            run.feeding = False
            feeder.cancel()
            await asyncio.gather(feeder, return_exceptions=True)


def talking(centre: CallCentre) -> set[str]:
    """The calls of the agents who speak with somebody."""
    return {agent.call_id for agent in centre.agents if agent.state == "on_call"}


async def in_the_middle(run: Running, called: int, *, least: int = 2) -> None:
    """Wait for so many more calls, and at least so many conversations at one time."""
    wanted = run.called + called
    await until(
        lambda: run.called >= wanted and len(talking(run.centre)) >= least,
        timeout=90,
        what="conversations in the middle of the list",
    )


async def end(
    run: Running,
    *,
    crashed: bool = False,
    died: Sequence[tuple[str, float]] = (),
    stood_still: Sequence[tuple[str, float, float]] = (),
) -> Told:
    """Let the list run out, and have the promises judged."""
    run.feeding = False
    await settled(run.centre, run.campaign, timeout=120)
    return await promises_kept(
        run.centre, run.campaign, run.given, max_attempts=MOST, delays=DELAYS, crashed=crashed,
        died=died, stood_still=stood_still,
    )  # fmt: skip


def _keep(centre: CallCentre) -> None:
    """What a failed run wrote, for whoever looks into it: to $DIALER_LAB_KEEP, if that is set."""
    folder = os.environ.get("DIALER_LAB_KEEP")
    if folder is None:
        return
    kept = Path(tempfile.mkdtemp(prefix="failed-", dir=folder))
    cel = "log/cel-custom/dialer.csv"
    logs = [f"{d.name}.log" for d in centre.dialers]
    for name in (*logs, "dialer.db", "dialer.db-wal", f"ast1/{cel}", f"ast2/{cel}"):
        if (path := centre.folder / name).exists():
            shutil.copy(path, kept / name.replace("/", "-"))
    shutil.copy(centre.public.log, kept)


__all__ = [
    "DELAYS", "MOST", "RETRIES", "Running", "end", "in_the_middle", "running", "settled",
    "talking",
]  # fmt: skip
