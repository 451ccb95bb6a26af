"""PostgreSQL commits attempts by one statement: what changes while it waits is seen in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.domain.errors import Conflict, LeaseLost
from dialer.domain.work import ClaimedLead, Lease
from dialer.store import schema as t
from dialer.store.database import Database
from tests.contract.store.house import SqlHouse
from tests.integration.store.conftest import open_database
from tests.lab.servers import LabPostgres

pytestmark = pytest.mark.integration

_WAITING = sa.text(
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
    "AND datname = current_database()"
)


async def until_somebody_waits(database: Database) -> None:
    async with asyncio.timeout(10):
        while True:
            async with database.read() as connection:
                if (await connection.execute(_WAITING)).scalar_one():
                    return
            await asyncio.sleep(0.01)


class Race:
    """One owner with two leads in the hopper, and somebody who changes something meanwhile."""

    def __init__(self, database: Database, house: SqlHouse, lease: Lease) -> None:
        self.database, self.house, self.lease = database, house, lease
        self.leads: list[ClaimedLead] = []

    async def intend_during(self, change: Callable[[AsyncConnection], Awaitable[object]]) -> None:
        """Intend both while `change` is made, not committed yet, and committed when this waits."""
        attempts = [self.house.attempt(lead) for lead in self.leads]
        async with self.database.begin() as other:
            await change(other)
            intending = asyncio.create_task(self.house.store.intend(self.lease, attempts))
            await until_somebody_waits(self.database)
        await intending

    async def states(self) -> list[str]:
        return [(await self.house.lead(lead.lead_id)).state for lead in self.leads]


@pytest.fixture
async def race(cluster: LabPostgres, tmp_path: Path) -> AsyncIterator[Race]:
    database = await open_database(tmp_path, cluster)
    house = SqlHouse(database)
    await database.make_partitions(house.clock_now())
    await house.build()
    race = Race(database, house, await house.own())
    race.leads = await house.claim(race.lease, house.first, 2)
    yield race
    await database.close()


async def test_a_lead_that_leaves_the_hopper_as_it_is_intended_leaves_all_undone(
    race: Race,
) -> None:
    def block(connection: AsyncConnection) -> Awaitable[object]:
        mine = t.lead.c.id == race.leads[1].lead_id
        return connection.execute(sa.update(t.lead).where(mine).values(state="blocked"))

    with pytest.raises(Conflict):
        await race.intend_during(block)
    assert await race.states() == ["hopper", "blocked"]
    assert await race.house.store.open_attempts(race.house.pool) == []


async def test_a_pool_that_is_taken_over_as_its_attempts_are_intended_leaves_all_undone(
    race: Race,
) -> None:
    def take_over(connection: AsyncConnection) -> Awaitable[object]:
        row = t.pool_lease.c
        mine = row.pool_id == race.house.pool
        taken = sa.update(t.pool_lease).where(mine).values(epoch=row.epoch + 1, owner="two")
        return connection.execute(taken)

    with pytest.raises(LeaseLost):
        await race.intend_during(take_over)
    assert await race.states() == ["hopper", "hopper"]
    assert await race.house.store.open_attempts(race.house.pool) == []


async def test_a_lead_that_only_changes_otherwise_is_intended(race: Race) -> None:
    def rename(connection: AsyncConnection) -> Awaitable[object]:
        mine = t.lead.c.id == race.leads[1].lead_id
        return connection.execute(sa.update(t.lead).where(mine).values(position=99))

    await race.intend_during(rename)
    assert await race.states() == ["dialing", "dialing"]
    assert len(await race.house.store.open_attempts(race.house.pool)) == 2
