"""How the databases carry out what the pool store promises (tests/contract/store)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.domain.ids import NewId, id_source
from dialer.domain.lead import LeadState
from dialer.domain.work import LeadMove
from dialer.store import admin, claims
from dialer.store import schema as t
from dialer.store.database import Database
from dialer.store.leads import NewLead, insert_leads
from dialer.store.pool_store import SqlPoolStore
from telephony.clock import SystemClock
from tests.integration.store.conftest import open_database
from tests.lab.servers import LabPostgres

pytestmark = pytest.mark.integration
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class House:
    store: SqlPoolStore
    new_id: NewId
    client: UUID
    pool: UUID
    campaigns: tuple[UUID, UUID]


@pytest.fixture
async def house(database: Database) -> House:
    """One client, one pool, two campaigns that call the same twenty people."""
    new_id = id_source(SystemClock())
    client, pool, first, second = new_id(), new_id(), new_id(), new_id()
    rows = [
        NewLead(f"+1202555{n:04}", "US", "mobile", f"P{n}", f"k{n}", "", True, {})
        for n in range(20)
    ]
    async with database.begin() as db:
        await db.execute(sa.insert(t.client).values(id=client, name="house", created_at=NOW))
        await db.execute(sa.insert(t.pool).values(id=pool, client_id=client, name="pool"))
        await db.execute(
            sa.insert(t.pool_lease).values(pool_id=pool, epoch=0, owner="", expires=0.0)
        )
        for campaign in (first, second):
            await db.execute(
                sa.insert(t.campaign).values(
                    id=campaign, client_id=client, pool_id=pool, name=str(campaign),
                    state="running", reason="", version=1, created_at=NOW,
                )
            )  # fmt: skip
            await insert_leads(
                db, rows, client_id=client, campaign_id=campaign, list_name="list", now=NOW,
                new_id=new_id,
            )  # fmt: skip
    return House(SqlPoolStore(database, new_id=new_id), new_id, client, pool, (first, second))


async def test_a_claim_reads_leads_in_the_order_of_an_index(
    database: Database, house: House
) -> None:
    """A list of a million must not be sorted for the next twenty of it."""
    plans: list[str] = []

    class Explaining:
        """A connection that shows how it would run a query."""

        def __init__(self, db: AsyncConnection) -> None:
            self._db, self.dialect = db, db.dialect

        async def execute(self, query: sa.Select[Any], given: Mapping[str, Any]) -> Any:
            text = query.params(given).compile(
                dialect=database.engine.dialect, compile_kwargs={"literal_binds": True}
            )
            how = "EXPLAIN (COSTS OFF)" if database.is_postgres else "EXPLAIN QUERY PLAN"
            shown = await self._db.exec_driver_sql(f"{how} {text}")
            plans.append("\n".join(str(row[-1]) for row in shown))
            return await self._db.execute(query, given)

    async with database.begin() as db:
        if database.is_postgres:  # a list this short would rather be read whole
            for node in ("sort", "seqscan", "bitmapscan", "hashjoin", "mergejoin"):
                await db.exec_driver_sql(f"SET LOCAL enable_{node} = off")
        rows = await claims.due(
            Explaining(db),  # type: ignore[arg-type]
            house.campaigns[0], limit=5, now=NOW, lock=database.is_postgres, agents=None,
        )  # fmt: skip
    assert [r.number for r in rows] == [f"+1202555{n:04}" for n in range(5)]
    assert len(plans) == 3
    for plan in plans:
        assert "ix_lead_due" in plan, plan
        assert "Sort" not in plan, plan
        assert "TEMP B-TREE" not in plan, plan


async def test_an_upload_and_the_end_of_a_campaign_exclude_each_other(
    house: House, database: Database
) -> None:
    """Either the upload sees that the campaign is finished, or it goes on with the new lead."""
    lease, campaign = (
        await house.store.acquire(house.pool, owner="one", seconds=60),
        house.campaigns[0],
    )
    assert lease is not None
    claimed = await house.store.claim(lease, campaign_id=campaign, limit=20, now=NOW)
    await house.store.write(lease, [LeadMove(lead.lead_id, LeadState.DONE) for lead in claimed])
    put, go_on = asyncio.Event(), asyncio.Event()

    async def upload() -> str | None:
        async with database.begin() as db:
            row = NewLead("+12025559999", "US", "mobile", "P", "new", "", True, {})
            await insert_leads(
                db, [row], client_id=house.client, campaign_id=campaign, list_name="late",
                now=NOW, new_id=house.new_id,
            )  # fmt: skip
            state = await admin.hold_campaign(db, campaign)
            put.set()
            await go_on.wait()
            return state

    uploading = asyncio.create_task(upload())
    await put.wait()
    finishing = asyncio.create_task(
        house.store.finish_campaign(lease, campaign_id=campaign, reason="all done")
    )
    done, _ = await asyncio.wait([finishing], timeout=0.3)
    assert not done, "it waits for the upload"
    go_on.set()
    assert await uploading == "running"
    assert not await finishing


async def test_an_owner_that_stands_still_in_a_transaction_does_not_keep_its_pool(
    cluster: LabPostgres, tmp_path: Path
) -> None:
    """It holds the lease's row meanwhile: as a process does that was stopped in mid-write."""
    database = await open_database(tmp_path, cluster)
    still = Database(database.url, idle=1.0)
    pool = await _pool_of(database)
    new_id = id_source(SystemClock())
    old, new = SqlPoolStore(still, new_id=new_id), SqlPoolStore(database, new_id=new_id)
    lease = await old.acquire(pool, owner="old", seconds=0.5)
    assert lease is not None
    with pytest.raises(sa.exc.DBAPIError):
        async with still.begin() as connection:
            await old._owned(connection, lease)
            await asyncio.sleep(0.6)  # past the lease
            async with asyncio.timeout(5):
                taken = await new.acquire(pool, owner="new", seconds=10.0)
            assert taken is not None and taken.epoch == lease.epoch + 1
            await old._owned(connection, lease)
    await still.close()
    await database.close()


async def _pool_of(database: Database) -> UUID:
    new_id = id_source(SystemClock())
    pool = new_id()
    async with database.begin() as connection:
        await admin.add_client(connection, client_id=new_id(), name="still", pool_id=pool, at=NOW)
    return pool
