"""A predictive campaign on the real Asterisk: ahead of its agents, lawful, explained, and wiser
after a restart."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from typing import Any

import pytest

from pacing.interval import wilson
from tests.lab.callcentre import CallCentre
from tests.lab.evidence import Evidence
from tests.lab.process import until
from tests.lab.scenario import number

pytestmark = [pytest.mark.e2e, pytest.mark.full]  # three minutes

AGENTS, LEADS, SHARE = 10, 2500, 0.35
GIVE_UP, TIMEOUT = 8.5, 14.0


def people(rng: random.Random) -> list[dict[str, Any]]:
    """A third picks up after three to eight seconds and talks for eight; others let it ring."""
    leads = []
    for i in range(LEADS):
        if rng.random() < SHARE:
            called = number(behaviour=0, index=i, delay=rng.choice((6, 7, 8, 9)), talk=9)
        else:
            called = number(behaviour=rng.choice((2, 3, 3, 3, 3)), index=i)
        leads.append({"number": called, "name": f"Person {i}"})
    return leads


async def _figures(centre: CallCentre) -> dict[str, Any]:
    (pool,) = (await centre.post("/live", method="GET"))["pools"]
    return dict(pool)


async def test_a_predictive_campaign_runs_ahead_lawfully_and_says_why() -> None:
    rng = random.Random(20260304)
    async with CallCentre(agents=AGENTS) as centre:
        campaign = await centre.campaign(
            "ahead", mode="predictive", target_abandon=0.03, ring_timeout=TIMEOUT, wrap_up=5,
            give_up_after=GIVE_UP, max_attempts=1,
        )  # fmt: skip
        await centre.load(campaign, people(rng))
        await centre.add_agents([campaign], talk=None, wrap=(0.5, 1.5))
        await centre.post(f"/campaigns/{campaign}/start")

        ahead = samples = 0
        for _ in range(90):
            await asyncio.sleep(1.0)
            live = await _figures(centre)
            flying = sum(live["calls"].get(s, 0) for s in ("sent", "ringing"))
            samples += 1
            ahead += flying > live["agents"].get("ready", 0)
        (mine,) = live["campaigns"]
        decision = mine["decision"]
        print(f"\n{ahead} of {samples} s ahead; occupancy {live['occupancy']}; {mine['outcomes']}")
        print(decision["reason"])
        assert ahead > 0.8 * samples
        assert mine["live_answers"] >= 40
        low, _ = wilson(mine["abandoned"], mine["live_answers"])
        assert low <= 0.03  # so few answers say no more than that it is not far above its target
        assert "people should answer" in decision["reason"]
        assert decision["expected_answers"] >= 0 and 0 < decision["answer_share"] < 1

        began = asyncio.get_running_loop().time()
        ahead_of = await centre.post(
            f"/campaigns/{campaign}/forecast", {"mode": "progressive", "minutes": 10}
        )
        took = asyncio.get_running_loop().time() - began
        now, then = (ahead_of[name]["occupancy"]["mean"] for name in ("current", "changed"))
        print(
            f"forecast in {took:.1f} s: {now:.0%}, progressive {then:.0%}", ahead_of["parameters"]
        )
        assert now > then > 0.1 and ahead_of["attempts"] > 60
        assert 0.2 < ahead_of["parameters"]["answer_share"] < 0.5
        assert 5 < ahead_of["parameters"]["talk"] < 20

        # Most agents leave at once: what rings for nobody is given up, but not too soon.
        await asyncio.gather(*(a.command("pause", reason="all") for a in centre.agents[2:]))
        await asyncio.sleep(10.0)
        await asyncio.gather(*(a.command("ready") for a in centre.agents[2:]))
        await asyncio.sleep(5.0)

        assert centre.dialer is not None
        await centre.dialer.stop(number=signal.SIGKILL)
        for agent in centre.agents:
            await agent.close()
        await centre.start_dialer()
        await centre.sign_in()
        for agent in centre.agents:
            await agent.connect()
            if agent.state == "paused":
                await agent.command("ready")
        await until(lambda: len(centre.dialers[0].said("learnt")) >= 2, timeout=20, what="learning")
        learnt = [line["attempts"] for line in centre.dialers[0].said("learnt")]
        print("learnt from so many attempts:", learnt)
        assert learnt[0] == 0 and learnt[-1] > 60
        await asyncio.sleep(15.0)
        await centre.post(f"/campaigns/{campaign}/pause")
        await asyncio.sleep(TIMEOUT + 12.0)

        calls = await centre.calls(campaign)
        truth = {t.number: t for t in centre.public.truth()}
        gone = [c for c in calls if c["outcome"] == "cancelled"]
        assert gone, "nothing was given up"
        for call in gone:
            heard = truth[call["number"]]
            assert heard.ends == ["CANCELLED"], heard
            assert heard.end_at - heard.at >= GIVE_UP - 0.1, heard
        Evidence([centre.asterisk.cel], calls).check(window=2.0)

        page = await centre.post(f"/campaigns/{campaign}/decisions?limit=50", method="GET")
        assert page["items"] and page["next"] is None
        assert sum(item["cancelled"] for item in page["items"]) >= len(gone) - 5
        assert {item["binding"] for item in page["items"]} & {"risk", "no_agents"}

        again = await _replayed(centre, campaign)
        recorded, replayed = again["recorded"], again["replayed"]
        print("recorded", recorded["answers"]["mean"], "replayed", replayed["answers"]["mean"])
        assert recorded["calls"]["mean"] == replayed["calls"]["mean"] > 100
        assert replayed["occupancy"]["mean"] > 0.1


async def _replayed(centre: CallCentre, campaign: str) -> Any:
    """What `dialer simulate --replay` prints of it."""
    token = centre.http.headers["Authorization"].removeprefix("Bearer ")
    command = "simulate", "--campaign", campaign, "--replay", "--target", "0.01", "--json"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "api", *command, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "DIALER_API": centre.address, "DIALER_TOKEN": token},
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, out
    return json.loads(out)
