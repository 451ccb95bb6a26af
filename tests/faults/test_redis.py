"""Redis fails in every way it can under two dialers: calls go on, and screens miss nothing."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.faults.shift import STUCK, Shift
from tests.lab.agents import LabAgent
from tests.lab.callcentre import CallCentre
from tests.lab.faults import injected
from tests.lab.process import until
from tests.lab.servers import LabPostgres, LabRedis

pytestmark = [pytest.mark.e2e, pytest.mark.full]


class Breaker:
    """Breaks Redis; each method returns when the fault is over."""

    def __init__(self, server: LabRedis, *, rng: random.Random) -> None:
        self._server, self._rng = server, rng
        self.kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "stopped": self.stopped,
            "killed": self.killed,
            "emptied": self.emptied,
            "standing still": self.standing_still,
            "connections killed": self.connections_killed,
            "listeners killed": self.listeners_killed,
        }

    async def one(self, kind: str) -> None:
        await self.kinds[kind]()
        injected(f"Redis: {kind}")

    async def _pause(self, least: float, most: float) -> None:
        await asyncio.sleep(self._rng.uniform(least, most))

    async def stopped(self) -> None:
        """It comes back empty: nothing is kept on its disk."""
        await asyncio.to_thread(self._server.stop)
        await self._pause(0.0, 4.0)
        await asyncio.to_thread(self._server.start)

    async def killed(self) -> None:
        self._server.send(signal.SIGKILL)
        await asyncio.to_thread(self._server.stop)
        await self._pause(0.0, 2.0)
        await asyncio.to_thread(self._server.start)

    async def emptied(self) -> None:
        await self._ask("FLUSHALL")

    async def standing_still(self) -> None:
        self._server.send(signal.SIGSTOP)
        try:
            await self._pause(0.2, 6.0)
        finally:
            self._server.send(signal.SIGCONT)

    async def connections_killed(self) -> None:
        await self._ask("CLIENT", "KILL", "TYPE", "normal")

    async def listeners_killed(self) -> None:
        await self._ask("CLIENT", "KILL", "TYPE", "pubsub")

    async def _ask(self, *command: str) -> None:
        async with Redis.from_url(self._server.url) as client:
            await client.execute_command(*command)


def shown(agent: LabAgent) -> set[str]:
    """The calls that this screen was told of, as they came up or by a snapshot."""
    found = {m["data"]["call_id"] for _, m in agent.messages if m["type"] == "pop"}
    for _, message in agent.messages:
        if message["type"] == "snapshot" and message["data"].get("call"):
            found.add(message["data"]["call"]["call_id"])
    return found


def every_conversation_was_shown(
    calls: Iterable[Mapping[str, Any]], agents: Mapping[str, LabAgent]
) -> None:
    """6: whoever spoke with somebody had that person on the screen."""
    for call in calls:
        if call["connected_at"] is not None:
            assert call["id"] in shown(agents[call["agent_id"]]), call


async def test_redis_fails_again_and_again_under_two_dialers() -> None:
    """Half of the agents are beside the engine, the others hear it over Redis only."""
    rng = random.Random()
    with LabPostgres() as postgres, LabRedis() as redis:
        breaker = Breaker(redis, rng=rng)
        async with CallCentre(
            agents=8, database=postgres.database(), environment={"DIALER_REDIS": redis.url}
        ) as centre:
            other = await centre.add_dialer()
            shift = Shift(centre, rng=rng)
            await shift.begin(80, addresses=(centre.address, other), wrap_up=20)
            todo = [kind for kind in breaker.kinds for _ in range(7)]
            rng.shuffle(todo)
            for index, kind in enumerate(todo):
                if index % 3 == 0:
                    await shift.supplied()
                await breaker.one(kind)
                await asyncio.sleep(rng.uniform(0.0, 2.5))
            assert centre.dialer is not None and centre.dialer.alive

            async def well() -> bool:
                answer = await centre.http.get(f"{other}/readyz")
                return bool(answer.json()["checks"]["redis"] == "ok")

            await until(well, timeout=STUCK, what="the bus between the dialers")
            calls = await shift.end()
            # One engine all along: the pool never moved for want of Redis.
            epochs = {m["seq"].split("-")[0] for a in centre.agents for _, m in a.messages}
            assert epochs == {"1"}
            found = await centre.post("/agents?limit=100", method="GET")
            ids = {a["endpoint"]: a["id"] for a in found["items"]}
            every_conversation_was_shown(calls, {ids[a.name]: a for a in centre.agents})
