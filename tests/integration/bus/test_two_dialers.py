"""Two dialers on one PostgreSQL and one Redis: the pool is one's, the agents are the other's."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.lab.agents import LabAgent
from tests.lab.callcentre import CallCentre
from tests.lab.faults import injected
from tests.lab.process import until
from tests.lab.scenario import number
from tests.lab.servers import LabPostgres, LabRedis
from tests.lab.verdict import numbered

pytestmark = pytest.mark.integration


@pytest.fixture
def servers() -> Iterator[tuple[LabPostgres, LabRedis]]:
    with LabPostgres() as postgres, LabRedis() as redis:
        yield postgres, redis


def people(first: int, count: int, *, behaviour: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "number": number(behaviour=behaviour, index=i, delay=0, talk=2),
            "name": f"Person {i}",
            "attributes": {"index": i},
        }
        for i in range(first, first + count)
    ]


def pops(agent: LabAgent) -> list[str]:
    return [m["data"]["call_id"] for _, m in agent.messages if m["type"] == "pop"]


def popped(centre: CallCentre) -> int:
    return sum(len(pops(agent)) for agent in centre.agents)


async def done(centre: CallCentre, campaign: str, count: int) -> None:
    async def finished() -> bool:
        figures = await centre.post(f"/campaigns/{campaign}/figures", method="GET")
        return bool(figures["leads"].get("done", 0) == count)

    await until(finished, timeout=60, what=f"{count} leads done")


async def more(centre: CallCentre, campaign: str, first: int, count: int) -> None:
    """More leads for a campaign that may have finished meanwhile."""
    await centre.load(campaign, people(first, count))
    found = await centre.post(f"/campaigns/{campaign}", method="GET")
    if found["state"] == "finished":
        await centre.post(f"/campaigns/{campaign}/start")


async def checks(centre: CallCentre, address: str) -> dict[str, str]:
    answer = await centre.http.get(f"{address}/readyz")
    found: dict[str, str] = answer.json()["checks"]
    return found


async def test_agents_beside_another_dialer_work_and_survive_the_owner_and_redis(
    servers: tuple[LabPostgres, LabRedis],
) -> None:
    postgres, redis = servers
    async with CallCentre(
        agents=2, database=postgres.database(), environment={"DIALER_REDIS": redis.url}
    ) as centre:
        campaign = await centre.campaign("two", mode="progressive", target_abandon=1.0, wrap_up=5)
        second = await centre.add_dialer()
        await centre.load(campaign, people(0, 6))
        await centre.add_agents([campaign], address=second, talk=(0.2, 0.4), wrap=(0.05, 0.1))

        # The owner's refusal reaches an agent of the other dialer as what it is.
        refused = await centre.agents[0].command("preview_dial")
        assert refused["ok"] is False
        assert refused["problem"]["status"] == 409
        # So do REST calls that only the owner can answer.
        answer = await centre.http.get(f"{second}/api/v1/live")
        assert answer.status_code == 200

        # Screen pops, hang-ups and dispositions go through the bus.
        await centre.post(f"/campaigns/{campaign}/start")
        await done(centre, campaign, 6)
        assert popped(centre) == 6
        epochs = {m["seq"].split("-")[0] for a in centre.agents for _, m in a.messages}
        assert epochs == {"1"}
        for agent in centre.agents:
            numbered(m for _, m in agent.messages)

        # A cut and a return to the other node, the owner itself: nothing lost, nothing twice.
        mover = centre.agents[0]
        await mover.until("ready")
        await mover.command("pause", reason="moving")
        await mover.until("paused")
        await mover.cut()
        mover.move(centre.address)
        await mover.connect(resume=True)
        await mover.command("ready")
        await mover.until("ready")
        assert [m["type"] for _, m in mover.messages].count("snapshot") == 1
        numbered(m for _, m in mover.messages)
        await mover.cut()
        mover.move(second)
        await mover.connect(resume=True)

        # The owner dies. The sockets stay; each screen gets a snapshot from the new owner.
        assert centre.dialer is not None
        await centre.dialer.stop(number=signal.SIGKILL)
        injected("dialer: kill -9")
        for agent in centre.agents:
            await until(
                lambda agent=agent: any(  # type: ignore[misc]
                    m["type"] == "snapshot" and m["seq"].startswith("2-") for _, m in agent.messages
                ),
                timeout=40,
                what="the new owner",
            )
        centre.http.base_url = httpx.URL(second)
        for agent in centre.agents:
            await agent.until("paused", "ready")
            if agent.state == "paused":
                await agent.command("ready")
        await more(centre, campaign, 6, 4)
        await done(centre, campaign, 10)
        assert popped(centre) == 10

        # Redis dies: its owner goes on with the agents it has.
        redis.stop()
        await more(centre, campaign, 10, 4)
        await done(centre, campaign, 14)
        assert popped(centre) == 14
        assert (await checks(centre, second))["redis"].startswith("degraded")
        assert (await centre.http.get("/readyz")).status_code == 200
        calls = [call for agent in centre.agents for call in pops(agent)]
        assert len(calls) == len(set(calls))


async def test_a_new_clients_pool_has_its_engine_without_a_restart(
    servers: tuple[LabPostgres, LabRedis],
) -> None:
    postgres, redis = servers
    async with CallCentre(
        agents=1, database=postgres.database(), environment={"DIALER_REDIS": redis.url}
    ) as centre:
        campaign = await centre.campaign("one", mode="progressive", wrap_up=0)
        second = await centre.add_dialer()
        await centre.add_agents([campaign], talk=None)
        await centre.load(campaign, people(0, 1, behaviour=1))
        await centre.post(f"/campaigns/{campaign}/start")
        (agent,) = centre.agents
        await agent.until("on_call")
        before = set(await checks(centre, centre.address))
        await centre.post("/clients", {"name": "guest"})
        for address in (centre.address, second):

            async def taken(address: str = address) -> bool:
                found = await checks(centre, address)
                new = set(found) - before
                # Its own words about a busy machine are no matter here.
                pools = [state for name, state in found.items() if name.startswith("pool ")]
                return len(new) == 1 and pools == ["ok", "ok"]

            await until(taken, timeout=15, what="an engine for the new pool")
        # Its engine has looked at the node's channels and left the other pool's alone.
        assert (await agent.command("pause", reason="still here"))["data"]["state"] == "on_call"
        assert agent.state == "on_call"
        # The owner stops: the conversation goes on, the agent's screen comes back elsewhere.
        assert centre.dialer is not None
        assert await centre.dialer.stop(timeout=30) == 0
        injected("dialer: SIGTERM while another one stands in line")
        (person,) = centre.public.truth()
        assert not person.ended
        agent.move(second)
        await agent.connect()
        snapshot = agent.messages[-1][1]
        assert (snapshot["type"], agent.state) == ("snapshot", "on_call")
        assert snapshot["data"]["call"]["customer"]["name"] == "Person 0"
        assert (await agent.command("hang_up"))["ok"]
        await agent.until("wrap_up")
        await centre.start_dialer()
        # The whole installation stops at once, cleanly.
        stopped = [d for d in (centre.dialer, *centre.others) if d is not None]
        assert await asyncio.gather(*(d.stop(timeout=15) for d in stopped)) == [0, 0]
