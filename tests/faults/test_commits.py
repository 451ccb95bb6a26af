"""A commit is cut on its way to PostgreSQL, and on the way back: what the store says is true."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from dialer.domain.errors import DialerError
from dialer.domain.lead import LeadState
from dialer.domain.work import LeadMove
from dialer.store.database import Database, upgrade
from tests.contract.store.house import SqlHouse
from tests.lab.database_link import DatabaseLink
from tests.lab.faults import injected
from tests.lab.servers import LabPostgres

pytestmark = pytest.mark.integration


@pytest.fixture
async def link(server: LabPostgres) -> AsyncIterator[DatabaseLink]:
    async with DatabaseLink(server.socket) as between:
        yield between


@pytest.fixture
async def house(server: LabPostgres, link: DatabaseLink) -> AsyncIterator[SqlHouse]:
    url = link.through(server.database())
    await asyncio.to_thread(upgrade, url)
    database = Database(url)
    house = SqlHouse(database)
    await database.make_partitions(house.clock_now())
    await house.build()
    yield house
    await database.close()


async def cut_in_commit(
    link: DatabaseLink, of: str, work: Callable[[], Awaitable[Any]], *, heard: bool
) -> None:
    """Do `work` and cut its commit: before the server has it, or before its answer is back."""
    doing = asyncio.ensure_future(work())
    held = await link.commit(of)
    if heard:
        await held.carried_out()
    held.cut()
    injected(f"PostgreSQL: a commit {'carried out but unheard' if heard else 'cut before it'}")
    # Not an answer of the store: who asked has to assume either.
    (told,) = await asyncio.gather(doing, return_exceptions=True)
    assert isinstance(told, Exception)
    assert not isinstance(told, DialerError)


@pytest.mark.parametrize("heard", [False, True], ids=["not sent", "not heard"])
async def test_a_commit_that_nobody_heard_of_was_carried_out_or_not_and_can_be_repeated(
    house: SqlHouse, link: DatabaseLink, heard: bool
) -> None:
    store, lease = house.store, await house.own()

    async def claim() -> None:
        await house.claim(lease, house.first, 2)

    await cut_in_commit(link, "INSERT INTO reservation", claim, heard=heard)
    assert await store.unclaim_all(lease) == (2 if heard else 0)

    lead, other = await house.claim(lease, house.first, 2)
    attempt = house.attempt(lead, at=house.clock_now())

    async def intend() -> None:
        await store.intend(lease, [attempt])

    await cut_in_commit(link, "INSERT INTO attempt", intend, heard=heard)
    assert [a.id for a in await store.open_attempts(house.pool)] == [attempt.id] * heard

    async def write() -> None:
        await store.write(lease, [LeadMove(other.lead_id, LeadState.DONE, reason="tested")])

    for _ in range(2):  # a write may be repeated, whatever became of it
        await cut_in_commit(link, "UPDATE lead", write, heard=heard)
    assert (await house.lead(other.lead_id)).state == ("done" if heard else "hopper")
    await write()
    assert (await house.lead(other.lead_id)).state == "done"
