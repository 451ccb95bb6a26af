"""Months ahead are made every day, and sooner again after a failure; in virtual time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from dialer.jobs.partitions import keep_partitions
from dialer.store.database import Database
from telephony.clock import LoopClock

pytestmark = pytest.mark.unit

START = datetime(2026, 1, 30, 12, tzinfo=UTC)


class Months:
    def __init__(self, failures: int) -> None:
        self.failures, self.asked = failures, list[datetime]()

    async def make_partitions(self, now: datetime) -> None:
        self.asked.append(now)
        if self.failures:
            self.failures -= 1
            raise OSError("no database")


@pytest.mark.looptime
async def test_once_a_day_and_ten_minutes_after_a_failure() -> None:
    months: Any = Months(failures=1)
    clock = LoopClock(START - timedelta(seconds=asyncio.get_running_loop().time()))
    task = asyncio.create_task(keep_partitions(cast(Database, months), clock=clock))
    await asyncio.sleep(2.5 * 24 * 3600)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    minutes = [round((at - START).total_seconds() / 60) for at in months.asked]
    assert minutes == [0, 10, 10 + 24 * 60, 10 + 48 * 60]
