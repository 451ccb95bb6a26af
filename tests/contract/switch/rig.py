"""A switch under test with its events kept, whichever switch it is."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

from telephony.events import CallEnded, LegParked, SwitchEvent
from telephony.switch import EventSink, Originate, Switch
from tests.lab.scenario import number

E = TypeVar("E", bound=SwitchEvent)
_indexes = itertools.count(1)


class Heard:
    """An event sink in which tests wait."""

    def __init__(self) -> None:
        self.events: list[SwitchEvent] = []
        self._by: defaultdict[tuple[type, str], list[Any]] = defaultdict(list)
        self._changed = asyncio.Event()

    def __call__(self, event: SwitchEvent) -> None:
        self.events.append(event)
        for subject in {_subject(event), ""}:
            self._by[type(event), subject].append(event)
        self._changed.set()

    def of(self, kind: type[E], subject: str = "") -> list[E]:
        """The events of a kind, of one call or leg where it is given."""
        return list(self._by[kind, subject])

    async def wait(
        self, kind: type[E], subject: str = "", *, count: int = 1, timeout: float = 10.0
    ) -> E:
        """The `count`-th event of a kind, once it is there."""
        async with asyncio.timeout(timeout):
            while len(found := self._by[kind, subject]) < count:
                self._changed.clear()
                await self._changed.wait()
        event: E = found[count - 1]
        return event

    def order(self, subject: str) -> list[str]:
        """Names of the events of one call or leg, in order."""
        return [type(e).__name__ for e in self.events if _subject(e) == subject]


def _subject(event: SwitchEvent) -> str:
    return str(getattr(event, "call_id", "") or getattr(event, "leg_id", ""))


class Rig:
    """The switch, what it told, and its two faults that both kinds can do."""

    def __init__(
        self,
        switch: Switch,
        heard: Heard,
        *,
        cut: Callable[[], None],
        trunk: str,
        phone: str,
        another: Callable[[EventSink], Switch] | None = None,
    ) -> None:
        """`another` makes the switch of a second dialer on the same node, where a test asks."""
        self.switch, self.heard, self.cut = switch, heard, cut
        self.trunk, self.phone, self.another = trunk, phone, another

    def request(
        self,
        *,
        behaviour: int,
        delay: int = 0,
        talk: int = 9,
        ring_timeout: float = 8.0,
        window: float = 2.0,
        record: str = "",
        call_id: str = "",
        to: str = "",
    ) -> Originate:
        return Originate(
            call_id=call_id or str(uuid.uuid4()),
            number=to or number(behaviour=behaviour, delay=delay, talk=talk, index=next(_indexes)),
            trunk=self.trunk,
            caller_id="+12025550100",
            ring_timeout=ring_timeout,
            connect_window=window,
            abandon_sound="dialer-abandon",
            record=record,
        )

    async def call(self, request: Originate) -> CallEnded:
        """Place a call and wait for its end."""
        await self.switch.originate(request)
        return await self.heard.wait(CallEnded, request.call_id, timeout=20)

    async def leg(self) -> str:
        """An agent's leg, parked."""
        leg_id = f"leg-{uuid.uuid4()}"
        await self.switch.call_leg(
            leg_id, endpoint=self.phone, caller_id="dialer", ring_timeout=5.0
        )
        await self.heard.wait(LegParked, leg_id)
        return leg_id
