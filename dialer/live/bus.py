"""The bus as one part: feed, gateway and signals, in this process only or shared over Redis.

Signals are nudges without content ("there are new pools"): whoever misses one finds out at their
next look.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Protocol
from uuid import UUID, uuid4

import orjson
import structlog

from dialer.live.feed import Feed, LiveFeed, Message, Publisher, Seq, Subscription
from dialer.live.gateway import CommandGateway, LocalGateway
from dialer.live.redis_gateway import RedisGateway
from dialer.live.redis_link import BROKEN, PREFIX, Listener, answer, connect, name_of
from dialer.live.redis_outbox import LIVE, Outbox
from dialer.live.redis_tail import Tail
from telephony.clock import Clock

log = structlog.get_logger(__name__)

_SIGNALS = f"{PREFIX}signals"
_STANDING = f"{PREFIX}standing"  # heard by every process that could take a pool over


class Bus(Protocol):
    """What joins the processes of one installation."""

    @property
    def feed(self) -> LiveFeed: ...

    @property
    def gateway(self) -> CommandGateway: ...

    @property
    def state(self) -> str:
        """`ok`, or what is wrong."""
        ...

    def on_signal(self, name: str, do: Callable[[], None]) -> None:
        """Do this whenever any process signals it."""
        ...

    def signal(self, name: str) -> None:
        """Nudge all processes, this one included; never waits."""
        ...

    async def others(self) -> int:
        """How many other processes could take a pool over: those that are not stopping."""
        ...

    async def stand_down(self) -> None:
        """This process stops: no pool is to be left to it."""
        ...

    async def run(self) -> None:
        """The bus's own work, until cancelled; it must live as long as the process."""
        ...

    async def settled(self, timeout: float = 2.0) -> bool:
        """Wait until other processes can have all that was posted, for `timeout` s at most."""
        ...

    async def close(self) -> None:
        """Let go, after `run` has ended."""
        ...


class _Signals:
    def __init__(self) -> None:
        self._do: dict[str, list[Callable[[], None]]] = {}

    def on(self, name: str, do: Callable[[], None]) -> None:
        self._do.setdefault(name, []).append(do)

    def give(self, name: str) -> None:
        for do in self._do.get(name, ()):
            do()


class MemoryBus:
    """All in one process."""

    def __init__(self, clock: Clock) -> None:
        self.feed: LiveFeed = Feed(clock)
        self.gateway: CommandGateway = LocalGateway()
        self.state = "ok"
        self._signals = _Signals()

    def on_signal(self, name: str, do: Callable[[], None]) -> None:
        self._signals.on(name, do)

    def signal(self, name: str) -> None:
        self._signals.give(name)

    async def others(self) -> int:
        return 0

    async def stand_down(self) -> None: ...

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def settled(self, timeout: float = 2.0) -> bool:
        return True

    async def close(self) -> None: ...


class RedisFeed:
    """Owners here speak to subscribers here directly; to the others through the streams."""

    def __init__(self, local: Feed, tail: Tail) -> None:
        self._local, self._tail = local, tail

    def own(self, pool_id: UUID, epoch: int) -> Publisher:
        return self._local.own(pool_id, epoch)

    async def subscribe(self, topic: str, after: Seq | None) -> Subscription:
        if self._local.log(topic) is not None:
            return await self._local.subscribe(topic, after)
        return await self._tail.open(topic, after)

    def watch(self, topic: str) -> Subscription:
        return self._local.watch(topic)


class RedisBus:
    """One of several processes that share a Redis."""

    def __init__(self, url: str, *, clock: Clock, rng: random.Random | None = None) -> None:
        rng = rng or random.Random()
        self._origin = uuid4().hex
        self._client = connect(url)  # commands, claims, backlogs
        self._writing = connect(url, connections=1)
        self._reading = connect(url, connections=1)
        self._hearing = connect(url, connections=1)
        self._outbox = Outbox(self._writing, origin=self._origin, rng=rng)
        self._local = Feed(
            clock,
            posted=self._outbox.posted,
            shown=self._outbox.shown,
            orphaned=lambda: self._tail.look(),
        )
        self._tail = Tail(self._reading, self._client, self._local, rng=rng)
        self._listener = Listener(self._hearing, rng=rng)
        self._listener.hear(LIVE, self._on_live)
        self._listener.hear(_SIGNALS, self._on_signal)
        self._listener.hear(_STANDING, lambda data: None)
        self._stands = True
        self._listener.on_up(lambda: self._outbox.distrust(self._local.logs()))
        self._signals = _Signals()
        self._signalled: set[asyncio.Task[None]] = set()
        self._remote = RedisGateway(self._client, self._listener, origin=self._origin)
        self.gateway: CommandGateway = self._remote
        self.feed: LiveFeed = RedisFeed(self._local, self._tail)

    @property
    def state(self) -> str:
        parts = (self._listener.state, self._outbox.state, self._tail.state)
        return next((state for state in parts if state != "ok"), "ok")

    def on_signal(self, name: str, do: Callable[[], None]) -> None:
        self._signals.on(name, do)

    def signal(self, name: str) -> None:
        self._signals.give(name)
        task = asyncio.get_running_loop().create_task(self._send(name), name=f"signal-{name}")
        self._signalled.add(task)
        task.add_done_callback(self._signalled.discard)

    async def _send(self, name: str) -> None:
        try:
            signal = orjson.dumps({"from": self._origin, "name": name})
            await answer(self._client.publish(_SIGNALS, signal))
        except BROKEN as error:
            log.warning("signal lost", action="bus_signal_lost", error=name_of(error))

    async def others(self) -> int:
        try:
            ((_, count),) = await answer(self._client.pubsub_numsub(_STANDING))
        except BROKEN as error:
            log.warning("others unknown", action="bus_others_unknown", error=name_of(error))
            return 0
        return max(int(count) - self._stands, 0)

    async def stand_down(self) -> None:
        self._stands = False
        await self._listener.remove(_STANDING)

    def _on_signal(self, data: bytes) -> None:
        signal = orjson.loads(data)
        if signal["from"] != self._origin:
            self._signals.give(signal["name"])

    def _on_live(self, data: bytes) -> None:
        head, _, frame = data.partition(b"\n")
        origin, topic, seq, kind = head.decode().split(" ")
        if origin != self._origin:
            self._local.hand_over(topic, Message(Seq.parse(seq), kind, frame))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listener.run(), name="bus-listener")
            group.create_task(self._outbox.run(), name="bus-outbox")
            group.create_task(self._tail.run(), name="bus-tail")

    async def settled(self, timeout: float = 2.0) -> bool:
        try:
            async with asyncio.timeout(timeout):
                await self._outbox.written()
        except TimeoutError:
            log.warning("the bus kept messages", action="bus_unwritten")
            return False
        return True

    async def close(self) -> None:
        await self._remote.close()
        for task in list(self._signalled):
            task.cancel()
        await asyncio.gather(*self._signalled, return_exceptions=True)
        for client in (self._client, self._writing, self._reading, self._hearing):
            await client.aclose()


def open_bus(url: str, *, clock: Clock) -> RedisBus | MemoryBus:
    """The bus that the settings ask for: '' = in memory."""
    return RedisBus(url, clock=clock) if url else MemoryBus(clock)
