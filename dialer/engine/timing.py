"""How long things took: counts in fixed buckets, cheap enough for every call of a dialer."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator

#: Upper bounds in seconds: one millisecond apart where the promises are, wider above.
BOUNDS = (
    *(n / 1000 for n in range(1, 21)),
    *(n / 1000 for n in range(25, 101, 5)),
    0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0,
)  # fmt: skip


class Timing:
    """A histogram for metrics, and the last values for the live board."""

    def __init__(self, *, recent: int = 2000) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0  # seconds
        self.recent: deque[float] = deque(maxlen=recent)

    def add(self, seconds: float) -> None:
        """One more; a negative duration (a bug elsewhere) counts as none."""
        seconds = max(seconds, 0.0)
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds
        self.recent.append(seconds)

    @property
    def count(self) -> int:
        return sum(self.counts)

    def cumulative(self) -> Iterator[tuple[str, int]]:
        """(upper bound, how many were at most that), the last bound being +Inf."""
        so_far = 0
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self.counts, strict=True):
            so_far += count
            yield bound, so_far
