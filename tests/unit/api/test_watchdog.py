"""A loop that stands still is noticed by a thread, which says where it stands."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

import pytest
from structlog.testing import capture_logs

from api.watchdog import Watchdog
from dialer.engine.heartbeat import Heartbeat
from telephony.clock import SystemClock
from tests.lab.process import until

pytestmark = pytest.mark.unit


def stands_here(seconds: float) -> None:
    time.sleep(seconds)


async def test_the_stack_of_a_blocked_loop_is_logged_again_and_again() -> None:
    clock = SystemClock()
    heartbeat = Heartbeat(clock, limit=60.0)
    watchdog = Watchdog(heartbeat, clock=clock, threshold=0.2)
    beating = asyncio.create_task(heartbeat.run())
    watchdog.start()
    try:
        with capture_logs() as logs:
            await asyncio.sleep(0)
            stands_here(1.0)
            runs: dict[str, Any] = {"action": "loop_runs", "log_level": "warning"}
            await until(
                lambda: any(runs.items() <= line.items() for line in logs), timeout=5, what="end"
            )
    finally:
        watchdog.stop()
        beating.cancel()
    told = [line for line in logs if line["action"] == "loop_stalled"]
    assert len(told) >= 2, "once at first, and again when it had become twice as long"
    assert all("stands_here" in line["stack"] for line in told)
    assert all(b["seconds"] >= 1.9 * a["seconds"] for a, b in itertools.pairwise(told))
    assert watchdog.stalls == 1, "it was one standstill"
    assert heartbeat.worst() >= 0.8
    assert not watchdog.alive


async def test_a_loop_that_runs_is_left_in_peace() -> None:
    clock = SystemClock()
    heartbeat = Heartbeat(clock, limit=60.0)
    watchdog = Watchdog(heartbeat, clock=clock, threshold=5.0)
    watchdog.start()
    beating = asyncio.create_task(heartbeat.run())
    with capture_logs() as logs:
        await until(lambda: heartbeat.lag.count >= 5, timeout=10, what="beats")
    watchdog.stop()
    beating.cancel()
    assert not logs and not watchdog.stalls
