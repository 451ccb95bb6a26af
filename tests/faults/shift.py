"""A shift in a call centre where things break: agents who carry on, lists that do not run dry, and
the seven invariants at the end of it, from the three witnesses.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from tests.e2e.test_campaign import finished, leads
from tests.lab.agents import LabAgent
from tests.lab.callcentre import CallCentre
from tests.lab.evidence import Evidence, agent_time_adds_up
from tests.lab.process import until
from tests.lab.verdict import pops_fit, same_story_after_a_crash

#: Every number is dialed again after these, so that most of what happens to a lead happens here.
CAMPAIGN: dict[str, Any] = {
    "mode": "ratio", "dial_ratio": 2.0, "target_abandon": 1.0, "ring_timeout": 5,
    "max_attempts": 2, "wrap_up": 5,
    "retries": {
        "busy": {"delay": 1.0, "most": 1},
        "congestion": {"delay": 1.0, "most": 1},
        "hung_up_waiting": {"delay": 1.0, "most": 1},
    },
}  # fmt: skip
STUCK = 60.0  # s after which nobody may still be where a fault left them
_TALK, _WRAP = (1.0, 3.0), (0.1, 0.3)


def carry_on(agent: LabAgent, message: Mapping[str, Any]) -> None:
    """An agent whose engine went away says again that they are ready, as its screen asks for."""
    if message["type"] not in ("state", "snapshot"):
        return
    wish = {"paused": "ready", "signed_out": "sign_in"}.get(message["data"]["state"])
    if wish is not None:
        agent._spawn(_insist(agent, wish, when=message["data"]["state"]))


async def _insist(agent: LabAgent, wish: str, *, when: str) -> None:
    """Also when it is refused: the phone may not be connected yet."""
    while agent.state == when:
        await agent.press(wish, when=when)
        await asyncio.sleep(0.5)


class Shift:
    """One campaign on a call centre, from the first lead to the verdict."""

    def __init__(self, centre: CallCentre, *, rng: random.Random) -> None:
        self.centre, self._rng = centre, rng
        self.campaign = ""
        self.given: list[dict[str, Any]] = []
        self.said = ""  # what /readyz answered last
        self.beside: frozenset[str] = frozenset()  # checks whose failure is what a test is about

    async def begin(self, count: int, *, addresses: Sequence[str] = (), **settings: Any) -> None:
        """Load `count` people, have the agents ready (in turn at these dialers), and start."""
        self.campaign = await self.centre.campaign("shift", **{**CAMPAIGN, **settings})
        await self._load(count)
        await self.centre.add_agents(
            [self.campaign], addresses=addresses, talk=_TALK, wrap=_WRAP, on_message=carry_on
        )
        await self.centre.post(f"/campaigns/{self.campaign}/start")

    async def _load(self, count: int) -> None:
        first = len(self.given)
        more = leads(first + count, self._rng)[first:]
        loaded = await self.centre.load(self.campaign, more)
        assert loaded["accepted"] == count
        self.given += more

    async def supplied(self, least: int = 40) -> None:
        """The dialer is ready, the campaign runs, and at least so many people are to be called."""
        try:
            await until(self.ready, timeout=STUCK, what="the dialer to be ready")
        except TimeoutError as error:
            last_words = self.centre.dialer.tail(25) if self.centre.dialer is not None else ""
            raise TimeoutError(f"{error}; it said {self.said}, and wrote\n{last_words}") from None
        figures = await self.centre.post(f"/campaigns/{self.campaign}/figures", method="GET")
        waiting = sum(figures["leads"].get(s, 0) for s in ("new", "retry"))
        if waiting < least:
            await self._load(2 * least)
            found = await self.centre.post(f"/campaigns/{self.campaign}", method="GET")
            if found["state"] == "finished":
                await self.centre.post(f"/campaigns/{self.campaign}/start")

    async def ready(self) -> bool:
        """Whether the dialer says that it can work, but for what the test is about."""
        try:
            answer = await self.centre.http.get("/readyz")
        except httpx.HTTPError as error:
            self.said = repr(error)
            return False
        self.said = answer.text
        if answer.status_code == 200:
            return True
        wrong = {
            name
            for name, state in answer.json()["checks"].items()
            if state != "ok" and not state.startswith("degraded")
        }
        return wrong <= self.beside

    async def end(self, *, window: float = 2.0, calendar: bool = True) -> list[dict[str, Any]]:
        """Wait for the end of the list, then hold the seven invariants against the witnesses.
        Without `calendar` the dialer's was set meanwhile: agents' stretches are not joined by it.
        """
        centre, campaign = self.centre, self.campaign
        await self.supplied(least=0)
        await finished(centre, campaign, len(self.given), timeout=STUCK + len(self.given) / 2)
        await until(self._nobody_is_stuck, timeout=STUCK, what="everybody to be free again")
        calls = await centre.calls(campaign)
        # 1: one outcome each, what the network did; nobody called without a record, or twice.
        truth = await centre.public.truth_of(len(centre.public.truth()), timeout=60, ended=True)
        found = Evidence([centre.asterisk.cel], calls)
        # A BYE that crosses the bridging: Asterisk's record forgets whose it was, and has to do
        # where the pool was between two owners just then.
        by_us = frozenset(i for i, channel in found.called.items() if channel.ended_by_us)
        unknown = same_story_after_a_crash(calls, truth, window=window, ended_by_us=by_us)
        print(f"\n{len(calls)} calls, {unknown} unknown: {Counter(c['outcome'] for c in calls)}")
        assert {c["number"] for c in calls} == {lead["number"] for lead in self.given}
        assert await centre.rows("reservation") == []
        # 2: each with the Allow that it was placed under.
        assert all(c["verdict"]["verdict"] == "allow" for c in calls)
        # 1, 3, 4 and 7 from Asterisk's records; 5 from the rows of agents' time.
        found.check(window=window)
        if calendar:
            agent_time_adds_up(await centre.rows("agent_interval"))
        # 3: what paces is what the records say.
        figures = await centre.post(f"/campaigns/{campaign}/figures", method="GET")
        (live,) = (await self._live())["campaigns"]
        paced = (live["abandoned"], live["outcomes"])
        assert paced == (figures["abandoned"], figures["outcomes"]), (paced, figures)
        # 4 and 6: each screen showed the right people, in order, once.
        for agent in centre.agents:
            pops_fit(self.given, [m for _, m in agent.messages])
            in_order_and_once([m for _, m in agent.messages])
        return calls

    async def _live(self) -> dict[str, Any]:
        (pool,) = (await self.centre.post("/live", method="GET"))["pools"]
        return dict(pool)

    async def _nobody_is_stuck(self) -> bool:
        """Agents ready, no calls in the engine, no channel in Asterisk but the agents' legs."""
        try:
            pool = await self._live()
        except (RuntimeError, httpx.HTTPError):
            return False
        agents = len(self.centre.agents)
        if pool["agents"] != {"ready": agents} or pool["calls"]:
            return False
        shown = await self.centre.asterisk.cli("core show channels count")
        return f"{agents} active channel" in shown


def in_order_and_once(messages: Sequence[Mapping[str, Any]]) -> None:
    """What one screen was told: numbers only rise, none is missing but under a snapshot, and no
    person pops up twice in a row. (Somebody who hung up in the moment of the bridge may, once the
    agent was told to be free again.)"""
    last: tuple[int, int] | None = None
    shown = ""
    for message in messages:
        epoch, n = (int(part) for part in message["seq"].split("-"))
        if message["type"] == "snapshot":
            last = (epoch, n)
            continue
        if last is not None:
            assert (epoch, n) > last, (last, message)
            assert epoch > last[0] or n == last[1] + 1, (last, message)
        last = (epoch, n)
        if message["type"] == "pop":
            assert message["data"]["call_id"] != shown, message
            shown = message["data"]["call_id"]
        elif message["type"] == "state" and message["data"]["state"] == "ready":
            shown = ""
