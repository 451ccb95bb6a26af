"""Asterisk is killed with calls up and comes back: nobody is called twice, everything goes on."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from tests.e2e.test_campaign import finished, leads
from tests.lab.callcentre import CallCentre
from tests.lab.evidence import Evidence, agent_time_adds_up
from tests.lab.faults import injected
from tests.lab.process import until
from tests.lab.verdict import same_story_after_a_crash

pytestmark = pytest.mark.e2e


async def test_asterisk_is_killed_with_calls_up_and_comes_back() -> None:
    rng = random.Random()
    count = 90
    async with CallCentre(agents=8) as centre:
        campaign = await centre.campaign(
            "main", mode="ratio", dial_ratio=2.0, target_abandon=1.0, ring_timeout=5,
            max_attempts=2, wrap_up=2,
            retries={"busy": {"delay": 1.0, "most": 1}},
        )  # fmt: skip
        given = leads(count, rng)
        await centre.load(campaign, given)
        await centre.add_agents([campaign], talk=(1.0, 3.0), wrap=(0.1, 0.2))
        await centre.post(f"/campaigns/{campaign}/start")
        await until(
            lambda: (
                any(a.state == "on_call" for a in centre.agents)
                and len(centre.public.truth()) > count // 3
            ),
            timeout=40,
            what="conversations in the middle of the list",
        )
        await centre.asterisk.kill()
        injected("Asterisk: kill -9")
        await centre.asterisk.restart()
        # The phones are called again by themselves; the agents say when they are ready.
        await asyncio.gather(*(agent.until("paused", timeout=40) for agent in centre.agents))
        for agent in centre.agents:
            assert (await agent.command("ready"))["ok"]
        await finished(centre, campaign, count, timeout=120)
        calls = await centre.calls(campaign)
        unknown = same_story_after_a_crash(calls, centre.public.truth(), cut_off=True)
        print(f"\n{len(calls)} calls, {unknown} unknown: {Counter(c['outcome'] for c in calls)}")
        Evidence([centre.asterisk.cel], calls).check(window=2.0, lost_nodes=True)
        agent_time_adds_up(await centre.rows("agent_interval"))
        assert {c["number"] for c in calls} == {lead["number"] for lead in given}
        figures = await centre.post(f"/campaigns/{campaign}/figures", method="GET")
        (pool,) = (await centre.post("/live", method="GET"))["pools"]
        (live,) = pool["campaigns"]
        assert live["abandoned"] == figures["abandoned"]
