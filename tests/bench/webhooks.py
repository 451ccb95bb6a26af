"""What webhooks cost: events delivered over TLS to one receiver, and what the outbox adds to an
engine's batch of writes. A turn is processor time between two turns of the loop."""

from __future__ import annotations

import asyncio
import tempfile
import time
from ipaddress import IPv4Network
from pathlib import Path

from api.runtime import spare_the_collector
from dialer.domain.call import Outcome
from dialer.domain.webhook import CHOICES, Event, EventType
from dialer.domain.work import AttemptUpdate, Lease, Write
from dialer.jobs.webhooks import DeliverySettings, WebhookDeliverer
from dialer.services.webhooks import Webhooks
from dialer.store import outbox
from dialer.store.database import Database, upgrade
from dialer.webhooks.guard import Guard, Policy, Resolver
from dialer.webhooks.sender import Sender
from telephony.clock import SystemClock
from tests.bench.report import line, say
from tests.contract.store.house import NOW, PEOPLE, SqlHouse
from tests.lab.process import until
from tests.lab.receiver import LabReceiver
from tests.lab.servers import LabPostgres

_EVENTS = 600
_LONGEST_TURN = 10.0  # ms: an answered person's bridge must not wait longer


async def run() -> bool:
    """PostgreSQL, one receiver on this machine."""
    with LabPostgres(sync=True) as server, tempfile.TemporaryDirectory() as folder:
        url = server.database()
        await asyncio.to_thread(upgrade, url)
        database = Database(url)
        house = SqlHouse(database)
        await house.build()
        async with LabReceiver(Path(folder), tls=True) as receiver:
            policy = Policy((receiver.port,), (IPv4Network("127.0.0.0/8"),))
            guard = Guard(policy, Resolver())
            good = await _written(house, guard, database, receiver)
            good &= await _delivered(house, guard, database, receiver)
        await database.close()
    return good


async def _written(
    house: SqlHouse, guard: Guard, database: Database, receiver: LabReceiver
) -> bool:
    """The same batch of 20 concluded calls, with nobody listening and with one endpoint."""
    lease = await house.own()
    nobody = await _batch(house, lease, house.first)
    service = Webhooks(database, guard=guard, clock=SystemClock(), new_id=house.new_id)
    await service.create(
        house.client, who="bench", url=receiver.url, description="", events=CHOICES, enabled=True
    )
    told = await _batch(house, lease, house.second)
    return line("webhooks", "batch of 20 concluded calls, told", told, "ms", baseline=nobody)


async def _batch(house: SqlHouse, lease: Lease, campaign: object) -> float:
    leads = await house.claim(lease, campaign, PEOPLE)  # type: ignore[arg-type]
    calls = [await house.dial(lease, lead) for lead in leads]
    writes: list[Write] = [
        AttemptUpdate(c.id, NOW, ended_at=NOW, outcome=Outcome.BUSY) for c in calls
    ]
    start = time.perf_counter()
    await house.store.write(lease, writes)
    took = (time.perf_counter() - start) * 1000
    await house.store.unclaim_all(lease)
    async with house._db.begin() as connection:  # the next campaign calls the same people
        await connection.exec_driver_sql("DELETE FROM reservation")
    return took


async def _delivered(
    house: SqlHouse, guard: Guard, database: Database, receiver: LabReceiver
) -> bool:
    """Once for the rate and the time, once more with an eye on the loop, which spins then."""
    sender = Sender(guard, clock=SystemClock(), authorities=receiver.certificate)
    await _tell(house, database)
    start, before = time.perf_counter(), time.process_time()
    await _deliver(house, database, sender)
    took, spent = time.perf_counter() - start, time.process_time() - before
    line("webhooks", "delivered to one receiver, TLS", _EVENTS / took, "1/s")
    line("webhooks", "processor time for each", spent / _EVENTS * 1000, "ms")
    await _tell(house, database)
    spare_the_collector()  # as the dialer does
    turns: list[float] = []
    watching = asyncio.create_task(_watch(turns))
    await _deliver(house, database, sender)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    say(f"the longest turns: {', '.join(f'{t:.1f}' for t in sorted(turns)[-8:])} ms")
    longest = max(turns)
    return line(
        "webhooks", "longest turn of the loop", longest, "ms",
        goal=f"at most {_LONGEST_TURN:g}", ok=longest <= _LONGEST_TURN,
    )  # fmt: skip


async def _tell(house: SqlHouse, database: Database) -> None:
    async with database.begin() as connection:
        to = await outbox.listeners(connection, house.client)
        ids = [house.new_id() for _ in range(_EVENTS)]
        kind, now = EventType.CALL_CONCLUDED, SystemClock().now()
        await outbox.post(connection, to, [Event(kind, i, str(i), now, {"id": i}) for i in ids])


async def _deliver(house: SqlHouse, database: Database, sender: Sender) -> None:
    clock = SystemClock()
    deliverer = WebhookDeliverer(
        database, sender, clock=clock, new_id=house.new_id, settings=DeliverySettings(poll=0.2)
    )
    running = asyncio.create_task(deliverer.run())
    results = deliverer.figures.results
    await until(lambda: results["delivered"] >= _EVENTS, timeout=120, what="all events")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def _watch(turns: list[float]) -> None:
    """Processor time between two turns of the loop, which load hardly changes."""
    last = time.thread_time()
    while True:
        await asyncio.sleep(0)
        now = time.thread_time()
        turns.append((now - last) * 1000)
        last = now
