"""How long each node has been away, each time anew: two short cuts are no long one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Downtime:
    """Calls `too_long` with a node's name once it was away for `grace` seconds without a break."""

    def __init__(self, grace: float, *, too_long: Callable[[str], None]) -> None:
        self._grace, self._too_long = grace, too_long
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def began(self, node: str) -> None:
        self.over(node)
        loop = asyncio.get_running_loop()
        self._timers[node] = loop.call_later(self._grace, self._passed, node)

    def over(self, node: str) -> None:
        """The node is back."""
        if (timer := self._timers.pop(node, None)) is not None:
            timer.cancel()

    def forget(self) -> None:
        """Nobody is interested any more."""
        for node in list(self._timers):
            self.over(node)

    def _passed(self, node: str) -> None:
        del self._timers[node]
        self._too_long(node)
