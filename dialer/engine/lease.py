"""One owner per pool: the lease, renewed in time, given up before anyone else can take it.

The database judges expiry by its own clock. The owner judges by a monotonic deadline that it set
*before* it asked, so that a slow answer makes it give up early, never late.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import structlog

from dialer.domain.errors import LeaseLost
from dialer.domain.work import Lease, PoolStore
from telephony.clock import Clock

log = structlog.get_logger(__name__)


class LeaseKeeper:
    """Acquires and renews; `lost` is set when ownership can no longer be proved."""

    def __init__(
        self,
        store: PoolStore,
        pool_id: UUID,
        *,
        owner: str,
        seconds: float,
        margin: float,
        clock: Clock,
    ) -> None:
        if margin >= seconds:
            raise ValueError(f"expected a margin below the lease of {seconds} s, got {margin}")
        self._store, self._pool_id, self._owner = store, pool_id, owner
        self._seconds, self._margin, self._clock = seconds, margin, clock
        self._deadline = 0.0
        self.lease: Lease | None = None
        self.lost = asyncio.Event()
        self._freed = asyncio.Event()

    def freed(self) -> None:
        """Somebody gave a pool up: ask now."""
        self._freed.set()

    @property
    def current(self) -> Lease:
        """The lease to write under; raises LeaseLost when the deadline has passed."""
        if self.lease is None or self.lost.is_set() or self._clock.monotonic() >= self._deadline:
            self.lost.set()
            raise LeaseLost(f"pool {self._pool_id} is not owned by {self._owner} any more")
        return self.lease

    @property
    def held(self) -> bool:
        return (
            self.lease is not None
            and not self.lost.is_set()
            and self._clock.monotonic() < self._deadline
        )

    async def acquire(self, *, poll: float) -> Lease:
        """Wait until the lease is ours, asking every `poll` seconds and whenever one is freed."""
        while True:
            self._freed.clear()
            asked = self._clock.monotonic()
            lease = await self._store.acquire(
                self._pool_id, owner=self._owner, seconds=self._seconds
            )
            if lease is not None:
                self.lease = lease
                self._deadline = asked + self._seconds - self._margin
                log.info("pool owned", action="lease_acquired", epoch=lease.epoch)
                return lease
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(poll):
                    await self._freed.wait()

    async def keep(self) -> None:
        """Renew at a third of the lease until it is lost; then set `lost` and return."""
        wait = self._seconds / 3
        while not self.lost.is_set():
            left = self._deadline - self._clock.monotonic()
            if left <= 0:
                break
            await asyncio.sleep(max(min(wait, left), 0.001))
            asked = self._clock.monotonic()
            held = self.lease
            if held is None:
                return  # given up by ourselves
            if asked >= self._deadline:
                break
            try:
                async with asyncio.timeout(self._deadline - asked):
                    lease = await self._store.renew(held)
                if self.lost.is_set() or self._clock.monotonic() >= self._deadline:
                    break  # an answer after the deadline: what happened meanwhile was not heard
                if self.lease is not held:
                    return  # given up while the answer was on its way
                self.lease, self._deadline = lease, asked + self._seconds - self._margin
                wait = self._seconds / 3
            except LeaseLost:
                break
            except Exception as error:  # the database is away: try until the deadline
                log.warning("lease not renewed", action="lease_renew_failed", error=repr(error))
                wait = min(0.5, self._seconds / 10)
        log.error("pool lost", action="lease_lost", pool=str(self._pool_id))
        self.lost.set()

    async def confirm(self) -> None:
        """Ask the database now whether the pool is still ours; raises LeaseLost when it is not, and
        what the store raises."""
        lease, asked = self.current, self._clock.monotonic()
        try:
            async with asyncio.timeout(self._deadline - asked):
                renewed = await self._store.renew(lease)
        except LeaseLost:
            self.lost.set()
            raise
        if self.current is lease:  # raises when the answer came after the deadline
            self.lease = renewed
            self._deadline = max(self._deadline, asked + self._seconds - self._margin)

    @property
    def age(self) -> float:
        """Seconds since the last proof of ownership was asked for."""
        return self._clock.monotonic() - (self._deadline - self._seconds + self._margin)

    async def release(self, *, handover: Mapping[str, Any] | None = None) -> None:
        """Give the pool up, so that another owner need not wait. `handover`: what they are told."""
        lease, self.lease = self.lease, None
        if lease is not None and not self.lost.is_set():
            await self._store.release(lease, handover=handover)
