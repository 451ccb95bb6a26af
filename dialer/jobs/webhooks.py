"""Webhooks go out: what the outbox holds is sent, by any number of nodes, at least once.

A delivery is claimed for a while (a node that dies gives it back by not settling it), sent, and
settled under its claim. Each endpoint has a few deliveries on their way at a time, so that a dead
one starves nobody; one that keeps failing rests, longer and longer, and is then tried with a single
delivery. Results and new claims share one transaction every 50 ms at most: the database, and with
SQLite its only writer's place, belong to the calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.domain.ids import NewId
from dialer.domain.webhook import Attempted, DeliveryState, Health, try_again
from dialer.engine.timing import Timing
from dialer.services.audit import Audit
from dialer.store import webhooks as rows
from dialer.store.database import Database
from dialer.webhooks.signature import signed
from telephony.clock import Clock

log = structlog.get_logger(__name__)

_GATHER = 0.05  # s between two transactions
_LOOK_AROUND = 30.0  # s between counts of the backlog and prunings
_FAREWELL = 2.0  # s for deliveries on their way when the process ends
_ALL_AT_ONCE = 64  # on their way from this node
_SLOWEST = 30.0  # s between looks while the database is away


class Sends(Protocol):
    """What carries a delivery out; the real one is `webhooks.sender.Sender`."""

    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Attempted: ...


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """Seconds, unless said otherwise."""

    poll: float = 1.0
    claim: float = 60.0  # longer than a try may take: a claim that is over belongs to somebody dead
    per_endpoint: int = 8  # deliveries on their way at a time
    keep: timedelta = timedelta(days=30)


@dataclass(slots=True)
class Figures:
    """For metrics, since the process began; `waiting` and what follows: as of the last count."""

    results: Counter[str]
    took: Timing
    waiting: int = 0
    oldest: float = 0.0  # s the oldest has been waiting
    disabled: int = 0


@dataclass(frozen=True, slots=True)
class _Done:
    row: Mapping[str, Any]
    claim: UUID
    result: Attempted


class WebhookDeliverer:
    """`run` until cancelled; `figures` for metrics."""

    def __init__(
        self,
        database: Database,
        sender: Sends,
        *,
        clock: Clock,
        new_id: NewId,
        settings: DeliverySettings | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._db, self._sender, self._clock, self._new_id = database, sender, clock, new_id
        self._audit = Audit(clock, new_id)
        self._settings, self._rng = settings or DeliverySettings(), rng or random.Random()
        self._wake = asyncio.Event()
        self._done: list[_Done] = []
        self._on_their_way: dict[asyncio.Task[None], tuple[UUID, UUID]] = {}  # endpoint, claim
        self._look_around = 0.0
        self.figures = Figures(Counter(), Timing())

    def wake(self) -> None:
        """Look now: something was put into the outbox."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        rest = self._settings.poll
        try:
            while True:
                try:
                    await self.look()
                    rest = self._settings.poll
                except Exception as error:  # the database is away: what is done is kept
                    log.warning("webhooks wait", action="webhooks_failed", error=repr(error))
                    rest = min(rest * 2, _SLOWEST)
                    self._wake.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(rest):
                        await self._wake.wait()
                self._wake.clear()
                await asyncio.sleep(_GATHER)
        finally:
            await self._farewell()

    async def look(self) -> None:
        """Write down what has ended, and send what is due."""
        async with self._db.read() as connection:
            due = await self._due(connection)
        if due or self._done:
            done, claim = list(self._done), self._new_id()
            started: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = []
            async with self._db.begin() as connection:
                if done:  # one of them may be told to rest
                    results = await self._settle(connection, done)
                    due = await self._due(connection)
                else:
                    results = []
                for endpoint in due:
                    taken = await self._claim(connection, endpoint, claim, len(started))
                    started += [(endpoint, row) for row in taken]
            del self._done[: len(done)]
            self.figures.results.update(results)
            for endpoint, row in started:
                self._start(endpoint, row, claim)
        if self._clock.monotonic() >= self._look_around:
            await self._count_and_prune()

    # -- sending

    async def _due(self, connection: AsyncConnection) -> list[Mapping[str, Any]]:
        due = await rows.due(connection, self._clock.now())
        return [endpoint for endpoint in due if self._free(endpoint) > 0]

    def _free(self, endpoint: Mapping[str, Any]) -> int:
        """How many more may be on their way to this endpoint."""
        most = 1 if rows.health(endpoint).probing else self._settings.per_endpoint
        there = sum(1 for to, _ in self._on_their_way.values() if to == endpoint["id"])
        return min(most - there, _ALL_AT_ONCE - len(self._on_their_way))

    async def _claim(
        self, connection: AsyncConnection, endpoint: Mapping[str, Any], claim: UUID, taken: int
    ) -> Sequence[Mapping[str, Any]]:
        now = self._clock.now()
        limit = min(self._free(endpoint), _ALL_AT_ONCE - len(self._on_their_way) - taken)
        if limit <= 0:
            return []
        return await rows.claim(
            connection,
            endpoint["id"],
            claim_id=claim,
            limit=limit,
            now=now,
            until=now + timedelta(seconds=self._settings.claim),
            lock=self._db.is_postgres,
        )

    def _start(self, endpoint: Mapping[str, Any], row: Mapping[str, Any], claim: UUID) -> None:
        task = asyncio.get_running_loop().create_task(
            self._send(endpoint, row, claim), name=f"webhook-{row['id']}"
        )
        self._on_their_way[task] = (endpoint["id"], claim)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._on_their_way.pop(task, None)
        self._wake.set()

    async def _send(self, endpoint: Mapping[str, Any], row: Mapping[str, Any], claim: UUID) -> None:
        now, body = self._clock.now(), str(row["body"]).encode()
        keys = [endpoint["secret"]]
        until = endpoint["old_secret_until"]
        if endpoint["old_secret"] and until is not None and until > now:
            keys.append(endpoint["old_secret"])
        start = self._clock.monotonic()
        try:
            headers = signed(body, event_id=row["event_id"], at=now, keys=keys)
            result = await self._sender.send(endpoint["url"], body, headers)
        except Exception as error:  # counts as a try: it must not be repeated for ever
            log.exception("webhook not sent", action="webhook_died", webhook=str(endpoint["id"]))
            result = Attempted(None, type(error).__name__)
        self.figures.took.add(self._clock.monotonic() - start)
        self._done.append(_Done(row, claim, result))

    # -- writing down

    async def _settle(self, connection: AsyncConnection, done: Sequence[_Done]) -> list[str]:
        """Each delivery, and how its endpoint does; endpoints in one order on every node. Returns
        what came of each, in a word."""
        words = []
        for one in done:
            word, values = self._after(one.row, one.result)
            words.append(word)
            await rows.settle(connection, one.row["position"], claim_id=one.claim, values=values)
        for webhook_id in sorted({one.row["webhook_id"] for one in done}):
            results = [one.result for one in done if one.row["webhook_id"] == webhook_id]
            await self._judge(connection, webhook_id, results)
        return words

    def _after(self, row: Mapping[str, Any], result: Attempted) -> tuple[str, dict[str, Any]]:
        now, tries = self._clock.now(), int(row["tries"]) + 1
        values: dict[str, Any] = {
            "tries": tries,
            "tried_at": now,
            "last_status": result.status,
            "last_error": result.error[:40],
        }
        if result.delivered:
            delivered = DeliveryState.DELIVERED.value
            return "delivered", values | {"state": delivered, "delivered_at": now}
        again = try_again(
            tries, since=row["since"], now=now, retry_after=result.retry_after, rng=self._rng
        )
        if again is None:
            return "given_up", values | {"state": DeliveryState.FAILED.value}
        return "failed", values | {"next_at": again}

    async def _judge(
        self, connection: AsyncConnection, webhook_id: UUID, results: Sequence[Attempted]
    ) -> None:
        """What these results say of an endpoint: one that arrived outweighs those that did not."""
        row = await rows.hold(connection, webhook_id, lock=self._db.is_postgres)
        if row is None:
            return
        now, was = self._clock.now(), rows.health(row)
        if any(result.gone for result in results):
            await self._disable(connection, row, "the receiver answered 410 Gone")
            return
        if any(result.delivered for result in results):
            health = was.arrived()
        else:
            asked = max(result.retry_after for result in results)
            health = was.failed(now, retry_after=asked, rng=self._rng)
        if health.hopeless(now):
            await self._disable(connection, row, "nothing has arrived for days")
        elif health != was:
            await rows.change(connection, webhook_id, _columns(health))
        if health.probing and not was.probing:
            log.warning("webhook rests", action="webhook_rests", webhook=str(webhook_id))

    async def _disable(self, connection: AsyncConnection, row: Mapping[str, Any], why: str) -> None:
        if not row["enabled"]:
            return
        values = {"enabled": False, "disabled_reason": why, **_columns(Health())}
        await rows.change(connection, row["id"], values)
        await self._audit.note(
            connection, row["client_id"], "dialer", "webhook.disabled",
            webhook_id=row["id"], reason=why,
        )  # fmt: skip
        log.error("webhook disabled", action="webhook_disabled", webhook=str(row["id"]), why=why)

    # -- now and then

    async def _count_and_prune(self) -> None:
        now = self._clock.now()
        async with self._db.read() as connection:
            waiting, since, disabled = await rows.backlog(connection)
            old = await rows.any_before(connection, before=now - self._settings.keep)
        self.figures.waiting, self.figures.disabled = waiting, disabled
        self.figures.oldest = max((now - since).total_seconds(), 0.0) if since else 0.0
        if old:
            async with self._db.begin() as connection:
                await rows.prune(connection, before=now - self._settings.keep)
        self._look_around = self._clock.monotonic() + _LOOK_AROUND

    async def _farewell(self) -> None:
        """What is on its way may arrive; the rest is anybody's again at once."""
        tasks = list(self._on_their_way)
        claims = {claim for _, claim in self._on_their_way.values()}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_FAREWELL)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        try:
            if self._done or claims:
                async with self._db.begin() as connection:
                    await self._settle(connection, self._done)
                    for claim in claims:
                        await rows.let_go(connection, claim, self._clock.now())
        except Exception as error:  # they are sent again when the claims are over
            log.warning("webhooks not settled", action="webhooks_failed", error=repr(error))


def _columns(health: Health) -> dict[str, Any]:
    return {
        "failures": health.failures,
        "failing_since": health.failing_since,
        "rests_until": health.rests_until,
    }
