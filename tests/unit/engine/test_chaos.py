"""Random days: whatever happens in whatever order, the seven invariants hold."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dialer.domain.call import Outcome
from tests.lab.invariants import broken, hold
from tests.unit.engine.chaos import MOST, RETRIES, Chaos
from tests.unit.engine.evidence import evidence

pytestmark = [pytest.mark.unit, pytest.mark.looptime(start=0)]

EXPECTED = (
    "tick_failed", "claim_failed", "write_failed", "lease_lost", "engine_died", "tick_conflict",
    "stop_unwritten",
)  # fmt: skip


async def _day(seed: int, seconds: float, logs: Any, *, predictive: bool = False) -> Chaos:
    logs.expect(*EXPECTED)
    chaos = Chaos(seed, predictive=predictive)
    chaos.build()
    async with asyncio.timeout(3600):
        await chaos.run(seconds)
        await chaos.settle()
    pool = chaos.pool
    assert not [i for watch in pool.watches for i in watch.repeated]
    found = evidence(pool)
    found.max_attempts = MOST
    found.delays = {o.value: rule.delay for o, rule in RETRIES.items() if o is not Outcome.EXPIRED}
    hold(found)
    assert logs.of("write_refused") == []
    return chaos


@pytest.mark.parametrize("seed", range(10))
async def test_a_random_day(seed: int, logs: Any) -> None:
    chaos = await _day(seed, 90.0, logs)
    assert chaos.pool.store.attempts


@pytest.mark.parametrize("seed", range(20, 26))
async def test_a_random_predictive_day(seed: int, logs: Any) -> None:
    chaos = await _day(seed, 120.0, logs, predictive=True)
    assert logs.of("learnt")
    assert chaos.pool.store.attempts


async def _day_with_steps(seed: int, seconds: float, logs: Any) -> None:
    """What a calendar cannot tell any more is left out: when a retry was due, what came after a
    do-not-call entry, and that a stretch of an agent's time ends when the next one begins."""
    logs.expect(*EXPECTED)
    chaos = Chaos(seed, clock_steps=True)
    chaos.build()
    async with asyncio.timeout(3600):
        await chaos.run(seconds)
        await chaos.settle()
    pool = chaos.pool
    assert not [i for watch in pool.watches for i in watch.repeated]
    found = evidence(pool, stepped=True)
    found.max_attempts, found.blocked = MOST, []
    wrong = [line for lines in broken(found).values() for line in lines]
    assert [line for line in wrong if " until " not in line or ", next " not in line] == []
    assert logs.of("write_refused") == []


@pytest.mark.parametrize("seed", range(10, 16))
async def test_a_random_day_with_a_clock_that_is_set_again_and_again(seed: int, logs: Any) -> None:
    await _day_with_steps(seed, 90.0, logs)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(2000, 2100))
async def test_many_random_days_with_stepped_clocks(seed: int, logs: Any) -> None:
    await _day_with_steps(seed, 240.0, logs)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(3000, 3100))
async def test_many_random_predictive_days(seed: int, logs: Any) -> None:
    await _day(seed, 240.0, logs, predictive=True)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(1000, 1200))
async def test_many_random_days(seed: int, logs: Any) -> None:
    await _day(seed, 240.0, logs)
