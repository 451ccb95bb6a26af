"""A short visit to an Asterisk's manager: sign in, ask, leave. For whoever only looks.

The dialer's own link keeps trying; here a refusal is the answer.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from telephony.ami.frame import Fields
from telephony.ami.snapshot import snapshot
from telephony.ami.wire import Wire
from telephony.events import ChannelSnapshot
from telephony.switch import Refused

_SECONDS = 5.0  # s for each step


class Visit:
    """One signed-in account. Every question raises SwitchError when it is not answered well."""

    def __init__(self, wire: Wire) -> None:
        self._wire, self._ids = wire, itertools.count(1)

    async def ask(self, name: str, **fields: str) -> Sequence[Fields]:
        """The answer, a list as its items; raises Refused with Asterisk's words."""
        answer: list[Fields] = await self._wire.ask(
            name, f"v{next(self._ids)}", fields, timeout=_SECONDS
        )
        if str(answer[0].get("response", "")).lower() == "error":
            raise Refused(str(answer[0].get("message") or "refused").strip())
        return answer

    async def rights(self) -> frozenset[str]:
        """The classes this account may write, judged by the actions that Asterisk offers it: one
        that needs a single class is offered to those who have it."""
        (offered,) = await self.ask("ListCommands")
        classes = set()
        for text in map(str, offered.values()):
            _, found, privileges = text.rpartition("(Priv: ")
            needed = privileges.rstrip(")").split(",")
            if found and len(needed) == 2 and needed[1] == "all":
                classes.add(needed[0])
        return frozenset(classes)

    async def channels(self) -> Sequence[ChannelSnapshot]:
        """All live channels."""
        answer = await self.ask("CoreShowChannels")
        return tuple(snapshot(m) for m in answer if str(m.get("event")) == "CoreShowChannel")

    async def clock(self) -> float:
        """Asterisk's time, as seconds since 1970."""
        (pong,) = await self.ask("Ping")
        return float(str(pong.get("timestamp")))


@asynccontextmanager
async def visit(host: str, port: int, user: str, secret: str) -> AsyncIterator[Visit]:
    """Raises OSError or TimeoutError when nobody answers, Refused when the account is not let in,
    NotSent for values that cannot be sent."""
    wire = Wire(on_event=lambda message: None, on_lost=lambda reason: None)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_SECONDS):
            await loop.create_connection(lambda: wire, host, port)
            await wire.banner
        there = Visit(wire)
        await there.ask("Login", Username=user, Secret=secret, Events="off")
        yield there
    finally:
        wire.close("the visit is over")
