"""Whether this process runs: a beat of its event loop, and what is to be done after a standstill.

A loop that was blocked, or a process that was stopped or suspended, decides from what it knew
before. Whoever is about to act looks at the beat first, so that a standstill is found by the first
thing that runs after it, in whatever order things run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from dialer.engine.timing import Timing
from telephony.clock import Clock

Stalled = Callable[[float], None]  # seconds

_BEAT = 0.1  # s
_MINUTE = 60.0


class Heartbeat:
    """One for each process. `last` may be read from any thread."""

    def __init__(self, clock: Clock, *, limit: float) -> None:
        """`limit`: seconds after which what was known is doubted; the lease's margin."""
        self._clock, self._limit = clock, limit
        self._listeners: dict[Stalled, None] = {}  # in order
        self._recent: deque[tuple[float, float]] = deque()
        self.last = 0.0  # 0: it does not beat yet
        #: How late each beat was.
        self.lag = Timing()
        self.stalls = 0

    def on_stall(self, do: Stalled) -> Callable[[], None]:
        """Do this after each standstill, before anything else is; returns what ends it."""
        self._listeners[do] = None
        return lambda: self._listeners.pop(do, None)

    def look(self) -> None:
        """Find a standstill that has just ended. Cheap; before anything that must not be stale."""
        if not self.last:
            return
        now = self._clock.monotonic()
        gap = now - self.last
        if gap <= self._limit:
            return
        self.last = now
        self.stalls += 1
        self._note(gap, now)
        for listener in list(self._listeners):
            listener(gap)

    def worst(self) -> float:
        """The longest lag of the last minute, in seconds."""
        horizon = self._clock.monotonic() - _MINUTE
        return max((lag for at, lag in self._recent if at >= horizon), default=0.0)

    def _note(self, lag: float, now: float) -> None:
        self.lag.add(lag)
        self._recent.append((now, lag))
        while self._recent[0][0] < now - _MINUTE:
            self._recent.popleft()

    async def run(self) -> None:
        """Beat until cancelled."""
        self.last = self._clock.monotonic()
        while True:
            await asyncio.sleep(_BEAT)
            self.look()
            now = self._clock.monotonic()
            self._note(max(now - self.last - _BEAT, 0.0), now)
            self.last = now
