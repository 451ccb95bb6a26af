"""One reader of one topic: in order, once, nothing lost - or told that something is.

All of that is judged here, where messages are read, so that it holds whichever way they came: from
the owner in this process, from Redis, or first the one and then the other when a pool moves.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

MOST_BEHIND = 1024  # messages a subscriber may lag behind before it is cut off


@dataclass(frozen=True, slots=True, order=True)
class Seq:
    """A message's place: the owner's epoch, then a number that only grows."""

    epoch: int
    n: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.n}"

    def precedes(self, other: Seq) -> bool:
        """Whether nothing lies between the two."""
        return self.epoch == other.epoch and self.n + 1 == other.n

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


class Missed(Exception):
    """Messages are gone, or the topic has another owner: take a snapshot, then `rebase`."""


class Subscription:
    """An async iterator of messages. Read it only after `rebase` while `missed` is true.

    `base` is what the reader has already (None: nothing is known). `lossy` readers get whatever
    comes and lose the oldest when they are slow; the others lose nothing without being told.
    """

    def __init__(
        self,
        topic: str,
        *,
        base: Seq | None,
        leave: Callable[[Subscription], None],
        backlog: Iterable[Message] = (),
        lossy: bool = False,
    ) -> None:
        self.topic, self._base, self._leave, self._lossy = topic, base, leave, lossy
        self._queue: deque[Message] = deque(backlog)
        self._wake = asyncio.Event()
        self._slow = False
        if self._queue:
            self._wake.set()

    @property
    def missed(self) -> bool:
        """A snapshot must be taken before more can be read."""
        return self._base is None and not self._lossy

    @property
    def base(self) -> Seq:
        """The newest message read, or included in the snapshot."""
        return self._base or Seq(0, 0)

    def push(self, message: Message) -> None:
        """One more message; never waits."""
        if len(self._queue) >= MOST_BEHIND:
            if self._lossy:
                self._queue.popleft()
            elif self._base is None:
                self._queue.clear()  # the snapshot to come includes them, or a gap will show
            else:
                self._slow = True
        self._queue.append(message)
        self._wake.set()
        if self._slow:
            self._queue.clear()

    def interrupt(self) -> None:
        """Something may have been missed."""
        self._base = None
        self._wake.set()

    def rebase(self, seq: Seq) -> None:
        """The reader has a snapshot that includes everything up to `seq`."""
        self._base = seq

    def take(self) -> list[Message]:
        """All that is there now; raises SlowSubscriber or Missed."""
        if self._slow:
            raise SlowSubscriber(self.topic)
        if self.missed:
            raise Missed(self.topic)
        fresh: list[Message] = []
        gap = False
        while self._queue and not gap:
            message = self._queue[0]
            if not self._lossy:
                base = self.base
                if message.seq <= base:  # from both ways, or in the snapshot
                    self._queue.popleft()
                    continue
                if gap := not base.precedes(message.seq):
                    break
                self._base = message.seq
            fresh.append(self._queue.popleft())
        if gap and not fresh:
            self._base = None
            raise Missed(self.topic)
        if not self._queue:
            self._wake.clear()
        return fresh

    async def wait(self) -> list[Message]:
        """At least one message; raises as `take` does."""
        while True:
            if messages := self.take():
                return messages
            await self._wake.wait()

    async def __aiter__(self) -> AsyncIterator[Message]:
        while True:
            for message in await self.wait():
                yield message

    def close(self) -> None:
        self._leave(self)
