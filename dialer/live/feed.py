"""What people's screens hear: ordered topics with a bounded memory, so that a cut loses nothing.

`post` is synchronous and never blocks, because an answered person waits while it runs. A message is
encoded once, numbered (epoch, n) per topic, and put before every subscriber at once. Who comes back
says what they saw last; if that is too long ago they are told to ask for a snapshot.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from telephony.clock import Clock

_RING = 512  # messages kept per topic
_BEHIND = 1024  # messages a subscriber may lag behind before it is cut off
SNAPSHOT = "snapshot"


@dataclass(frozen=True, slots=True, order=True)
class Seq:
    """A message's place: the owner's epoch, then a number that only grows."""

    epoch: int
    n: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.n}"

    @classmethod
    def parse(cls, text: str) -> Seq:
        """From `epoch-n`; raises ValueError."""
        epoch, dash, n = text.partition("-")
        if not dash or not epoch.isdecimal() or not n.isdecimal() or len(text) > 40:
            raise ValueError("expected epoch-n")
        return cls(int(epoch), int(n))


@dataclass(frozen=True, slots=True)
class Message:
    """`frame` is the encoded `{type, seq, at, data}` as it goes to a websocket."""

    seq: Seq
    type: str
    frame: bytes


class SlowSubscriber(Exception):
    """A subscriber read too slowly and was cut off; it may resume."""


@dataclass(slots=True)
class _Topic:
    epoch: int
    n: int = 0
    ring: deque[Message] = field(default_factory=lambda: deque(maxlen=_RING))
    subscribers: set[Subscription] = field(default_factory=set)


class Subscription:
    """An async iterator of messages; `missed` says that a snapshot must be asked for first."""

    def __init__(self, feed: Feed, topic: str, backlog: list[Message], *, missed: bool) -> None:
        self._feed, self._topic = feed, topic
        self._queue: deque[Message] = deque(backlog)
        self._wake = asyncio.Event()
        self._slow = False
        self.missed = missed
        if backlog:
            self._wake.set()

    def push(self, message: Message) -> None:
        if len(self._queue) >= _BEHIND:
            self._slow = True
        else:
            self._queue.append(message)
        self._wake.set()

    def take(self) -> list[Message]:
        """All that is there now; raises SlowSubscriber."""
        if self._slow:
            raise SlowSubscriber(self._topic)
        messages = list(self._queue)
        self._queue.clear()
        self._wake.clear()
        return messages

    async def wait(self) -> list[Message]:
        """At least one message."""
        while True:
            await self._wake.wait()
            if messages := self.take():
                return messages

    async def __aiter__(self) -> AsyncIterator[Message]:
        while True:
            for message in await self.wait():
                yield message

    def close(self) -> None:
        self._feed.unsubscribe(self._topic, self)

    @property
    def topic(self) -> str:
        return self._topic


class Feed:
    """All topics of this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._topics: dict[str, _Topic] = {}
        self._epochs: dict[str, int] = {}

    def set_epoch(self, prefix: str, epoch: int) -> None:
        """Topics that begin with `prefix` are numbered under this epoch from now on."""
        self._epochs[prefix] = epoch

    def _topic(self, name: str) -> _Topic:
        epoch = next((e for p, e in self._epochs.items() if name.startswith(p)), 0)
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = _Topic(epoch)
        elif topic.epoch != epoch:
            topic.epoch, topic.n = epoch, 0
            topic.ring.clear()
        return topic

    def post(self, name: str, kind: str, data: Mapping[str, Any], *, lossy: bool = False) -> Seq:
        """Number, keep and hand over one message. A lossy one is not kept for who comes back."""
        topic = self._topic(name)
        topic.n += 1
        seq = Seq(topic.epoch, topic.n)
        frame = orjson.dumps(
            {"type": kind, "seq": str(seq), "at": self._clock.now().isoformat(), "data": data},
            option=orjson.OPT_NON_STR_KEYS,
        )
        message = Message(seq, kind, frame)
        if not lossy:
            topic.ring.append(message)
        for subscriber in topic.subscribers:
            subscriber.push(message)
        return seq

    def subscribe(self, name: str, after: Seq | None) -> Subscription:
        """Everything after `after`, or from now on. `missed` is set when something is gone."""
        topic = self._topic(name)
        backlog: list[Message] = []
        missed = after is None
        if after is not None:
            oldest = topic.ring[0].seq.n if topic.ring else topic.n + 1
            if after.epoch != topic.epoch or after.n > topic.n or after.n + 1 < oldest:
                missed = True
            else:
                backlog = [m for m in topic.ring if m.seq > after]
        subscription = Subscription(self, name, backlog, missed=missed)
        topic.subscribers.add(subscription)
        return subscription

    def unsubscribe(self, name: str, subscription: Subscription) -> None:
        topic = self._topics.get(name)
        if topic is not None:
            topic.subscribers.discard(subscription)

    def last(self, name: str) -> Seq:
        """The newest number of a topic: what a snapshot taken now includes."""
        topic = self._topic(name)
        return Seq(topic.epoch, topic.n)
