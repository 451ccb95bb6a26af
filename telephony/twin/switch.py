"""The switch port over a twin node, with a link that loses things when told to.

Faults are commands: `refuse`, `lose_request`, `lose_answer`, `cut`. A lost request or answer raises
Unanswered and costs the link, as it does the real switch; when it is back the switch tells what
went by while it was away, then NodeUp.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from telephony.clock import Clock
from telephony.events import (
    CallAnswered,
    CallBridged,
    CallEnd,
    CallEnded,
    CallId,
    CallStarted,
    CallUnbridged,
    ChannelSnapshot,
    LegEnded,
    LegId,
    LegParked,
    LegUp,
    NodeDown,
    NodeUp,
    SwitchEvent,
)
from telephony.sendable import check_name, check_originate, check_sound
from telephony.switch import Begun, EventSink, NotSent, Originate, Refused, Unanswered
from telephony.twin.channel import Channel
from telephony.twin.node import TwinNode

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Known:
    """What this switch had told of a channel when its link went."""

    leg: bool
    started: bool
    answered: bool
    parked: bool
    partner: str


class TwinSwitch:
    """One dialer's view of a `TwinNode`."""

    def __init__(
        self, node: TwinNode, *, sink: EventSink, clock: Clock, reconnect: float = 0.2
    ) -> None:
        self._node, self._sink, self._clock = node, sink, clock
        self._reconnect = reconnect  # s until a cut link is back
        self._is_up = self._wanted = False
        self._boots = 0
        self._timer: asyncio.TimerHandle | None = None
        self._known: dict[str, _Known] = {}
        self._refusals = self._lost_requests = self._lost_answers = 0

    @property
    def node(self) -> str:
        return self._node.name

    @property
    def is_up(self) -> bool:
        return self._is_up

    async def start(self) -> None:
        if not self._wanted:
            self._wanted = True
            self._node.attach(self)
            self._connect()

    async def stop(self) -> None:
        self._wanted = self._is_up = False
        self._node.detach(self)
        if self._timer is not None:
            self._timer.cancel()

    # -- faults -----------------------------------------------------------------------------------

    def refuse(self, count: int = 1) -> None:
        """The next actions are answered with an error."""
        self._refusals += count

    def lose_request(self, count: int = 1) -> None:
        """The next actions never reach the node, and nobody says so."""
        self._lost_requests += count

    def lose_answer(self, count: int = 1) -> None:
        """The next actions are carried out, and the answer is lost."""
        self._lost_answers += count

    def cut(self, reason: str = "the link was cut", *, back: bool = True) -> None:
        """Lose the link; it comes back by itself, or with `restore` when `back` is False."""
        if self._is_up:
            self._node.flush()  # what was on the wire before the cut
            self._known |= {c.id: _known(c) for c in self._node.channels.values()}
            self._is_up = False
            self._tell(NodeDown(self.node, self._clock.monotonic(), reason))
        if back and self._wanted:
            self._later()

    def restore(self) -> None:
        """Bring a cut link back now."""
        self._connect()

    # -- what the node does -----------------------------------------------------------------------

    def hear(self, event: SwitchEvent) -> None:
        if self._is_up:
            self._tell(event)

    def node_gone(self) -> None:
        self.cut("the node is gone", back=False)

    def node_back(self) -> None:
        self._later()

    def _later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._reconnect, self._connect)

    def _connect(self) -> None:
        if self._is_up or not self._wanted or not self._node.running:
            return
        self._node.flush()  # missed: what it led to is caught up with
        known, self._known = self._known, {}
        self._is_up = True
        for channel_id, was in known.items():
            self._catch_up(channel_id, was, self._node.channels.get(channel_id))
        restarted = self._boots not in (0, self._node.boots)
        self._boots = self._node.boots
        now = self._clock.monotonic()
        self._tell(NodeUp(self.node, now, restarted, self._node.snapshot()))

    def _catch_up(self, channel_id: str, was: _Known, channel: Channel | None) -> None:
        node, now = self.node, self._clock.monotonic()
        partner = channel.partner.id if channel is not None and channel.partner else ""
        if was.partner and partner != was.partner and not was.leg:
            self._tell(CallUnbridged(node, now, channel_id, was.partner))
        if channel is None:
            if was.leg:
                self._tell(LegEnded(node, now, channel_id, 0, ""))
            else:
                end = CallEnd.UNKNOWN
                self._tell(CallEnded(node, now, channel_id, end, was.answered, 0, ""))
            return
        if not was.leg and channel.started and not was.started:
            self._tell(CallStarted(node, now, channel_id))
        if channel.answered and not was.answered:
            self._tell((LegUp if was.leg else CallAnswered)(node, now, channel_id))
        if partner and partner != was.partner and not was.leg:
            self._tell(CallBridged(node, now, channel_id, partner, channel.bridge))
        if channel.parked and not was.parked:
            self._tell(LegParked(node, now, channel_id))

    def _tell(self, event: SwitchEvent) -> None:
        try:
            self._sink(event)
        except Exception:
            log.exception("event handler failed", action="twin_handler_failed")

    # -- commands ---------------------------------------------------------------------------------

    async def originate(self, request: Originate) -> None:
        check_originate(request)
        self._act(
            lambda: self._node.originate(request),
            sent=request.call_id,
            known=_Known(False, False, False, False, ""),
        )

    async def call_leg(
        self, leg_id: LegId, *, endpoint: str, caller_id: str, ring_timeout: float
    ) -> None:
        for value in (leg_id, endpoint, caller_id):
            check_name(value, "leg")
        self._act(
            lambda: self._node.call_leg(leg_id, endpoint=endpoint, ring_timeout=ring_timeout),
            sent=leg_id,
            known=_Known(True, False, False, False, ""),
        )

    def bridge(self, call_id: CallId, leg_id: LegId, *, beep: bool = True) -> Begun:
        check_name(call_id, "call id")
        check_name(leg_id, "leg id")
        self._act(lambda: self._node.bridge(call_id, leg_id))
        return Begun(_done)

    async def hang_up(self, channel_id: CallId | LegId) -> None:
        check_name(channel_id, "channel id")
        self._act(lambda: self._node.hang_up(channel_id))

    async def ring_tone(self, leg_id: LegId, *, on: bool) -> None:
        await self.redirect(leg_id, context="dialer-agent", exten="ringing" if on else "s")

    async def redirect(self, channel_id: CallId | LegId, *, context: str, exten: str) -> None:
        for value in (channel_id, context, exten):
            check_name(value, "redirect")
        self._act(lambda: self._node.redirect(channel_id, context=context, exten=exten))

    async def play(self, channel_id: CallId | LegId, sound: str) -> None:
        check_name(channel_id, "channel id")
        check_sound(sound)
        self._act(lambda: self._node.play(channel_id))

    async def stop_recording(self, call_id: CallId) -> None:
        self._act(lambda: self._recorded(call_id))

    async def pause_recording(self, call_id: CallId, *, paused: bool) -> None:
        self._act(lambda: self._recorded(call_id))

    async def channels(self) -> Sequence[ChannelSnapshot]:
        self._act(lambda: None)
        return self._node.snapshot()

    async def reload_phones(self) -> None:
        self._act(lambda: None)

    def _recorded(self, call_id: CallId) -> None:
        channel = self._node.channels.get(check_name(call_id, "call id"))
        if channel is None or not channel.recorded:
            raise Refused("no such recording")

    def _act(self, do: Callable[[], None], *, sent: str = "", known: _Known | None = None) -> None:
        if not self._is_up:
            raise NotSent("the link to the twin is down")
        if self._refusals:
            self._refusals -= 1
            raise Refused("refused as told")
        if self._lost_requests:
            self._lost_requests -= 1
            if known is not None and sent not in self._node.channels:
                self._known[sent] = known
            self._lose()
        do()
        if self._lost_answers:
            self._lost_answers -= 1
            self._lose()

    def _lose(self) -> None:
        # The caller learns of it first, its events follow.
        asyncio.get_running_loop().call_soon(self.cut, "an answer is missing")
        raise Unanswered("no answer as told")


def _known(channel: Channel) -> _Known:
    return _Known(
        channel.leg,
        channel.started,
        channel.answered,
        channel.parked,
        channel.partner.id if channel.partner is not None else "",
    )


async def _done() -> None:
    """In memory an action ends as it leaves."""
