"""How this process is tied to Redis: clients that never send a command twice, and one listener.

redis-py repeats a command after a lost connection unless told not to. Here nothing may be repeated
behind our back: what a lost connection left undone is found out and decided by who sent it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

#: What a broken link to Redis raises.
BROKEN = (RedisError, OSError, TimeoutError)
PREFIX = "dialer:"
_ANSWER = 3.0  # s Redis may take to answer, beyond what it was asked to wait
_SILENCE = 5.0  # s without a word after which the listener asks whether Redis is there
_REST = (0.1, 3.0)  # s between tries to reach Redis: the first, the longest

Heard = Callable[[bytes], None]
T = TypeVar("T")


def connect(url: str, *, connections: int = 4) -> Redis:
    """A client for `redis://`, `rediss://` (TLS) or `unix://`, with user and password in the URL.

    Connections are made when they are needed.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=_ANSWER,  # to get one of them
        socket_timeout=None,  # `answer` limits it; redis-py's way loses cancellations on 3.11
        socket_connect_timeout=_ANSWER,
        health_check_interval=0,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
    )
    return Redis.from_pool(pool)


async def answer(work: Awaitable[T], *, beyond: float = 0.0) -> T:
    """The answer of Redis; raises TimeoutError when it stays away. `beyond`: s it was asked to
    wait."""
    async with asyncio.timeout(_ANSWER + beyond):
        return await work


class Rest:
    """Ever longer pauses with jitter, so that nodes do not come back in step."""

    def __init__(self, rng: random.Random) -> None:
        self._rng, self._next = rng, _REST[0]

    def reset(self) -> None:
        self._next = _REST[0]

    async def take(self) -> None:
        pause, self._next = self._next, min(self._next * 2, _REST[1])
        await asyncio.sleep(pause * self._rng.uniform(0.5, 1.0))


class Listener:
    """The one pub/sub connection of this process; `state` is `ok` or what is wrong with it."""

    def __init__(self, client: Redis, *, rng: random.Random) -> None:
        self._client, self._rest = client, Rest(rng)
        self._heard: dict[str, Heard] = {}
        self._confirmed: dict[str, asyncio.Event] = {}
        self._pubsub: PubSub | None = None
        self._on_up: list[Callable[[], None]] = []
        self.state = "not connected yet"
        self.up = asyncio.Event()

    def on_up(self, do: Callable[[], None]) -> None:
        """Do this after each connection: Redis may have forgotten everything."""
        self._on_up.append(do)

    def hear(self, channel: str, heard: Heard) -> None:
        """Before `run`: `heard` is called with each payload, in order, and must not wait."""
        self._heard[channel] = heard
        self._confirmed[channel] = asyncio.Event()

    async def add(self, channel: str, heard: Heard) -> None:
        """While running: returns when Redis has confirmed it, or will be told at the next
        connection."""
        self.hear(channel, heard)
        if self._pubsub is None:
            return
        try:
            await answer(self._pubsub.subscribe(channel))
            async with asyncio.timeout(1.0):
                await self._confirmed[channel].wait()
        except BROKEN as error:
            log.warning("channel not confirmed", action="bus_unconfirmed", error=name_of(error))

    async def remove(self, channel: str) -> None:
        """Hear no more; at once, whatever Redis says."""
        self._heard.pop(channel, None)
        self._confirmed.pop(channel, None)
        if self._pubsub is not None:
            try:
                await answer(self._pubsub.unsubscribe(channel))
            except BROKEN as error:
                log.warning("channel not left", action="bus_not_left", error=name_of(error))

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._listen()
            except BROKEN as error:
                if self.up.is_set() or self.state != name_of(error):
                    log.error("Redis lost", action="redis_down", error=name_of(error))
                self.state = name_of(error)
            finally:
                self.up.clear()
                pubsub, self._pubsub = self._pubsub, None
                if pubsub is not None:
                    await pubsub.aclose()  # type: ignore[no-untyped-call]
            await self._rest.take()

    async def _listen(self) -> None:
        for event in self._confirmed.values():
            event.clear()
        pubsub = self._client.pubsub()
        self._pubsub = pubsub
        await answer(pubsub.subscribe(*self._heard))
        asked = False
        while True:
            message = await pubsub.get_message(timeout=_SILENCE)
            if message is None:
                if asked:
                    raise TimeoutError("Redis is silent")
                asked = True
                await answer(pubsub.ping())
                continue
            asked = False
            self._take(message["type"], message["channel"], message["data"])

    def _take(self, kind: str, channel: bytes | None, data: object) -> None:
        name = channel.decode() if channel is not None else ""
        if kind == "subscribe" and name in self._confirmed:
            self._confirmed[name].set()
            if not self.up.is_set() and all(e.is_set() for e in self._confirmed.values()):
                self._is_up()
        elif kind == "message" and name in self._heard and isinstance(data, bytes):
            try:
                self._heard[name](data)
            except Exception:  # a malformed message must not silence the others
                log.exception("message not understood", action="bus_message_bad", channel=name)

    def _is_up(self) -> None:
        log.info("Redis connected", action="redis_up")
        self.state = "ok"
        self._rest.reset()
        self.up.set()
        for do in self._on_up:
            do()


def name_of(error: BaseException) -> str:
    """What may be shown of an error: its name. The text can hold the URL's password.

    redis-py makes a ConnectionError of most things; what is at its root says more.
    """
    inner = error.__cause__ or error.__context__
    return name_of(inner) if isinstance(inner, Exception) else type(error).__name__
