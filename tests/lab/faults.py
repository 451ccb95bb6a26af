"""How many faults a test run injected, by kind: what the fault programme's total is made of."""

from __future__ import annotations

from collections import Counter

_injected: Counter[str] = Counter()


def injected(kind: str, count: int = 1) -> None:
    """Note that `count` faults of this kind were injected into real parts, just now.

    `kind` is "part: what was done", e.g. "dialer: kill -9". To be called after the fault took
    place, never for one that was only planned.
    """
    if count < 0:
        raise ValueError(f"{count} faults cannot have been injected")
    _injected[kind] += count


def tally() -> Counter[str]:
    """What was injected so far in this process."""
    return Counter(_injected)
