"""The two buses: in memory, and over a real Redis between what would be two processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from redis import Redis

from tests.contract.bus.rig import Rig, memory_rig, redis_rig
from tests.lab.servers import LabRedis


@pytest.fixture(scope="module")
def shared() -> Iterator[LabRedis]:
    with LabRedis() as server:
        yield server


@pytest.fixture
def server() -> Iterator[LabRedis]:
    """One of its own, for tests that stop it."""
    with LabRedis() as lab:
        yield lab


@pytest.fixture(params=["memory", "redis"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """Each test runs on both buses."""
    if request.param == "memory":
        async with memory_rig() as opened:
            yield opened
        return
    url = request.getfixturevalue("shared").url
    with Redis.from_url(url) as client:
        client.flushall()
    async with redis_rig(url) as opened:
        yield opened
