"""Neither database refuses a write for the sake of its disk: full, it is in trouble, no more."""

from __future__ import annotations

import asyncio

import pytest

from dialer.domain.errors import LeaseLost
from dialer.domain.lead import LeadState
from dialer.domain.work import DispositionWrite, LeadMove, StoreInTrouble
from dialer.store.database import Database, upgrade
from tests.contract.store.house import SqlHouse
from tests.faults.postgres import admin
from tests.lab.disk import SmallDisk
from tests.lab.faults import injected
from tests.lab.servers import LabPostgres

pytestmark = pytest.mark.integration


async def built(database: Database) -> SqlHouse:
    await asyncio.to_thread(upgrade, database.url)
    house = SqlHouse(database)
    await database.make_partitions(house.clock_now())
    await house.build()
    return house


@pytest.mark.full
async def test_a_full_sqlite_takes_no_write_says_so_and_goes_on_when_there_is_room() -> None:
    with SmallDisk(megabytes=4) as disk:
        database = Database(f"sqlite+aiosqlite:///{disk.folder}/dialer.db")
        house = await built(database)
        lease = await house.own()
        (lead,) = await house.claim(lease, house.first)
        attempt = await house.dial(lease, lead)
        disk.fill()
        injected("SQLite: disk full")
        note = DispositionWrite(
            attempt.id, attempt.intended_at, house.agent, "sale", "x" * 100_000, {},
            house.clock_now(), 0.0,
        )  # fmt: skip
        for _ in range(5):
            with pytest.raises(StoreInTrouble, match="full"):
                await house.store.write(lease, [note])
        await house.store.write(lease, [])  # it can be asked all the same
        disk.free()
        await house.store.write(lease, [note])
        assert await house.rows("dispositions") == 1
        await database.close()


async def test_a_postgresql_that_takes_no_writes_is_in_trouble(server: LabPostgres) -> None:
    """Read-only as a standby that was not promoted yet; then not there."""
    database = Database(server.database())
    house = await built(database)
    lease = await house.own()
    (lead,) = await house.claim(lease, house.first)
    move = LeadMove(lead.lead_id, LeadState.DONE, reason="tested")

    async def refused(why: str) -> None:
        await database.close()  # the next connection is a new one
        injected(f"PostgreSQL: {why}")
        with pytest.raises(StoreInTrouble):
            await house.store.write(lease, [move])

    async with admin(server) as ours:
        await ours.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        await ours.execute("SELECT pg_reload_conf()")
        await refused("read-only")
        await ours.execute("SET default_transaction_read_only = off")
        await ours.execute("ALTER SYSTEM RESET default_transaction_read_only")
    await asyncio.to_thread(server.stop)
    await refused("stopped")
    server.start()  # not in a thread: it would end with that
    await house.store.write(lease, [move])
    await database.close()


async def test_what_is_wrong_with_the_write_itself_is_not_the_databases_trouble(
    server: LabPostgres,
) -> None:
    database = Database(server.database())
    house = await built(database)
    lease = await house.own()
    (lead,) = await house.claim(lease, house.first)
    for reason in ("a\x00character", "a \ud800 surrogate"):
        bad = LeadMove(lead.lead_id, LeadState.DONE, reason=reason)
        (told,) = await asyncio.gather(house.store.write(lease, [bad]), return_exceptions=True)
        assert isinstance(told, Exception) and not isinstance(told, StoreInTrouble)
    await house.store.release(lease)
    with pytest.raises(LeaseLost):
        await house.store.write(lease, [])
    await database.close()
