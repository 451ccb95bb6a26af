"""/readyz tells the truth: each real part is broken, seen, and mended again."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from api.runtime import Runtime
from api.settings import RecordingStorage, Settings, TrunkSettings
from dialer.domain.call import Outcome
from dialer.domain.ids import id_source
from dialer.store import admin
from dialer.store import schema as t
from dialer.store.database import upgrade
from telephony.clock import ManualClock
from telephony.provision.render import TrunkAccount
from tests.lab.asterisk import LabAsterisk
from tests.lab.faults import injected
from tests.lab.process import free_port, until
from tests.lab.servers import LabPostgres, LabRedis

pytestmark = pytest.mark.integration

TRUNKS = tuple(TrunkSettings(name=n, node="ast1", host="127.0.0.2") for n in ("one", "two"))


def block(seconds: float) -> None:
    """The loop that this is called from stands still."""
    time.sleep(seconds)


async def started(settings: Settings) -> Runtime:
    """A dialer with one pool, which it owns."""
    await asyncio.to_thread(upgrade, settings.database_url)
    runtime = Runtime(settings)
    new_id = id_source(runtime.clock)
    async with runtime.database.begin() as connection:
        await admin.add_client(
            connection, client_id=new_id(), name="house", pool_id=new_id(), at=runtime.clock.now()
        )
    await runtime.start()
    await until(runtime.pools.all_owned, timeout=25, what="the pool's engine")
    return runtime


def says(runtime: Runtime, check: str, pattern: str) -> Callable[[], Awaitable[bool]]:
    """Whether a check (a pattern too) says something like this."""

    async def looked() -> bool:
        found = await runtime.checks()
        said = [why for name, why in found.items() if re.fullmatch(check, name)]
        return bool(said) and all(re.search(pattern, why) for why in said)

    return looked


@pytest.fixture
async def alone(tmp_path: Path) -> AsyncIterator[Runtime]:
    """SQLite, no Redis, no Asterisk."""
    runtime = await started(
        Settings(
            folder=tmp_path,
            drain=0.1,
            disk_free=0,
            lease_seconds=5,
            trunks=TRUNKS,
            recordings=RecordingStorage(url=(tmp_path / "store").as_uri()),
        )
    )
    yield runtime
    await runtime.stop()


async def test_what_needs_no_other_program(alone: Runtime, tmp_path: Path) -> None:
    async def said(check: str) -> str:
        return (await alone.checks())[check]

    found = await alone.checks()
    for check in ("database", "migrations", "clock", "trunks", "tasks", "loop", "redis"):
        assert found[check] == "ok", check
    assert found["disk of the database"] == found["disk of recordings"] == "ok"
    assert found["nodes"] == "no Asterisk node is up"

    shutil.rmtree(tmp_path / "store")
    injected("disk: the recordings' folder gone")
    assert "No such file" in await said("disk of recordings")
    alone.readiness._least_free = 1 << 60
    assert re.search(r"\d+ MB free, \d+ MB wanted", await said("disk of the database"))

    async with alone.database.begin() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))
    assert "run `dialer migrate`" in await said("migrations")
    async with alone.database.begin() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    assert (await said("migrations")).startswith("degraded: at 9999, newer")

    for ahead, pattern in ((5, "degraded: the database's clock is 5"), (90, "the database's")):
        alone.readiness._clock = ManualClock(alone.clock.now() - timedelta(seconds=ahead))
        assert (await said("clock")).startswith(pattern)

    for _ in range(20):
        alone.lines.report("one", Outcome.CONGESTION, tech_cause="503")
    assert (await said("trunks")).startswith("degraded: one: 20 of the last 20 calls failed: 503")
    for _ in range(20):
        alone.lines.report("two", Outcome.CONGESTION, tech_cause="503")
    assert (await said("trunks")).startswith("one: ")

    block(0.8)
    injected("dialer: event loop blocked")
    await until(says(alone, "loop", "degraded: stood still for 0.[789]"), timeout=5, what="lag")
    assert alone.watchdog.stalls == 1
    alone.watchdog.stop()
    assert await said("loop") == "the watchdog thread is dead"


async def test_a_pool_that_somebody_took_is_not_ours(alone: Runtime) -> None:
    (engine,) = alone.pools.engines.values()
    async with alone.database.begin() as connection:
        await connection.execute(
            sa.update(t.pool_lease).values(
                epoch=t.pool_lease.c.epoch + 1, owner="another", expires=alone.database.seconds + 60
            )
        )
    injected("database: the lease given to another")
    await until(engine.stopped.is_set, timeout=10, what="the engine's end")
    pattern = "not owned; before: .*lost|lost"
    await until(says(alone, "pool .*", pattern), timeout=5, what="the reason")


@pytest.mark.full
async def test_servers_and_asterisk(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        postgres = stack.enter_context(LabPostgres())
        redis = stack.enter_context(LabRedis())
        asterisk = LabAsterisk("ast1", trunks=[TrunkAccount("one", "127.0.0.2", 5999)])
        await stack.enter_async_context(asterisk)
        nodes = [
            {
                "name": "ast1", "port": asterisk.ami_port, "secret": asterisk.secret,
                "record_secret": asterisk.record_secret, "recordings": asterisk.recordings,
            },
            {"name": "ast2", "port": free_port(), "secret": "x"},
        ]  # fmt: skip
        runtime = await started(
            Settings(
                folder=tmp_path,
                database=postgres.database(),
                redis=redis.url,
                drain=0.1,
                disk_free=0,
                lease_seconds=5,
                nodes=nodes,
                trunks=TRUNKS,
            )
        )
        stack.push_async_callback(runtime.stop)

        async def becomes(check: str, pattern: str) -> None:
            with contextlib.suppress(TimeoutError):
                await until(says(runtime, check, pattern), timeout=30, what=check)
            found = await runtime.checks()
            assert await says(runtime, check, pattern)(), {check: pattern, **found}

        await becomes("redis", "^ok$")
        await becomes("node ast1", "^ok$")
        await becomes("node ast2", "^degraded: .*Connect call failed")
        await becomes("nodes", "^ok$")

        redis.stop()
        injected("Redis: stopped")
        await becomes("redis", "^degraded: ")  # every pool is ours: work goes on
        redis.start()
        await becomes("redis", "^ok$")

        # The account for recordings is locked out; calls go on.
        manager = asterisk.etc / "manager.conf"
        told = manager.read_text()
        manager.write_text(told.replace(asterisk.record_secret, "another"))
        await asterisk.cli("manager reload")
        runtime.switches["ast1"].links[1].cut("for a test")
        injected("Asterisk: an account's secret changed")
        await becomes("node ast1", "^degraded: ami recorder ast1: AMI login refused")
        manager.write_text(told)
        await asterisk.cli("manager reload")
        await becomes("node ast1", "^ok$")

        await asterisk.kill()
        injected("Asterisk: kill -9")
        await becomes("nodes", "no Asterisk node is up")
        await asterisk.restart()
        await becomes("nodes", "^ok$")

        postgres.stop()
        injected("PostgreSQL: stopped")
        await becomes("database", "^(?!ok)")
        await becomes("migrations", "unknown")
        await becomes("pool .*", "lost|not owned")  # it could not prove that it still owns it
        postgres.start()
        await becomes("database", "^ok$")
        await becomes("pool .*", "^ok$")
