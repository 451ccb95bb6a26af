"""What the owner said, written to Redis behind it: in order, in batches, each message once.

A message's (epoch, n) is its stream id, so Redis itself refuses a repeated or overtaken one, and an
owner that was replaced can write nothing after its successor. Nothing is buffered but the logs the
feed keeps anyway: after a failure the last id of each stream says what is to be written, be it the
newest message or, on an emptied Redis, all that is kept.
"""

from __future__ import annotations

import asyncio
import random

import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from dialer.live.feed import KEPT, Log
from dialer.live.redis_link import BROKEN, PREFIX, Rest, answer, name_of
from dialer.live.subscription import Message, Seq

log = structlog.get_logger(__name__)

LIVE = f"{PREFIX}live"
_MOST = 1000  # messages in one batch
_LIFE = 24 * 3600  # s a topic without news stays in Redis
_RENEW = 3600.0  # s between renewals of that
_NOT_NEWER = "equal or smaller"


def stream(topic: str) -> str:
    """The Redis key of a topic."""
    return f"{PREFIX}topic:{topic}"


def last_ids(answers: list[list[tuple[bytes, object]]]) -> list[Seq | None]:
    """Of `XREVRANGE ... COUNT 1` answers."""
    return [Seq.parse(answer[0][0].decode()) if answer else None for answer in answers]


class Outbox:
    """Writes the logs of this process and publishes its live figures. `state`: `ok` or why not."""

    def __init__(self, client: Redis, *, origin: str, rng: random.Random) -> None:
        self._client, self._origin, self._rest = client, origin.encode(), Rest(rng)
        self._dirty: dict[Log, None] = {}
        self._live: dict[str, Message] = {}
        self._renewed: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.state = "ok"

    def posted(self, entry: Log) -> None:
        """There is something new in this log."""
        self._dirty[entry] = None
        self._idle.clear()
        self._wake.set()

    def shown(self, topic: str, message: Message) -> None:
        """Only the newest of each topic waits."""
        self._live[topic] = message
        self._wake.set()

    def distrust(self, logs: list[Log]) -> None:
        """Ask Redis what it has of these before anything else is written: it may be another one."""
        for entry in logs:
            entry.written = None
            self.posted(entry)

    async def written(self) -> None:
        """Return when Redis has everything."""
        await self._idle.wait()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._send()
            except BROKEN as error:
                self.state = name_of(error)
                log.warning("bus not written", action="bus_not_written", error=self.state)
                for entry in self._dirty:
                    entry.written = None
                self._live.clear()
                self._wake.set()
                await self._rest.take()
            else:
                self.state = "ok"
                self._rest.reset()
                if self._dirty:
                    self._wake.set()
                else:
                    self._idle.set()

    async def _send(self) -> None:
        logs = list(self._dirty)
        await self._ask([entry for entry in logs if entry.written is None])
        batch: list[tuple[Log, Message]] = []
        for entry in logs:
            batch += [(entry, message) for message in entry.after(entry.written or 0)]
            if len(batch) >= _MOST:
                break
        del batch[_MOST:]
        live, self._live = self._live, {}
        results = await self._execute(batch, live)
        refused: set[Log] = set()
        for (entry, message), result in zip(batch, results, strict=True):
            if entry in refused:
                continue  # its later ones may have got in: only asking tells
            if isinstance(result, ResponseError) and _NOT_NEWER in str(result):
                refused.add(entry)
                entry.written = None
            elif isinstance(result, BaseException):
                raise result
            else:
                entry.written = message.seq.n
        for entry in logs:
            if entry.written is not None and entry.written >= entry.n:
                self._dirty.pop(entry, None)

    async def _execute(
        self, batch: list[tuple[Log, Message]], live: dict[str, Message]
    ) -> list[object]:
        now = asyncio.get_running_loop().time()
        async with self._client.pipeline(transaction=False) as pipe:
            for entry, message in batch:
                pipe.xadd(
                    stream(entry.topic),
                    {"t": message.type, "f": message.frame},
                    id=str(message.seq),
                    maxlen=KEPT,
                    approximate=True,
                )
            for topic in {entry.topic for entry, _ in batch}:
                if now - self._renewed.get(topic, -_RENEW) >= _RENEW:
                    self._renewed[topic] = now
                    pipe.expire(stream(topic), _LIFE)
            for topic, message in live.items():
                head = f" {topic} {message.seq} {message.type}\n".encode()
                pipe.publish(LIVE, self._origin + head + message.frame)
            results = await answer(pipe.execute(raise_on_error=False))
        for result in results[len(batch) :]:
            if isinstance(result, BaseException):
                raise result
        return list(results[: len(batch)])

    async def _ask(self, logs: list[Log]) -> None:
        """What Redis has of these logs."""
        if not logs:
            return
        async with self._client.pipeline(transaction=False) as pipe:
            for entry in logs:
                pipe.xrevrange(stream(entry.topic), count=1)
            lasts = last_ids(await answer(pipe.execute()))
        for entry, last in zip(logs, lasts, strict=True):
            self._renewed.pop(entry.topic, None)
            if last is None or last.epoch < entry.epoch:
                entry.written = 0
            elif last.epoch == entry.epoch:
                entry.written = last.n
            else:  # the pool has a new owner already; ours is told by its lease
                log.warning(
                    "topic has a newer owner",
                    action="bus_overtaken",
                    topic=entry.topic,
                    ours=entry.epoch,
                    newest=last.epoch,
                )
                entry.written = entry.n
