"""What readiness says of the tasks, the bus and the pools of a whole runtime without Asterisk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from api.runtime import Runtime
from api.settings import Settings
from dialer.domain.ids import id_source
from dialer.store import admin, schema
from dialer.store.database import upgrade
from tests.lab.process import until

pytestmark = pytest.mark.unit


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[Runtime]:
    settings = Settings(folder=tmp_path, drain=0.1)
    await asyncio.to_thread(upgrade, settings.database_url)
    made = Runtime(settings)
    await made.start()
    yield made
    await made.stop()


async def add_client(runtime: Runtime, name: str) -> str:
    new_id = id_source(runtime.clock)
    pool_id = new_id()
    async with runtime.database.begin() as connection:
        await admin.add_client(
            connection, client_id=new_id(), name=name, pool_id=pool_id, at=runtime.clock.now()
        )
    return f"pool {pool_id}"


async def test_a_new_pool_is_taken_up_when_it_is_signalled(runtime: Runtime) -> None:
    assert (await runtime.checks())["pools"] == "there are none yet"
    names = [await add_client(runtime, "one"), await add_client(runtime, "two")]
    runtime.bus.signal("pools")

    async def taken() -> bool:
        found = await runtime.checks()
        return all(found.get(name) == "ok" for name in names)

    await until(taken, timeout=4, what="the engines")  # sooner than the next look would be


async def test_a_dead_task_makes_readiness_fail(runtime: Runtime) -> None:
    before = await runtime.checks()
    assert before["redis"] == "ok"
    assert before["tasks"] == "ok"
    assert not [name for name in before if name.startswith("task ")]
    (mover,) = (t for t in asyncio.all_tasks() if t.get_name() == "recordings")
    mover.cancel()
    await asyncio.gather(mover, return_exceptions=True)
    after = await runtime.checks()
    assert after["task recordings"] == "died: cancelled"
    assert after["tasks"] == runtime.tasks.hold() == "task recordings died: cancelled"


async def _owned(runtime: Runtime) -> str:
    name = await add_client(runtime, "one")
    runtime.bus.signal("pools")

    async def taken() -> bool:
        return (await runtime.checks()).get(name) == "ok"

    await until(taken, timeout=4, what="the engine")
    return name


async def test_who_stops_is_not_ready_any_more(runtime: Runtime) -> None:
    await _owned(runtime)
    await runtime.hand_over()
    assert (await runtime.checks())["process"] == "stopping"


async def test_a_pool_that_nobody_takes_is_taken_back_and_drained(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process is there, and stands still."""
    await _owned(runtime)

    async def others() -> int:
        return 1

    monkeypatch.setattr(runtime.bus, "others", others)
    monkeypatch.setattr("api.pools._TAKEN", 0.5)
    await runtime.hand_over()
    async with runtime.database.begin() as connection:
        (row,) = (await connection.execute(sa.select(schema.pool_lease))).all()
    assert (row.owner, row.epoch) == ("", 2)


async def test_a_pool_that_was_left_to_one_who_stops_too_is_not_waited_for(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _owned(runtime)
    asked = [1]

    async def others() -> int:
        return asked.pop() if asked else 0

    monkeypatch.setattr(runtime.bus, "others", others)
    begun = asyncio.get_running_loop().time()
    await runtime.hand_over()
    assert asyncio.get_running_loop().time() - begun < 5
    async with runtime.database.begin() as connection:
        (row,) = (await connection.execute(sa.select(schema.pool_lease))).all()
    assert (row.owner, row.epoch) == ("", 2)
