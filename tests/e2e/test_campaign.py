"""The main job, end to end: the real dialer process, a real Asterisk, SIPp as public and phones.

SIPp's own log is the truth: every recorded outcome is compared with what SIPp did, and every number
must have got exactly the INVITEs that the retry rules ask for, at the times they ask for.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.lab.callcentre import CallCentre
from tests.lab.evidence import Evidence, agent_time_adds_up
from tests.lab.faults import injected
from tests.lab.process import until
from tests.lab.scenario import number
from tests.lab.servers import LabPostgres
from tests.lab.verdict import (
    numbered,
    pops_fit,
    retries_kept,
    same_story,
    same_story_after_a_crash,
)

pytestmark = pytest.mark.e2e

FINAL = ("done", "blocked")
#: Different for each outcome, so that a rule taken for another one is seen.
RETRIES = {
    "busy": {"delay": 3.0, "most": 2},
    "no_answer": {"delay": 4.0, "most": 1},
    "congestion": {"delay": 2.0, "most": 1},
    "hung_up_waiting": {"delay": 5.0, "most": 1},
    "rejected": {"delay": 1.0, "most": 0},
}
MOST_ATTEMPTS = 3
#: Talkers, waiters, busy, no answer, 404, 480, 503, 603, ring then 500, answer and gone at once.
MIX = (0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9)


@dataclass(frozen=True, slots=True)
class Size:
    """A full pass on PostgreSQL, a smaller one on SQLite."""

    leads: int
    agents: int
    postgres: bool


@pytest.fixture
def postgres() -> Iterator[LabPostgres]:
    with LabPostgres(sync=True) as server:
        yield server


def leads(count: int, rng: random.Random) -> list[dict[str, Any]]:
    return [
        {
            "number": number(
                behaviour=rng.choice(MIX),
                index=i,
                delay=rng.randrange(10),
                talk=rng.randrange(2, 6),
            ),
            "name": f"Person {i}",
            "attributes": {"index": i},
        }
        for i in range(count)
    ]


async def finished(centre: CallCentre, campaign: str, count: int, *, timeout: float) -> None:
    """Wait until every lead is where nothing follows."""
    async with asyncio.timeout(timeout):
        while True:
            figures = await centre.post(f"/campaigns/{campaign}/figures", method="GET")
            states = figures["leads"]
            done = sum(states.get(s, 0) for s in FINAL)
            if done == count and not figures["outcomes"].get("open"):
                return
            await asyncio.sleep(0.5)


@pytest.mark.parametrize(
    "size",
    [
        Size(400, 20, postgres=True),
        pytest.param(Size(1000, 20, postgres=True), marks=pytest.mark.full),
        pytest.param(Size(150, 8, postgres=False), marks=pytest.mark.full),
    ],
    ids=["postgresql", "postgresql-thousand", "sqlite"],
)
async def test_a_list_is_dialed_and_every_outcome_is_what_the_network_did(
    size: Size, request: pytest.FixtureRequest
) -> None:
    rng = random.Random(20260301)
    database = request.getfixturevalue("postgres").database() if size.postgres else ""
    async with CallCentre(agents=size.agents, database=database) as centre:
        campaign = await centre.campaign(
            "main",
            mode="ratio",
            dial_ratio=2.0,
            target_abandon=1.0,
            ring_timeout=9,
            retries=RETRIES,
            max_attempts=MOST_ATTEMPTS,
            wrap_up=5,
        )
        given = leads(size.leads, rng)
        bad = {"number": "no number\r\nX: y", "name": "bad"}
        loaded = await centre.load(campaign, [*given, bad])
        assert loaded["accepted"] == size.leads
        assert [r["row"] for r in loaded["rejected"]] == [size.leads]
        await centre.add_agents([campaign], talk=(0.5, 1.5), wrap=(0.1, 0.3))
        await centre.post(f"/campaigns/{campaign}/start")
        await finished(centre, campaign, size.leads, timeout=360)
        calls = await centre.calls(campaign)
        truth = await centre.public.truth_of(len(calls), timeout=30, ended=True)
        same_story(calls, truth)
        Evidence([centre.asterisk.cel], calls).check(window=2.0)
        late = retries_kept(calls, truth, rules=RETRIES, max_attempts=MOST_ATTEMPTS, slack=20.0)
        print(
            f"\n{len(calls)} calls: {dict(Counter(c['outcome'] for c in calls))}; "
            f"{len(late)} repeated, late by p50 {late[len(late) // 2]:.2f} s, max {late[-1]:.2f} s"
        )
        assert {c["number"] for c in calls} == {lead["number"] for lead in given}
        assert all(c["verdict"]["verdict"] == "allow" for c in calls)
        for agent in centre.agents:
            numbered(m for _, m in agent.messages)
        popped = sum(pops_fit(given, [m for _, m in a.messages]) for a in centre.agents)
        assert popped >= sum(c["connected_at"] is not None for c in calls)


@pytest.mark.parametrize("database", ["postgresql", pytest.param("sqlite", marks=pytest.mark.full)])
async def test_after_kill_nine_nobody_is_called_twice_and_nothing_is_lost(
    database: str, request: pytest.FixtureRequest
) -> None:
    """Killed twice in the middle of the run, at moments of chance."""
    rng = random.Random()
    count = 120
    url = request.getfixturevalue("postgres").database() if database == "postgresql" else ""
    async with CallCentre(agents=8, database=url) as centre:
        campaign = await centre.campaign(
            "main",
            mode="ratio",
            dial_ratio=2.0,
            target_abandon=1.0,
            ring_timeout=5,
            max_attempts=2,
            retries={"busy": {"delay": 1.0, "most": 1}, "congestion": {"delay": 1.0, "most": 1}},
            wrap_up=2,
        )
        given = leads(count, rng)
        await centre.load(campaign, given)
        await centre.add_agents([campaign], talk=(0.5, 2.0), wrap=(0.1, 0.2))
        await centre.post(f"/campaigns/{campaign}/start")
        for called in (count // 4, count // 2):
            await until(
                lambda least=called: len(centre.public.truth()) >= least,  # type: ignore[misc]
                timeout=60,
                what=f"{called} calls",
            )
            await asyncio.sleep(rng.uniform(0, 0.5))  # any moment, not the same one each time
            assert centre.dialer is not None
            await centre.dialer.stop(number=signal.SIGKILL)
            injected("dialer: kill -9")
            for agent in centre.agents:
                await agent.close()
            centre.agents.clear()
            await centre.start_dialer()
            await centre.sign_in()
            await _come_back(centre)
        await finished(centre, campaign, count, timeout=90)
        calls = await centre.calls(campaign)
        truth = await centre.public.truth_of(len(centre.public.truth()), timeout=30, ended=True)
        found = Evidence([centre.asterisk.cel], calls)
        found.check(window=2.0)
        # A BYE that crosses the bridging leaves the channel up in Asterisk until we hang it up; a
        # dialer that dies in that moment leaves this to the next one, so both have ended the call.
        by_us = [call_id for call_id, channel in found.called.items() if channel.ended_by_us]
        unknown = same_story_after_a_crash(calls, truth, ended_by_us=frozenset(by_us))
        agent_time_adds_up(await centre.rows("agent_interval"))
        # The ledger that paces is what the records say, also after two restarts.
        figures = await centre.post(f"/campaigns/{campaign}/figures", method="GET")
        (pool,) = (await centre.post("/live", method="GET"))["pools"]
        (live,) = pool["campaigns"]
        assert live["abandoned"] == figures["abandoned"]
        assert live["outcomes"] == figures["outcomes"]
        print(f"\n{len(calls)} calls, {unknown} unknown: {Counter(c['outcome'] for c in calls)}")
        assert {c["number"] for c in calls} == {lead["number"] for lead in given}
        tries = Counter(t.number for t in truth)
        assert max(tries.values()) <= 2


async def _come_back(centre: CallCentre) -> None:
    """The same agents sign in again, as their browsers would."""
    from tests.lab.agents import LabAgent

    for login, password in centre.logins.items():
        token = await centre.token(login, password)
        agent = LabAgent(centre.address, token, name=login, talk=(0.5, 2.0), wrap=(0.1, 0.2))
        centre.agents.append(agent)
    await asyncio.gather(*(agent.start() for agent in centre.agents))
