"""The only place that reads time.

Everything else takes a `Clock`, so that tests and the simulator own time and a stepped machine
clock is a test case instead of an incident.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one that only moves forward, one that people read."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back. For durations and deadlines."""
        ...

    def now(self) -> datetime:
        """The calendar time, timezone-aware, in UTC. May jump."""
        ...


class SystemClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        # With the time the machine was suspended, which a lease in a database does not wait for.
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass(slots=True)
class ManualClock:
    """A clock that moves when it is told to."""

    wall: datetime
    seconds: float = field(default=0.0)

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return self.wall

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass on both clocks."""
        if seconds < 0:
            raise ValueError(f"expected a duration >= 0, got {seconds}")
        self.seconds += seconds
        self.wall += timedelta(seconds=seconds)

    def step(self, seconds: float) -> None:
        """Step the calendar clock only, as an operator or NTP would."""
        self.wall += timedelta(seconds=seconds)


@dataclass(slots=True)
class SteppedClock:
    """Another clock whose calendar somebody sets, at once (`step`) or little by little (`slew`)."""

    real: Clock
    _off: float = field(default=0.0, init=False)  # s, at `_since`
    _rate: float = field(default=0.0, init=False)  # s a second
    _since: float = field(default=0.0, init=False)

    def monotonic(self) -> float:
        return self.real.monotonic()

    def now(self) -> datetime:
        return self.real.now() + timedelta(seconds=self.off)

    @property
    def off(self) -> float:
        """Seconds that it is ahead of the real clock."""
        return self._off + self._rate * (self.real.monotonic() - self._since)

    def step(self, seconds: float) -> None:
        """Set the calendar ahead, or back."""
        self._off += seconds

    def slew(self, rate: float) -> None:
        """From now on run ahead by `rate` seconds a second (behind, when below 0); 0 ends it."""
        self._off, self._since, self._rate = self.off, self.real.monotonic(), rate


@dataclass(frozen=True, slots=True)
class LoopClock:
    """Follows the running event loop's time, so that virtual time moves both clocks."""

    start: datetime  # the calendar time at the loop's second 0

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def now(self) -> datetime:
        return self.start + timedelta(seconds=asyncio.get_running_loop().time())
