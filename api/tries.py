"""How often somebody may guess: failures counted by key, in a bounded memory."""

from __future__ import annotations

from collections import OrderedDict, deque

from telephony.clock import Clock


class Tries:
    """At most `most` failures of one key within `seconds`."""

    def __init__(self, clock: Clock, *, most: int, seconds: float, keys: int = 10_000) -> None:
        self._clock, self._most, self._seconds, self._keys = clock, most, seconds, keys
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def too_many(self, key: str) -> bool:
        """Whether this key has to rest now."""
        times = self._failures.get(key)
        if times is None:
            return False
        now = self._clock.monotonic()
        while times and times[0] <= now - self._seconds:
            times.popleft()
        return len(times) >= self._most

    def failed(self, key: str) -> None:
        """Count one; the key that failed least recently is forgotten when memory is full."""
        times = self._failures.setdefault(key, deque(maxlen=self._most))
        times.append(self._clock.monotonic())
        self._failures.move_to_end(key)
        if len(self._failures) > self._keys:
            self._failures.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """What was wrong before is forgiven."""
        self._failures.pop(key, None)
