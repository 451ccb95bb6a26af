"""What people's screens hear: ordered topics with a bounded memory, so that a cut loses nothing.

`post` is synchronous and never waits, because an answered person waits while it runs. A message is
encoded once, numbered (epoch, n) per topic, and put before every subscriber in this process at
once; a bus between processes is told afterwards. Who comes back says what they saw last; if that is
too long ago, or under another owner, they are told to take a snapshot.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

import orjson

from dialer.live.subscription import (
    MOST_BEHIND,
    Message,
    Missed,
    Seq,
    SlowSubscriber,
    Subscription,
)
from telephony.clock import Clock

__all__ = [
    "KEPT", "MOST_BEHIND", "Feed", "LiveFeed", "Log", "Message", "Missed", "Publisher", "Seq",
    "SlowSubscriber", "Subscription",
]  # fmt: skip

KEPT = 512  # messages kept per topic


class Publisher(Protocol):
    """What the owner of a pool says, under its epoch, until it closes."""

    def post(self, topic: str, kind: str, data: Mapping[str, Any]) -> Seq:
        """Number, keep and hand over one message that must not be missed."""
        ...

    def show(self, topic: str, kind: str, data: Mapping[str, Any]) -> Seq:
        """Hand over a live figure: whoever watches gets it, nobody gets it later."""
        ...

    def last(self, topic: str) -> Seq:
        """The newest number of a topic: what a snapshot taken now includes."""
        ...

    def close(self) -> None:
        """The pool is not ours any more."""
        ...


class LiveFeed(Protocol):
    """The port. A topic has one owner at a time; any process can subscribe."""

    def own(self, pool_id: UUID, epoch: int) -> Publisher:
        """Speak for a pool, under the epoch of its lease: numbers of two owners never collide."""
        ...

    async def subscribe(self, topic: str, after: Seq | None) -> Subscription:
        """Everything after `after`; `missed` is set when a snapshot must be taken first."""
        ...

    def watch(self, topic: str) -> Subscription:
        """Live figures from now on."""
        ...


@dataclass(slots=True, eq=False)
class Log:
    """What one owner said on one topic: the newest `KEPT`, without a hole. `written` is for a bus:
    the newest that it is known to have, None when that is not known."""

    topic: str
    epoch: int
    n: int = 0
    ring: deque[Message] = field(default_factory=lambda: deque(maxlen=KEPT))
    written: int | None = None

    def after(self, n: int) -> list[Message]:
        """The kept messages above `n`, oldest first."""
        if not self.ring:
            return []
        start = max(n + 1 - self.ring[0].seq.n, 0)
        return [self.ring[i] for i in range(start, len(self.ring))]


@dataclass(slots=True)
class _Topic:
    log: Log | None = None  # while its owner is in this process
    subscribers: set[Subscription] = field(default_factory=set)


class _LocalPublisher:
    def __init__(self, feed: Feed, epoch: int) -> None:
        self._feed, self.epoch = feed, epoch
        self._logs: dict[str, Log] = {}
        self._shown: dict[str, int] = {}
        self._closed = False

    def post(self, topic: str, kind: str, data: Mapping[str, Any]) -> Seq:
        if self._closed:
            raise RuntimeError(f"expected an open publisher for {topic}, got a closed one")
        log = self._logs.get(topic)
        if log is None:
            log = self._logs[topic] = Log(topic, self.epoch)
            self._feed.take_over(log)
        log.n += 1
        message = self._feed.encode(Seq(self.epoch, log.n), kind, data)
        log.ring.append(message)
        self._feed.hand_over(topic, message)
        self._feed.posted(log)
        return message.seq

    def show(self, topic: str, kind: str, data: Mapping[str, Any]) -> Seq:
        n = self._shown[topic] = self._shown.get(topic, 0) + 1
        message = self._feed.encode(Seq(self.epoch, n), kind, data)
        self._feed.hand_over(topic, message)
        self._feed.shown(topic, message)
        return message.seq

    def last(self, topic: str) -> Seq:
        log = self._logs.get(topic)
        return Seq(self.epoch, log.n if log is not None else 0)

    def close(self) -> None:
        self._closed = True
        for log in self._logs.values():
            self._feed.let_go(log)


def _ignore(*what: object) -> None:
    """Nobody outside this process listens."""


class Feed:
    """All topics of this process, in memory.

    `posted` and `shown` tell a bus between processes, after the local subscribers have it;
    `orphaned` says that subscribers here have lost their owner to another process.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        posted: Callable[[Log], None] = _ignore,
        shown: Callable[[str, Message], None] = _ignore,
        orphaned: Callable[[], None] = _ignore,
    ) -> None:
        self._clock, self.posted, self.shown, self._orphaned = clock, posted, shown, orphaned
        self._topics: dict[str, _Topic] = {}

    def own(self, pool_id: UUID, epoch: int) -> Publisher:
        return _LocalPublisher(self, epoch)

    async def subscribe(self, topic: str, after: Seq | None) -> Subscription:
        log = self.log(topic)
        backlog: list[Message] = []
        base = None
        if after is not None and log is not None and after.epoch == log.epoch:
            oldest = log.ring[0].seq.n if log.ring else log.n + 1
            if oldest - 1 <= after.n <= log.n:
                base, backlog = after, log.after(after.n)
        return self.join(topic, base=base, backlog=backlog)

    def watch(self, topic: str) -> Subscription:
        return self.join(topic, base=None, lossy=True)

    # -- for publishers and for a bus between processes

    def encode(self, seq: Seq, kind: str, data: Mapping[str, Any]) -> Message:
        frame = orjson.dumps(
            {"type": kind, "seq": str(seq), "at": self._clock.now().isoformat(), "data": data},
            option=orjson.OPT_NON_STR_KEYS,
        )
        # orjson hands out what it wrote in a block of 4 KiB; hundreds of these are kept per topic.
        return Message(seq, kind, bytes(memoryview(frame)))

    def hand_over(self, name: str, message: Message) -> None:
        """To every subscriber in this process."""
        topic = self._topics.get(name)
        if topic is not None:
            for subscriber in topic.subscribers:
                subscriber.push(message)

    def join(
        self,
        name: str,
        *,
        base: Seq | None,
        backlog: Iterable[Message] | None = None,
        lossy: bool = False,
    ) -> Subscription:
        """A subscription that hears everything from now on."""
        subscription = Subscription(
            name, base=base, backlog=backlog or (), lossy=lossy, leave=self._leave
        )
        self._topics.setdefault(name, _Topic()).subscribers.add(subscription)
        return subscription

    def log(self, name: str) -> Log | None:
        """The topic's log, when its owner is in this process."""
        topic = self._topics.get(name)
        return topic.log if topic is not None else None

    def logs(self) -> list[Log]:
        return [t.log for t in self._topics.values() if t.log is not None]

    def heard_elsewhere(self) -> Iterator[str]:
        """Topics subscribed here whose owner is in no engine of this process."""
        return (name for name, t in self._topics.items() if t.subscribers and t.log is None)

    def interrupt(self, name: str) -> None:
        """Subscribers of this topic have to take a snapshot."""
        topic = self._topics.get(name)
        if topic is not None:
            for subscriber in topic.subscribers:
                subscriber.interrupt()

    def take_over(self, log: Log) -> None:
        self._topics.setdefault(log.topic, _Topic()).log = log

    def let_go(self, log: Log) -> None:
        topic = self._topics.get(log.topic)
        if topic is not None and topic.log is log:
            topic.log = None
            if topic.subscribers:
                self._orphaned()
            else:
                del self._topics[log.topic]

    def _leave(self, subscription: Subscription) -> None:
        topic = self._topics.get(subscription.topic)
        if topic is not None:
            topic.subscribers.discard(subscription)
            if not topic.subscribers and topic.log is None:
                del self._topics[subscription.topic]
