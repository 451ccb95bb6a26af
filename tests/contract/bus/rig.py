"""Two processes' worth of one bus: where the owner is, and where somebody else is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import orjson

from dialer.live.bus import Bus, MemoryBus, RedisBus
from dialer.live.feed import Message, Publisher, Subscription
from telephony.clock import ManualClock
from tests.lab.process import until

TOPIC = "agent:1"
CLOCK = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Rig:
    """On the memory bus both are the same one."""

    here: Bus
    elsewhere: Bus
    pool: UUID

    async def tell(self, publisher: Publisher, first: int, last: int) -> None:
        """Post numbers, and let the bus have them as it would between two real events."""
        for i in range(first, last + 1):
            publisher.post(TOPIC, "state", {"i": i})
            if i % 100 == 0:
                assert await self.here.settled()
        assert await self.here.settled()


def number(message: Message) -> int:
    return int(orjson.loads(message.frame)["data"]["i"])


async def numbers(subscription: Subscription, count: int, *, timeout: float = 8) -> list[int]:
    """Read until `count` messages are there."""
    got: list[Any] = []
    async with asyncio.timeout(timeout):
        while len(got) < count:
            got += await subscription.wait()
    return [number(m) for m in got]


@contextlib.asynccontextmanager
async def running(bus: Bus) -> AsyncIterator[None]:
    """The bus at work; a part of it that dies fails the test."""
    work = asyncio.get_running_loop().create_task(bus.run(), name="bus")
    try:
        yield
        assert not work.done(), work.exception()
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await bus.close()


@contextlib.asynccontextmanager
async def redis_bus(url: str, *, up: bool = True) -> AsyncIterator[RedisBus]:
    bus = RedisBus(url, clock=CLOCK)
    async with running(bus):
        if up:
            await until(lambda: bus.state == "ok", timeout=10, what="the bus")
        yield bus


@contextlib.asynccontextmanager
async def memory_rig() -> AsyncIterator[Rig]:
    bus = MemoryBus(CLOCK)
    async with running(bus):
        yield Rig(bus, bus, uuid4())


@contextlib.asynccontextmanager
async def redis_rig(url: str) -> AsyncIterator[Rig]:
    async with redis_bus(url) as here, redis_bus(url) as elsewhere:
        yield Rig(here, elsewhere, uuid4())
