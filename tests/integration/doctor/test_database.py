"""`dialer doctor` and what can be wrong in the database, on both; and with Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from alembic import command
from sqlalchemy.ext.asyncio import AsyncConnection

from api.cli.doctor import database as doctor_of_databases
from api.cli.doctor import examine
from api.cli.doctor.findings import Finding, State
from api.settings import Settings
from dialer.store import schema as t
from dialer.store import stuck
from dialer.store.database import Database, alembic_config
from telephony.clock import ManualClock, SystemClock
from tests.contract.store.house import SqlHouse
from tests.integration.doctor.findings import Findings
from tests.integration.store.conftest import cluster, open_database
from tests.lab.faults import injected
from tests.lab.servers import LabPostgres, LabRedis

__all__ = ["cluster"]
pytestmark = pytest.mark.integration


class Site:
    """An installation without Asterisk: what the doctor says of it, by check."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder, self.database = folder, database
        self.house = SqlHouse(database)

    def settings(self, **more: Any) -> Settings:
        return Settings(
            folder=self.folder, database=self.database.url, disk_free=0, _env_file=None, **more
        )

    async def findings(self, *, repair: bool = False, clock: Any = None, **more: Any) -> Findings:
        settings = self.settings(**more)
        return Findings([f async for f in examine(settings, repair=repair, clock=clock)])

    async def change(self, statement: Any) -> None:
        async with self.database.begin() as connection:
            await connection.execute(statement)

    async def count(self, table: sa.Table) -> int:
        async with self.database.read() as connection:
            return int(await connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)


@pytest.fixture(params=["sqlite", "postgresql"])
async def site(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Site]:
    monkeypatch.setattr(doctor_of_databases, "AGAIN", 0.05)
    server = request.getfixturevalue("cluster") if request.param == "postgresql" else None
    database = await open_database(tmp_path, server)
    await database.make_partitions(SystemClock().now())
    made = Site(tmp_path, database)
    await made.house.build()
    yield made
    await database.close()


async def test_a_sound_installation_has_no_problem_but_that_nothing_can_be_dialed(
    site: Site,
) -> None:
    await site.house.own(owner="the engine")
    await site.house.own(site.house.other_pool, owner="the engine")
    found = await site.findings()
    assert found.problems() == {"nodes"}
    assert "owned by the engine" in found[f"pool {site.house.pool}"].explanation
    assert found["migrations"].state is State.OK
    assert found["clock of the database"].state is State.OK


async def test_a_wrong_clock_is_named(site: Site) -> None:
    fast = ManualClock(SystemClock().now() + timedelta(seconds=30))
    said = (await site.findings(clock=fast))["clock of the database"]
    assert said.state is State.PROBLEM
    assert "behind ours" in said.explanation and "NTP" in said.advice


async def test_what_nobody_owns_is_given_back_and_nothing_else(site: Site) -> None:
    house = site.house
    mine, theirs = await house.own(), await house.own(house.other_pool, owner="alive")
    await house.claim(mine, house.first, 3)
    (kept,) = await house.claim(theirs, house.third, 1)
    expired = t.pool_lease.c.pool_id == house.pool
    await site.change(sa.update(t.pool_lease).where(expired).values(expires=1.0))

    found = await site.findings()
    pool = found[f"pool {house.pool}"]
    assert pool.state is State.NOTE and "3 leads in the hopper" in pool.explanation
    assert found[f"pool {house.other_pool}"].state is State.OK

    found = await site.findings(repair=True)
    assert found[f"leads of pool {house.pool}"].state is State.REPAIRED
    assert (await house.lead(kept.lead_id)).state == "hopper", "its owner is alive"
    async with site.database.read() as connection:
        in_hopper = sa.select(sa.func.count()).where(t.lead.c.state == "hopper")
        assert await connection.scalar(in_hopper) == 1
    assert await site.count(t.reservation) == 2, "the person and the number of the one kept"
    again = await house.own()
    assert len(await house.claim(again, house.first, 20)) > 0, "the pool was let go of"


async def test_an_open_call_without_an_owner_is_left_to_the_next_engine(site: Site) -> None:
    house = site.house
    lease = await house.own()
    (lead,) = await house.claim(lease, house.first, 1)
    attempt = house.attempt(lead, at=house.clock_now())
    await house.store.intend(lease, [attempt])
    await site.change(sa.update(t.pool_lease).values(expires=1.0))
    found = await site.findings(repair=True)
    pool = found[f"pool {house.pool}"]
    assert pool.state is State.PROBLEM and "1 open calls" in pool.explanation
    assert await house.outcome(attempt) is None
    assert (await house.lead(lead.lead_id)).state == "dialing"
    assert "leads" not in found.problems()


async def test_stale_reservations_are_released(site: Site) -> None:
    house = site.house
    lease = await house.own()
    done, kept = await house.claim(lease, house.first, 2)
    await site.change(sa.update(t.lead).where(t.lead.c.id == done.lead_id).values(state="done"))
    found = await site.findings()
    assert "1 leads keep their person" in found["reservations"].explanation
    assert await site.count(t.reservation) == 4, "without --repair nothing is changed"
    assert (await site.findings(repair=True)).repaired() == {"reservations"}
    async with site.database.read() as connection:
        left = (await connection.execute(sa.select(t.reservation.c.lead_id))).scalars().all()
    assert set(left) == {kept.lead_id}
    assert (await site.findings())["reservations"].state is State.OK


async def test_only_what_is_stale_at_both_looks_is_released(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = site.house
    lease = await house.own()
    stale, passing, coming = [c.lead_id for c in await house.claim(lease, house.first, 3)]

    async def set_state(lead_id: UUID, state: str) -> None:
        await site.change(sa.update(t.lead).where(t.lead.c.id == lead_id).values(state=state))

    await set_state(stale, "done")
    await set_state(passing, "done")
    look = stuck.stale_reservations
    looks = 0

    async def looked(connection: AsyncConnection) -> frozenset[UUID]:
        nonlocal looks
        looks += 1
        return await look(connection)

    pause = asyncio.sleep

    async def meanwhile(seconds: float) -> None:
        if looks == 1 and seconds == doctor_of_databases.AGAIN:
            await set_state(passing, "dialing")
            await set_state(coming, "done")
        await pause(seconds)

    monkeypatch.setattr(stuck, "stale_reservations", looked)
    monkeypatch.setattr(asyncio, "sleep", meanwhile)
    found = await site.findings(repair=True)
    assert looks == 2
    assert found["reservations"].state is State.REPAIRED
    async with site.database.read() as connection:
        left = (await connection.execute(sa.select(t.reservation.c.lead_id))).scalars().all()
    assert set(left) == {passing, coming}


async def test_a_lead_in_nobodys_hopper_goes_back(site: Site) -> None:
    house = site.house
    lease = await house.own()
    lost, kept = await house.claim(lease, house.first, 2)
    await site.change(sa.delete(t.reservation).where(t.reservation.c.lead_id == lost.lead_id))
    assert "reserved by nobody" in (await site.findings())["hopper"].explanation
    assert "hopper" in (await site.findings(repair=True)).repaired()
    assert (await house.lead(lost.lead_id)).state in ("new", "retry")
    assert (await house.lead(kept.lead_id)).state == "hopper"


async def test_a_lead_that_no_call_knows_is_named_and_not_guessed_at(site: Site) -> None:
    house = site.house
    lease = await house.own()
    (lead,) = await house.claim(lease, house.first, 1)
    await site.change(sa.update(t.lead).where(t.lead.c.id == lead.lead_id).values(state="dialing"))
    found = await site.findings(repair=True)
    assert str(lead.lead_id) in found["leads"].explanation
    assert (await house.lead(lead.lead_id)).state == "dialing"


async def test_recordings_that_do_not_move_are_a_problem(site: Site) -> None:
    row = {
        "client_id": site.house.client, "campaign_id": site.house.first, "node": "a",
        "path": "x.wav", "state": "on_node", "stored_as": "", "size": 0, "sha256": "",
    }  # fmt: skip
    now = SystemClock().now()
    for age, attempt in ((10, site.house.new_id()), (7200, site.house.new_id())):
        at = now - timedelta(seconds=age)
        await site.change(sa.insert(t.recording).values(attempt_id=attempt, at=at, **row))
    assert "2 are not stored" in (await site.findings())["recordings waiting"].explanation


async def test_a_newer_database_is_a_note(site: Site) -> None:
    await site.change(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    assert (await site.findings())["migrations"].state is State.NOTE


async def test_an_empty_or_old_database_asks_for_migrate(tmp_path: Path) -> None:
    settings = Settings(folder=tmp_path, disk_free=0)
    found = Findings([f async for f in examine(settings)])
    assert found["migrations"].advice == "run `dialer migrate`"
    await asyncio.to_thread(command.upgrade, alembic_config(settings.database_url), "0001")
    found = Findings([f async for f in examine(settings)])
    assert found["migrations"].explanation.startswith("at 0001, not ")
    assert "reservations" not in found, "tables of another shape are not looked into"


async def test_a_stopped_database_is_said_without_its_password(tmp_path: Path) -> None:
    with LabPostgres() as server:
        url = server.database().replace("dialer@", "dialer:hunter2@")
        server.stop()
        injected("PostgreSQL: stopped")
        settings = Settings(folder=tmp_path, database=url, disk_free=0)
        found = [f async for f in examine(settings)]
    by_check = Findings(found)
    assert by_check["database"].state is State.PROBLEM
    assert "start it" in by_check["database"].advice
    assert not any("hunter2" in f.lines() for f in found)


async def test_redis_is_asked(tmp_path: Path) -> None:
    def settings(url: str) -> Settings:
        return Settings(folder=tmp_path, disk_free=0, redis=url)

    async def said(url: str) -> Finding:
        return Findings([f async for f in examine(settings(url))])["redis"]

    assert (await said("")).state is State.OK
    assert (await said("nonsense")).state is State.PROBLEM
    with LabRedis() as server:
        assert (await said(server.url)).state is State.OK
        server.stop()
        injected("Redis: stopped")
        away = await said(server.url)
    assert away.state is State.PROBLEM and "start it" in away.advice


async def test_disks_and_storage(tmp_path: Path) -> None:
    settings = Settings(folder=tmp_path, disk_free=1 << 60)
    found = Findings([f async for f in examine(settings)])
    assert {"disk of the database", "disk of recordings"} <= found.problems()
    assert "MB wanted" in found["disk of the database"].explanation
    taken = tmp_path / "a file"
    taken.write_text("")
    settings = Settings(
        folder=tmp_path, disk_free=0, recordings={"url": f"file:///proc/{taken.name}"}
    )
    found = Findings([f async for f in examine(settings)])
    assert {"storage", "disk of recordings"} <= found.problems()
