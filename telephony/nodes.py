"""Several Asterisk nodes as one switchboard: started, stopped and asked together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence

from telephony.events import NodeDown, NodeUp, SwitchEvent
from telephony.switch import EventSink, NotSent, Switch


class Switchboard:
    """Owns the switches; their events come out of one sink, in order for each node.

    `make` builds a node's switch around the sink it is given.
    """

    def __init__(self, makers: Mapping[str, Callable[[EventSink], Switch]]) -> None:
        self._sinks: list[EventSink] = []
        self._changed = asyncio.Event()
        self._down_since: dict[str, float] = {}  # by the loop's clock
        self._switches = {name: make(self._on_event) for name, make in makers.items()}

    @property
    def names(self) -> Sequence[str]:
        return tuple(self._switches)

    def switch(self, node: str) -> Switch:
        """The node's switch; raises NotSent for an unknown one."""
        try:
            return self._switches[node]
        except KeyError:
            raise NotSent(f"no Asterisk node {node!r}") from None

    def up(self) -> list[Switch]:
        return [s for s in self._switches.values() if s.is_up]

    def down(self) -> list[str]:
        return [name for name, s in self._switches.items() if not s.is_up]

    def listen(self, sink: EventSink) -> None:
        """Add a listener (an engine); each hears everything."""
        self._sinks.append(sink)

    def unlisten(self, sink: EventSink) -> None:
        self._sinks.remove(sink)

    async def start(self) -> None:
        now = asyncio.get_running_loop().time()
        self._down_since = dict.fromkeys(self._switches, now)
        for switch in self._switches.values():
            await switch.start()

    async def stop(self) -> None:
        for switch in self._switches.values():
            await switch.stop()

    async def settled(self, patience: float) -> None:
        """Return when every node is up, or has been away for `patience` seconds: who was given that
        long is not waited for again."""
        loop = asyncio.get_running_loop()
        while down := self.down():
            since = min(loop.time() - self._down_since.get(name, 0.0) for name in down)
            if since >= patience:
                return
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience - since):
                    await self._changed.wait()

    def _on_event(self, event: SwitchEvent) -> None:
        if isinstance(event, (NodeUp, NodeDown)):
            self._changed.set()
        if isinstance(event, NodeDown):
            self._down_since[event.node] = asyncio.get_running_loop().time()
        for sink in self._sinks:
            sink(event)
