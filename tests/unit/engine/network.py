"""A twin node watched from outside: what the network saw, whoever was dialing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from dialer.engine.agents import agent_of_leg
from telephony.clock import Clock
from telephony.events import (
    CallAnswered,
    CallBridged,
    CallEnd,
    CallEnded,
    CallStaged,
    CallStarted,
    CallUnbridged,
    Stage,
    SwitchEvent,
)
from telephony.twin import TwinNode
from tests.lab.records import Bridge, Call


@dataclass(slots=True)
class _Seen:
    number: str
    at: float
    analysed: bool
    answered: float | None = None
    ended: float | None = None
    message: float | None = None
    bridges: list[tuple[str, float, float | None]] = field(default_factory=list)
    machine: bool = False
    by_us: bool = False
    unseen: bool = False


class Watch:
    """Attached to a node like a switch; keeps its history."""

    def __init__(self, node: TwinNode, *, clock: Clock, start: datetime) -> None:
        self._node, self._clock, self._start = node, clock, start
        self._calls: dict[str, _Seen] = {}
        self.repeated: list[str] = []
        node.attach(self)

    def hear(self, event: SwitchEvent) -> None:
        if isinstance(event, CallStarted):
            channel = self._node.channels.get(event.call_id) or self._node.ended[event.call_id]
            assert channel.request is not None
            if event.call_id in self._calls:
                self.repeated.append(event.call_id)
            request = channel.request
            self._calls[event.call_id] = _Seen(request.number, event.at, request.analyse)
            return
        seen = self._calls.get(getattr(event, "call_id", ""))
        if seen is None:
            return
        match event:
            case CallAnswered():
                seen.answered = event.at
            case CallStaged(stage=Stage.MESSAGE):
                seen.message = event.at
            case CallStaged(stage=Stage.MACHINE):
                seen.machine = True
            case CallBridged():
                seen.bridges.append((event.leg_id, event.at, None))
            case CallUnbridged():
                self._part(seen, event.at)
            case CallEnded():
                seen.ended, seen.by_us = event.at, event.end is CallEnd.HUNG_UP_NEAR
                self._part(seen, event.at)

    @staticmethod
    def _part(seen: _Seen, at: float) -> None:
        if seen.bridges and seen.bridges[-1][2] is None:
            leg, since, _ = seen.bridges[-1]
            seen.bridges[-1] = (leg, since, at)

    def node_gone(self) -> None:
        now = self._clock.monotonic()
        for seen in self._calls.values():
            if seen.ended is None:
                seen.ended, seen.unseen = now, True
                self._part(seen, now)

    def node_back(self) -> None:
        """Nothing lives."""

    def _at(self, seconds: float) -> datetime:
        return self._start + timedelta(seconds=seconds)

    def _maybe(self, seconds: float | None) -> datetime | None:
        return None if seconds is None else self._at(seconds)

    def calls(self) -> list[Call]:
        return [
            Call(
                id=call_id,
                number=seen.number,
                at=self._at(seen.at),
                answered_at=self._maybe(seen.answered),
                ended_at=self._maybe(seen.ended),
                message_at=self._maybe(seen.message),
                bridges=tuple(
                    Bridge(str(agent_of_leg(leg)), self._at(since), self._maybe(until))
                    for leg, since, until in seen.bridges
                ),
                analysed=seen.analysed,
                machine=seen.machine,
                ended_by_us=seen.by_us,
                ended_unseen=seen.unseen,
            )
            for call_id, seen in self._calls.items()
        ]
