"""A task that must live as long as the process is noticed when it does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from api.watched import WatchedTasks

pytestmark = pytest.mark.unit


async def fails() -> None:
    raise OSError("the password is hunter2")


async def returns() -> None:
    return


async def test_a_dead_task_is_shown_and_logged() -> None:
    tasks = WatchedTasks()
    with capture_logs() as logs:
        await asyncio.gather(
            tasks.start("bus", fails()), tasks.start("mover", returns()), return_exceptions=True
        )
        cancelled = tasks.start("pools", asyncio.Event().wait())  # type: ignore[arg-type]
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
    assert tasks.dead == {
        "bus": "died: OSError",
        "mover": "died: returned",
        "pools": "died: cancelled",
    }
    loud: list[Any] = [entry for entry in logs if entry["log_level"] == "critical"]
    assert [entry["task"] for entry in loud] == ["bus", "mover", "pools"]


async def test_what_is_ended_by_us_is_no_death() -> None:
    tasks = WatchedTasks()
    one = tasks.start("one", asyncio.Event().wait())  # type: ignore[arg-type]
    two = tasks.start("two", asyncio.Event().wait())  # type: ignore[arg-type]
    await tasks.end(one)
    await tasks.stop()
    assert one.cancelled()
    assert two.cancelled()
    assert not tasks.dead
