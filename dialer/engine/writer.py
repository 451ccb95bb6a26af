"""Writes of call state, batched: one transaction every 50 ms instead of several per call.

Nothing that an answered person waits for touches the disk: callers put a value and go on. When the
database is away the writes wait here, in order, and go out when it is back; `healthy` turns false,
and the engine places no new calls meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from dialer.domain.errors import Unavailable
from dialer.domain.work import (
    Conversation,
    DispositionWrite,
    DoNotCall,
    PoolStore,
    RecordingWrite,
    StoreInTrouble,
    Write,
)
from dialer.engine.lease import LeaseKeeper

log = structlog.get_logger(__name__)

_MOST = 2_000  # writes in one transaction: bounds its length in time
_SHORTEST, _LONGEST = 0.1, 2.0  # s between tries
_TRIES = 3


#: What happened, whoever owns the pool by now; all other writes depend on what was before them.
#: Agents' time is not among them: whoever comes next goes on from what was written of it.
_FACTS = (Conversation, DispositionWrite, DoNotCall, RecordingWrite)


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """The writes that an engine could not get rid of before it lost its pool, for the next engine
    of the same process."""

    epoch: int
    writes: tuple[Write, ...] = ()

    def for_epoch(self, epoch: int) -> tuple[Write, ...]:
        """All of them, when nobody owned the pool in between; else only what is true anyway."""
        if epoch == self.epoch + 1:
            return self.writes
        return tuple(w for w in self.writes if isinstance(w, _FACTS))


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

    def left_behind(self) -> tuple[Write, ...]:
        """What was never committed (or never heard to be), in order."""
        return tuple(self._queue)

    def unwritten_blocks(self) -> frozenset[tuple[UUID, str]]:
        """(client, number) of the do-not-call requests that the store does not know of yet."""
        return frozenset((w.client_id, w.number) for w in self._queue if isinstance(w, DoNotCall))

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
        backoff, refusals = _SHORTEST, 0
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                batch = [self._queue[i] for i in range(min(len(self._queue), _MOST))]
                try:
                    await self._commit(batch)
                    backoff, refusals = _SHORTEST, 0
                    continue
                except (Unavailable, asyncio.CancelledError):
                    raise
                except Exception as error:
                    self.healthy = False
                    to_blame = not isinstance(error, StoreInTrouble)  # the batch, perhaps
                    log.error(
                        "writes wait",
                        action="write_failed",
                        error=repr(error),
                        backlog=len(self._queue),
                    )
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, _LONGEST)
                refusals = refusals + 1 if to_blame and await self._answers() else 0
                if refusals >= _TRIES:
                    refusals = 0
                    await self._one_by_one(batch)
            if self._stopping:
                return
            await asyncio.sleep(self._interval)  # gather a batch

    async def _answers(self) -> bool:
        """Whether the store is there at all; raises when it has another owner for us."""
        try:
            await self._store.write(self._lease.current, [])
        except (Unavailable, asyncio.CancelledError):
            raise
        except Exception:
            return False
        return True

    async def _one_by_one(self, batch: Sequence[Write]) -> None:
        """The store is there and would not take the batch: one impossible write must not hold up
        the others for ever. It has to fail three times while the store answers, and for a reason
        of its own: a full disk takes no write, and lets us ask."""
        for write in batch:
            for attempt in range(_TRIES):
                try:
                    await self._commit([write])
                    break
                except (Unavailable, asyncio.CancelledError):
                    raise
                except Exception as error:
                    self.healthy = False
                    if isinstance(error, StoreInTrouble) or not await self._answers():
                        return  # away again: from here on later
                    if attempt + 1 == _TRIES:
                        await self._refuse(write, error)
                        break
                await asyncio.sleep(_SHORTEST)

    async def _refuse(self, write: Write, error: Exception) -> None:
        self.refused += 1
        log.error(  # the error's text may quote the row
            "write refused",
            action="write_refused",
            kind=type(write).__name__,
            error=type(error).__name__,
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
