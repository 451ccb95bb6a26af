"""Trunks: lines, calls per second, where they may call, and a breaker that spares a list.

A trunk that suddenly fails what it should not (congestion, or "not found" for number after number)
is taken out before it burns a list; after a while one call tries it again. All times come from the
caller's clock (seconds, monotonic).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

from telephony.destinations import COSTLY, allowed

_GATHER = 0.25  # s of its rate that an idle trunk may catch up with


class Breaker(Enum):
    CLOSED = "closed"  # in use
    OPEN = "open"  # out of use until `retry_at`
    HALF_OPEN = "half_open"  # one call tries it


@dataclass(frozen=True, slots=True)
class TrunkSettings:
    """One way out to the network."""

    name: str  # the PJSIP endpoint's name
    node: str
    host: str
    lines: int = 100
    calls_per_second: float = 20.0
    prefixes: tuple[str, ...] = ("+",)  # E.164 prefixes that may be called
    refused: tuple[str, ...] = COSTLY  # prefixes that may not, whatever `prefixes` says
    window: int = 20  # calls the breaker looks at
    trip_share: float = 0.8  # share of them that failed
    rest: float = 30.0  # s out of use


@dataclass(slots=True)
class Trunk:
    """A trunk at work. Not thread-safe: one event loop."""

    settings: TrunkSettings
    used: int = 0
    breaker: Breaker = Breaker.CLOSED
    reason: str = ""
    retry_at: float = 0.0
    _tokens: float = 1.0
    _refilled: float = 0.0
    _last: deque[bool] = field(default_factory=deque)  # True: failed as a trunk fails

    def may_call(self, number: str) -> bool:
        """Whether the trunk's prefixes allow this E.164 number."""
        settings = self.settings
        return allowed(number, prefixes=settings.prefixes, refused=settings.refused)

    def free_lines(self, now: float) -> int:
        """Lines that a new call could take now."""
        if self.breaker is Breaker.OPEN:
            if now < self.retry_at:
                return 0
            self.breaker, self.reason = Breaker.HALF_OPEN, "one call tries it"
        if self.breaker is Breaker.HALF_OPEN:
            return 1 if self.used == 0 else 0
        return max(self.settings.lines - self.used, 0)

    def tokens(self, now: float) -> float:
        """Calls that may leave now. Little gathers: a trunk that was idle must not be sent two
        seconds' worth within one, which its carrier would refuse."""
        rate = self.settings.calls_per_second
        most = max(rate * _GATHER, 1.0)
        if self._refilled:
            self._tokens = min(self._tokens + max(now - self._refilled, 0.0) * rate, most)
        else:
            self._tokens = most
        self._refilled = now
        return self._tokens

    def take(self, now: float) -> bool:
        """Take a line and a token, if there are; the line is given back by `release`."""
        if self.free_lines(now) < 1 or self.tokens(now) < 1.0:
            return False
        self.used += 1
        self._tokens -= 1.0
        return True

    def adopt(self) -> None:
        """A call found alive takes its line without asking."""
        self.used += 1

    def release(self) -> None:
        self.used = max(self.used - 1, 0)

    def report(self, *, trunk_failure: bool, now: float, what: str = "") -> None:
        """The result of one call. `trunk_failure`: congestion, or a suspicious "not found"."""
        if self.breaker is Breaker.HALF_OPEN:
            if trunk_failure:
                self._trip(now, what)
            else:
                self.breaker, self.reason = Breaker.CLOSED, ""
                self._last.clear()
            return
        self._last.append(trunk_failure)
        if len(self._last) > self.settings.window:
            self._last.popleft()
        failures = sum(self._last)
        if (
            self.breaker is Breaker.CLOSED
            and len(self._last) >= self.settings.window
            and failures >= self.settings.trip_share * self.settings.window
        ):
            self._trip(now, f"{failures} of the last {len(self._last)} calls failed: {what}")

    def _trip(self, now: float, what: str) -> None:
        self.breaker, self.reason = Breaker.OPEN, what
        self.retry_at = now + self.settings.rest
        self._last.clear()
