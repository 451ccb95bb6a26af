"""The highest rung that holds, in few trials: climb in growing steps, then halve what is left.

A rung that fails is tried once more before it counts as failed: a neighbour on the machine must not
decide what a dialer can do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence


def rungs(lowest: float, highest: float, *, growth: float) -> list[int]:
    """Rates from `lowest` to at least `highest`, each `growth` times the one before."""
    if not 0 < lowest <= highest or growth <= 1:
        raise ValueError(f"expected 0 < lowest <= highest and growth above 1, got {growth}")
    found = [round(lowest)]
    while found[-1] < highest:
        found.append(max(round(found[-1] * growth), found[-1] + 1))
    return found


async def climb(
    ladder: Sequence[int],
    holds: Callable[[int], Awaitable[bool]],
    *,
    start: int,
    trials: int,
) -> int:
    """The highest rung known to hold after at most `trials` tries; 0 when none was seen to.

    `start`: the index of the first rung tried.
    """
    left = trials

    async def held(index: int) -> bool:
        nonlocal left
        for _ in range(2):
            if left <= 0:
                return False
            left -= 1
            if await holds(ladder[index]):
                return True
        return False

    low, high, step, index = -1, len(ladder), 2, start
    while left > 0 and high - low > 1:
        if await held(index):
            low = index
        else:
            high = index
        if high == len(ladder) and index < len(ladder) - 1:
            index = min(index + step, len(ladder) - 1)
            step *= 2
        elif low == -1:
            index = max(high - step, 0)
            step *= 2
        else:
            index = (low + high) // 2
    return ladder[low] if low >= 0 else 0
