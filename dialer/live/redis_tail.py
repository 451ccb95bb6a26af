"""The topics of other processes' engines that somebody here listens to, followed in Redis.

One connection reads all of them. Each is read on from the last id that was seen, so a lost
connection, or a Redis that was emptied and filled again, repeats nothing; what is gone shows as a
gap to the subscriber, who then takes a snapshot.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from redis.asyncio import Redis

from dialer.live.feed import KEPT, Feed
from dialer.live.redis_link import BROKEN, Rest, answer, name_of
from dialer.live.redis_outbox import last_ids, stream
from dialer.live.subscription import Message, Seq, Subscription

log = structlog.get_logger(__name__)

_NEWS = 200  # ms until topics that were added meanwhile are read too
_COUNT = 256  # messages of a topic read at once
#: s to wait for the owner to have written what a returning subscriber has seen already.
_CATCH_UP = (0.02, 0.1, 0.3)

_NONE = Seq(0, 0)

Entry = tuple[bytes, Mapping[bytes, bytes]]


def message_of(entry: Entry) -> Message:
    number, fields = entry
    return Message(Seq.parse(number.decode()), fields[b"t"].decode(), fields[b"f"])


class Tail:
    """Feeds the subscriptions of `feed` whose owners are elsewhere."""

    def __init__(self, reading: Redis, client: Redis, feed: Feed, *, rng: random.Random) -> None:
        """`reading` is blocked most of the time; `client` answers at once."""
        self._reading, self._client, self._feed, self._rest = reading, client, feed, Rest(rng)
        self._seen: dict[str, Seq] = {}
        self._changed = asyncio.Event()
        self.state = "ok"

    def look(self) -> None:
        """There are topics to be read."""
        self._changed.set()

    async def open(self, topic: str, after: Seq | None) -> Subscription:
        """A subscription that has what came after `after`, or knows that it missed something."""
        try:
            backlog, end = await self._backlog(topic, after)
        except BROKEN as error:
            log.warning("backlog not read", action="bus_not_read", error=name_of(error))
            self._changed.set()
            return self._feed.join(topic, base=None)  # told again when its place is found
        if self._feed.log(topic) is not None:  # meanwhile its owner is here
            return await self._feed.subscribe(topic, after)
        # Reading goes on where the backlog ended, also for the others: they know what they have.
        self._seen[topic] = min(self._seen.get(topic, end), end)
        self._changed.set()
        base = after if backlog is not None else None
        return self._feed.join(topic, base=base, backlog=backlog)

    async def _backlog(self, topic: str, after: Seq | None) -> tuple[Sequence[Message] | None, Seq]:
        """What came after `after` and where the topic ends; None when something is gone, or another
        owner has begun."""
        if after is None:
            newest: Any = await answer(self._client.xrevrange(stream(topic), count=1))
            return None, last_ids([newest])[0] or _NONE
        for pause in (*_CATCH_UP, 0.0):
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.xrange(stream(topic), min=str(after), count=KEPT * 2)
                pipe.xrevrange(stream(topic), count=1)
                entries, last = await answer(pipe.execute())
            messages = [message_of(entry) for entry in entries]
            if messages:
                first, end = messages[0].seq, messages[-1].seq
                unbroken = (first == after or after.precedes(first)) and end.epoch == after.epoch
                return ([m for m in messages if m.seq > after] if unbroken else None), end
            end = last_ids([last])[0] or _NONE
            if end.epoch != after.epoch:
                break
            await asyncio.sleep(pause)  # not written yet, or never was
        return None, end

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._read()
                self.state = "ok"
                self._rest.reset()
            except BROKEN as error:
                if self.state != name_of(error):
                    log.warning("bus not read", action="bus_not_read", error=name_of(error))
                self.state = name_of(error)
                await self._rest.take()

    async def _read(self) -> None:
        topics = set(self._feed.heard_elsewhere())
        for gone in self._seen.keys() - topics:
            del self._seen[gone]
        if not topics:
            self._changed.clear()
            await self._changed.wait()
            return
        await self._find_places([t for t in topics if t not in self._seen])
        places: dict[Any, Any] = {stream(topic): str(self._seen[topic]) for topic in topics}
        news: Any = await answer(
            self._reading.xread(places, count=_COUNT, block=_NEWS), beyond=_NEWS / 1000
        )
        names = {stream(topic).encode(): topic for topic in topics}
        for key, entries in news or ():
            topic = names[key]
            for entry in entries:
                message = message_of(entry)
                self._seen[topic] = message.seq
                self._feed.hand_over(topic, message)

    async def _find_places(self, topics: list[str]) -> None:
        """A topic whose owner was in this process, or that was joined without Redis, is read from
        its present end; what its subscribers know may be older."""
        if not topics:
            return
        async with self._reading.pipeline(transaction=False) as pipe:
            for topic in topics:
                pipe.xrevrange(stream(topic), count=1)
            lasts = last_ids(await answer(pipe.execute()))
        for topic, last in zip(topics, lasts, strict=True):
            if topic not in self._seen:
                self._seen[topic] = last or _NONE
                self._feed.interrupt(topic)
