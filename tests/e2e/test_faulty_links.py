"""A campaign is dialed while the manager link misbehaves; the invariants hold all the same."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from tests.e2e.test_campaign import finished, leads
from tests.lab.callcentre import CallCentre
from tests.lab.evidence import Evidence, agent_time_adds_up
from tests.lab.faults import injected
from tests.lab.faulty_link import FaultyLink
from tests.lab.verdict import same_story_after_a_crash

pytestmark = pytest.mark.e2e

#: How often each is drawn.
FAULTS = {"cut": 6, "delay": 3, "split": 3, "repeat": 3, "garbage": 3, "freeze": 1}


async def misbehave(link: FaultyLink, rng: random.Random, faults: int) -> Counter[str]:
    """So many faults, one after the other, at moments of chance."""
    done: Counter[str] = Counter()
    kinds = [kind for kind, weight in FAULTS.items() for _ in range(weight)]
    for _ in range(faults):
        await asyncio.sleep(rng.uniform(0.05, 0.9))
        kind = rng.choice(kinds)
        done[kind] += 1
        if kind == "delay":
            link.delay(rng.uniform(0.01, 0.8))
        else:
            getattr(link, kind)()
        # A half-open link is noticed by its pings; then the dialer connects again.
        injected(f"manager link: {kind}")
        await asyncio.sleep(rng.uniform(0.5, 12.0) if kind == "freeze" else rng.uniform(0, 0.6))
        link.mend()
    return done


@pytest.mark.parametrize(
    ("count", "faults"), [(90, 20), pytest.param(600, 150, marks=pytest.mark.full)]
)
async def test_the_manager_link_misbehaves(count: int, faults: int) -> None:
    rng = random.Random()
    centre = CallCentre(agents=8)
    async with FaultyLink(centre.asterisk.ami_port, rng=rng) as link:
        centre.ami_port = link.port
        async with centre:
            campaign = await centre.campaign(
                "main", mode="ratio", dial_ratio=2.0, target_abandon=1.0, ring_timeout=5,
                max_attempts=2, wrap_up=2,
                retries={"busy": {"delay": 1.0, "most": 1}},
            )  # fmt: skip
            given = leads(count, rng)
            await centre.load(campaign, given)
            await centre.add_agents([campaign], talk=(0.5, 2.0), wrap=(0.1, 0.2))
            await centre.post(f"/campaigns/{campaign}/start")
            done = await misbehave(link, rng, faults)
            await finished(centre, campaign, count, timeout=60 + count / 2)
            calls = await centre.calls(campaign)
            truth = await centre.public.truth_of(len(centre.public.truth()), timeout=60, ended=True)
            unknown = same_story_after_a_crash(calls, truth)
            print(f"\n{dict(done)}; {len(calls)} calls, {unknown} unknown")
            print(Counter(c["outcome"] for c in calls))
            Evidence([centre.asterisk.cel], calls).check(window=2.0)
            agent_time_adds_up(await centre.rows("agent_interval"))
            figures = await centre.post(f"/campaigns/{campaign}/figures", method="GET")
            (pool,) = (await centre.post("/live", method="GET"))["pools"]
            (live,) = pool["campaigns"]
            assert (live["abandoned"], live["outcomes"]) == (
                figures["abandoned"],
                figures["outcomes"],
            )
            assert pool["agents"] == {"ready": 8}
            assert not pool["calls"]
