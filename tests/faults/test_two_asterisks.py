"""One of two Asterisk nodes dies or stands still in the middle of a campaign, for a moment or for
longer than it is waited for: the other one's agents go on, nobody is called twice, and what was on
the lost one comes to its end.
"""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from tests.faults.campaign import Running, end, in_the_middle, running
from tests.lab.faults import injected
from tests.lab.process import until

pytestmark = [pytest.mark.e2e, pytest.mark.full]

STUCK = 60.0  # s after which nothing may be open on a node that is away


async def _open_on(run: Running, node: str) -> list[str]:
    rows = await run.centre.rows("attempt")
    return [str(row["id"]) for row in rows if row["node"] == node and row["outcome"] is None]


def _shown(run: Running, agent: int) -> set[str]:
    return {
        message["data"]["state"]
        for _, message in run.centre.agents[agent].messages
        if message["type"] in ("state", "snapshot")
    }


async def _came_back(run: Running, node: str) -> None:
    """Agents whose phone is called anew get their own node again, and calls are placed there."""

    async def up() -> bool:  # the dialer tries it again after ever longer pauses
        (pool,) = (await run.centre.post("/live", method="GET"))["pools"]
        await asyncio.sleep(0.5)
        return any(n["name"] == node and n["up"] for n in pool["nodes"])

    await until(up, timeout=60, what=f"the link to {node}")
    rows = await run.centre.rows("attempt")
    before = sum(row["node"] == node for row in rows)

    async def placed() -> bool:
        rows = await run.centre.rows("attempt")
        await asyncio.sleep(0.5)
        return sum(row["node"] == node for row in rows) > before + 3

    for agent in run.centre.agents:
        await agent.until("ready", "on_call", "wrap_up", timeout=60)
        await agent.command("sign_out")
    await until(placed, timeout=60, what=f"calls on {node} again")


@pytest.mark.parametrize("how", ["killed", "frozen"])
@pytest.mark.parametrize("away", [3.0, 40.0])
async def test_one_of_two_asterisk_nodes_is_away(how: str, away: float) -> None:
    rng = random.Random()
    # Where Asterisk stands still nobody can spare a person the silence: no more than one call for
    # each free agent then, so that whoever answers meets one at once.
    settings = {"dial_ratio": 1.0} if how == "frozen" else {}
    async with running(
        rng, agents=6, nodes=2, talk=(1.0, 3.0), settings=settings,
        environment={"DIALER_LEASE_SECONDS": "30"},  # on a busy machine too there is one owner
    ) as run:  # fmt: skip
        node = run.centre.nodes[1]
        await in_the_middle(run, 15)
        died, still = [], []
        if how == "killed":
            await node.kill()
            died.append((node.name, time.time()))
            injected("Asterisk, one of two: kill -9")
        else:
            node.freeze()
            if away > STUCK / 2:  # SIPp waits for its answers no longer than some seconds
                died.append((node.name, time.time()))
            injected("Asterisk, one of two: SIGSTOP")
        gone, at = asyncio.get_running_loop().time(), time.time()
        # The other node's agents go on.
        called = run.called
        if away > STUCK / 2:
            await until(lambda: run.called > called + 10, timeout=away, what="calls meanwhile")

            async def nothing_open() -> bool:
                await asyncio.sleep(0.5)
                return not await _open_on(run, node.name)

            await until(nothing_open, timeout=STUCK, what="the lost node's calls to end")
            took = asyncio.get_running_loop().time() - gone
            print(f"\nnothing open on the lost node after {took:.1f} s")
        await asyncio.sleep(max(gone + away - asyncio.get_running_loop().time(), 0.0))
        if how == "killed":
            await node.restart()
        else:
            node.thaw()
            if away > STUCK / 2:  # given up: its agents speak with others meanwhile, elsewhere
                still.append((node.name, at, time.time()))
        await in_the_middle(run, 10)
        await _came_back(run, node.name)
        told = await end(run, died=died, stood_still=still)
        print(
            f"\n{how} for {away:g} s: {told.unknown} unknown of {len(told.calls)}: {told.outcomes}"
        )
        # The first agent's phone is on the first node, and was never lost.
        assert "leg_lost" not in _shown(run, 0)
