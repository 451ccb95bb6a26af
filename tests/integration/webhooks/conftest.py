"""Both databases with a house in them, a real receiver, and a deliverer whose clock is ours."""

from __future__ import annotations

import asyncio
import itertools
import random
import shutil
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from dialer.domain.webhook import CHOICES, Event, EventType
from dialer.jobs.webhooks import DeliverySettings, WebhookDeliverer
from dialer.services.webhooks import Webhooks
from dialer.store import outbox
from dialer.store import schema as t
from dialer.store.database import Database, upgrade
from dialer.webhooks.guard import Guard, Policy, Resolver
from dialer.webhooks.sender import Limits, Sender
from telephony.clock import ManualClock
from tests.contract.store.house import SqlHouse
from tests.integration.store.conftest import cluster
from tests.lab.receiver import LabReceiver
from tests.lab.servers import LabPostgres

__all__ = ["cluster"]

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Post:
    """A house that tells a receiver what happens; the parts are real, the clock is ours."""

    def __init__(self, database: Database, house: SqlHouse, folder: Path) -> None:
        self.database, self.house, self.folder = database, house, folder
        self.clock = ManualClock(NOW)
        self.ports: list[int] = []
        self.secrets: dict[UUID, str] = {}
        self._resolver = Resolver()

    def _guard(self) -> Guard:
        networks = (IPv4Network("127.0.0.0/8"),)
        return Guard(Policy(tuple(self.ports), networks, http=True), self._resolver)

    @property
    def service(self) -> Webhooks:
        return Webhooks(
            self.database, guard=self._guard(), clock=self.clock, new_id=self.house.new_id
        )

    def deliverer(self, *, timeout: float = 5.0, **settings: Any) -> WebhookDeliverer:
        return WebhookDeliverer(
            self.database,
            Sender(self._guard(), clock=self.clock, limits=Limits(whole=timeout)),
            clock=self.clock,
            new_id=self.house.new_id,
            settings=DeliverySettings(**{"poll": 0.05, **settings}),
            rng=random.Random(1),
        )

    async def webhook(
        self, receiver: LabReceiver, events: Sequence[EventType] = CHOICES, **more: Any
    ) -> UUID:
        """An endpoint for a receiver that is there."""
        self.ports.append(receiver.port)
        made = await self.service.create(
            self.house.client, who="ines", url=receiver.url, description="", events=events,
            enabled=True, **more,
        )  # fmt: skip
        self.secrets[made["id"]] = made["secret"]
        return UUID(str(made["id"]))

    async def tell(self, webhook_id: UUID, count: int = 1, *, subject: UUID | None = None) -> None:
        """Events into its outbox, about as many subjects or about one."""
        events = [
            Event(
                EventType.CALL_CONCLUDED, subject or self.house.new_id(),
                str(self.house.new_id()), self.clock.now(), {"n": n},
            )
            for n in range(count)
        ]  # fmt: skip
        to = outbox.Listener(webhook_id, self.house.client, frozenset({"call.concluded"}))
        async with self.database.begin() as connection:
            await outbox.post(connection, [to], events)

    async def rows(self, table: sa.Table = t.webhook_delivery) -> list[dict[str, Any]]:
        async with self.database.begin() as connection:
            query = sa.select(table).order_by(*table.primary_key.columns)
            return [dict(row) for row in (await connection.execute(query)).mappings()]

    async def one(self, webhook_id: UUID) -> dict[str, Any]:
        return await self.service.webhook(self.house.client, webhook_id)


async def once(deliverer: WebhookDeliverer) -> None:
    """Send what is due now, wait until it has ended, and write it down; starts nothing new."""
    await deliverer.look()
    tasks = list(deliverer._on_their_way)
    if tasks:
        await asyncio.gather(*tasks)
    async with deliverer._db.begin() as connection:
        await deliverer._settle(connection, deliverer._done)
    deliverer._done.clear()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file to copy: migrating one for each test would take most of their time."""
    path = tmp_path_factory.mktemp("migrated") / "dialer.db"
    _migrate(f"sqlite+aiosqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def template(cluster: LabPostgres) -> str:
    """The same on PostgreSQL."""
    url = cluster.database()
    _migrate(url)
    return url


def _migrate(url: str) -> None:
    """In a thread: a loop may run in this one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(upgrade, url).result()


_copies = itertools.count(1)


async def _copy(template: str) -> str:
    """A new database like another one of the same server."""
    original = sa.make_url(template)
    name = f"{original.database}copy{next(_copies)}"
    engine = create_async_engine(original.set(database="postgres"), isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {original.database}")
    await engine.dispose()
    return template.replace(f"/{original.database}?", f"/{name}?", 1)


#: For tests whose point is what the database does: in the short run too. All others run on SQLite
#: there, and on both in the long one.
both = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.full)])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated"), tmp_path / "dialer.db")
        url = f"sqlite+aiosqlite:///{tmp_path}/dialer.db"
    else:
        url = await _copy(request.getfixturevalue("template"))
    opened = Database(url)
    yield opened
    await opened.close()


@pytest.fixture
async def post(database: Database, tmp_path: Path) -> Post:
    house = SqlHouse(database)
    await house.build()
    return Post(database, house, tmp_path)


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[LabReceiver]:
    async with LabReceiver(tmp_path / "receiver") as there:
        yield there


@pytest.fixture
def nobody(tmp_path: Path) -> LabReceiver:
    """A receiver that is not started: for what is put into the outbox."""
    return LabReceiver(tmp_path / "nobody")
