"""Writes of call state, batched: one transaction every 50 ms instead of several per call.

Nothing that an answered person waits for touches the disk: callers put a value and go on. When the
database is away the writes wait here, in order, and go out when it is back; `healthy` turns false,
and the engine places no new calls meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import structlog

from dialer.domain.errors import DialerError, LeaseLost, Unavailable
from dialer.domain.work import PoolStore, Write
from dialer.engine.lease import LeaseKeeper

log = structlog.get_logger(__name__)

_MOST = 2_000  # writes in one transaction: bounds its length in time


class BatchWriter:
    """An ordered queue of writes and the loop that empties it."""

    def __init__(
        self, store: PoolStore, lease: LeaseKeeper, *, interval: float, capacity: int
    ) -> None:
        self._store, self._lease = store, lease
        self._interval, self._capacity = interval, capacity
        self._queue: deque[Write] = deque()
        self._wake = asyncio.Event()
        self._put = 0
        self._written = 0
        self._moved = asyncio.Condition()
        self._stopping = False
        self.healthy = True
        self.refused = 0

    def put(self, *writes: Write) -> None:
        """Queue writes; never waits."""
        self._queue.extend(writes)
        self._put += len(writes)
        if len(self._queue) > self._capacity:
            self.healthy = False
        self._wake.set()

    @property
    def backlog(self) -> int:
        return len(self._queue)

    async def flushed(self) -> None:
        """Return when everything put so far is committed."""
        target = self._put
        async with self._moved:
            await self._moved.wait_for(lambda: self._written >= target)

    async def stop(self) -> None:
        """Let `run` end once the queue is empty."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Empty the queue until stopped; raises LeaseLost when the pool has another owner."""
        backoff = 0.1
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                batch = [self._queue[i] for i in range(min(len(self._queue), _MOST))]
                try:
                    await self._commit(batch)
                    backoff = 0.1
                except (LeaseLost, asyncio.CancelledError):
                    raise
                except DialerError as error:
                    if isinstance(error, Unavailable):
                        raise
                    await self._one_by_one(batch)
                except Exception as error:
                    self.healthy = False
                    log.error(
                        "writes wait",
                        action="write_failed",
                        error=repr(error),
                        backlog=len(self._queue),
                    )
                    await asyncio.sleep(backoff)
                    backoff = min(backoff * 2, 2.0)
            if self._stopping:
                return
            await asyncio.sleep(self._interval)  # gather a batch

    async def _one_by_one(self, batch: Sequence[Write]) -> None:
        # The store refused a write as impossible: the others must not wait for it for ever.
        for write in batch:
            try:
                await asyncio.shield(self._store.write(self._lease.current, [write]))
            except DialerError as error:
                if isinstance(error, Unavailable):
                    raise
                self.refused += 1
                log.error(
                    "write refused",
                    action="write_refused",
                    kind=type(write).__name__,
                    error=error.detail,
                )
            await self._done(1)

    async def _commit(self, batch: Sequence[Write]) -> None:
        # Shielded: a cancelled engine must not leave a batch half known.
        await asyncio.shield(self._store.write(self._lease.current, batch))
        await self._done(len(batch))

    async def _done(self, count: int) -> None:
        for _ in range(count):
            self._queue.popleft()
        self.healthy = True
        async with self._moved:
            self._written += count
            self._moved.notify_all()
