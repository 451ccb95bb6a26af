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
    assert tasks.deaths == {"bus": 1, "mover": 1, "pools": 1}
    assert tasks.hold() == "task bus died: OSError", "the first of them"
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
    assert not tasks.hold()


async def test_a_dead_link_takes_its_node_and_no_other() -> None:
    tasks = WatchedTasks()
    link = tasks.start_link("ami ast1", fails())
    await asyncio.gather(link, return_exceptions=True)
    assert tasks.dead == {"ami ast1": "died: OSError"}
    assert not tasks.hold(), "calls go on by other nodes"


async def test_what_a_group_died_of_is_shown() -> None:
    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.sleep(3600))
            tasks.create_task(fails())

    tasks = WatchedTasks()
    await asyncio.gather(tasks.start("bus", group()), return_exceptions=True)
    assert tasks.dead == {"bus": "died: OSError"}
