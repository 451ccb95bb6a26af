"""One Asterisk in memory: channels, the dialplan that keeps people safe, and a scripted public.

It outlives the switches that are attached to it, as a real node outlives a dialer. Actions change
state at once; what they cause is told on the loop's next turn, never inside the caller's stack.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from typing import Protocol

from telephony.clock import Clock
from telephony.events import (
    CallAnswered,
    CallBridged,
    CallEnd,
    CallEnded,
    CallProgress,
    CallStaged,
    CallStarted,
    CallUnbridged,
    ChannelSnapshot,
    LegEnded,
    LegParked,
    LegUp,
    Progress,
    RecordingEnded,
    Stage,
    SwitchEvent,
)
from telephony.switch import Originate, Refused
from telephony.twin.channel import Channel
from telephony.twin.public import ANSWERS, CAUSES, Behaviour, Public, numbering_plan

_MOST_RECORDS = 200_000
_AMD_SECONDS = 2.3  # measured: a decision takes 2.2-2.5 s


class Attached(Protocol):
    """A switch that hears this node."""

    def hear(self, event: SwitchEvent) -> None: ...

    def node_gone(self) -> None: ...

    def node_back(self) -> None: ...


class TwinNode:
    """`public` says what a number does, `phones` what an agent's endpoint does."""

    def __init__(
        self,
        name: str = "twin",
        *,
        clock: Clock,
        public: Public = numbering_plan,
        phones: Callable[[str], Behaviour] = lambda endpoint: ANSWERS,
        message: float = 4.0,  # s the abandon message takes, with the wait for a key
        sound: float = 1.0,  # s any other sound takes
        records: bool = True,  # also record calls that ask for it
    ) -> None:
        self.name, self._clock = name, clock
        self.public, self.phones = public, phones
        self._message, self._sound, self._recording = message, sound, records
        self.channels: dict[str, Channel] = {}
        self.ended: dict[str, Channel] = {}  # the call records
        self.running = True
        self.boots = 1
        self.dialed: list[str] = []  # every number an INVITE went to
        self._attached: list[Attached] = []
        self._out: deque[SwitchEvent] = deque()
        self._bridges = itertools.count(1)

    # -- switches ---------------------------------------------------------------------------------

    def attach(self, switch: Attached) -> None:
        self._attached.append(switch)

    def detach(self, switch: Attached) -> None:
        if switch in self._attached:
            self._attached.remove(switch)

    def snapshot(self) -> tuple[ChannelSnapshot, ...]:
        now = self._clock.monotonic()
        return tuple(
            ChannelSnapshot(
                channel=f"PJSIP/{c.id}",
                unique_id=c.id,
                dialer_id=c.id,
                kind="leg" if c.leg else "call",
                answered=c.answered,
                bridge_id=c.bridge or ("parked" if c.parked else ""),
                seconds=now - c.born,
            )
            for c in self.channels.values()
        )

    def _tell(self, event: SwitchEvent) -> None:
        if not self._out:
            asyncio.get_running_loop().call_soon(self.flush)
        self._out.append(event)

    def flush(self) -> None:
        """Tell at once what would be told on the loop's next turn."""
        out, self._out = self._out, deque()
        for event in out:
            for switch in tuple(self._attached):
                switch.hear(event)

    # -- faults -----------------------------------------------------------------------------------

    def crash(self) -> None:
        """The process dies: every channel is gone, nothing is told, and the records have no end."""
        self.flush()  # what was on the wire before
        self.running = False
        for switch in tuple(self._attached):
            switch.node_gone()
        for channel in self.channels.values():
            channel.close()
            if not channel.leg:
                self.ended[channel.id] = channel
        self.channels.clear()

    def boot(self) -> None:
        """Start again after `crash`."""
        if not self.running:
            self.running, self.boots = True, self.boots + 1
            for switch in tuple(self._attached):
                switch.node_back()

    # -- actions ----------------------------------------------------------------------------------

    def originate(self, request: Originate) -> None:
        behaviour = self.public(request.number)
        call = self._new(request.call_id, behaviour, request)
        if behaviour.end is CallEnd.FAILED:
            self._end(call, CallEnd.FAILED)
            return
        call.started = True
        self.dialed.append(request.number)
        self._tell(CallStarted(self.name, self._now(), call.id))
        if behaviour.delay > 0 and behaviour.end is not CallEnd.SILENT:
            self._tell(CallProgress(self.name, self._now(), call.id, Progress.RINGING))
        loop = asyncio.get_running_loop()
        if behaviour.delay > request.ring_timeout or behaviour.end is CallEnd.SILENT:
            late = behaviour.end if behaviour.end is CallEnd.SILENT else CallEnd.NO_ANSWER
            call.far = loop.call_later(request.ring_timeout, self._end, call, late)
        elif behaviour.end is not None:
            call.far = loop.call_later(behaviour.delay, self._end, call, behaviour.end)
        else:
            call.far = loop.call_later(behaviour.delay, self._answer, call)

    def call_leg(self, leg_id: str, *, endpoint: str, ring_timeout: float) -> None:
        behaviour = self.phones(endpoint)
        leg = self._new(leg_id, behaviour, None)
        loop = asyncio.get_running_loop()
        if behaviour.delay > ring_timeout:
            leg.far = loop.call_later(ring_timeout, self._end, leg, CallEnd.NO_ANSWER)
        elif behaviour.end is not None:
            leg.far = loop.call_later(behaviour.delay, self._end, leg, behaviour.end)
        else:
            leg.far = loop.call_later(behaviour.delay, self._answer, leg)

    def bridge(self, call_id: str, leg_id: str) -> None:
        call, leg = self._answered(call_id), self._answered(leg_id)
        if call is leg:
            raise Refused("a channel cannot be bridged to itself")
        if call.partner is leg:
            return
        for channel in (call, leg):
            self._pull(channel)
        bridge = f"{self.name}-bridge-{next(self._bridges)}"
        call.partner, leg.partner = leg, call
        call.bridge = leg.bridge = bridge
        call.bridged = leg.bridged = True
        call.met = leg.id
        if call.request is not None and self._recording:
            call.recorded = bool(call.request.record)
        self._tell(CallBridged(self.name, self._now(), call.id, leg.id, bridge))

    def hang_up(self, channel_id: str) -> None:
        """Our side ends it; nothing happens when it is gone."""
        channel = self.channels.get(channel_id)
        if channel is not None:
            end = CallEnd.HUNG_UP_NEAR if channel.answered else CallEnd.CANCELLED
            self._end(channel, end)

    def far_hang_up(self, channel_id: str) -> None:
        """The person, or the agent's phone, hangs up (for tests)."""
        channel = self.channels.get(channel_id)
        if channel is not None:
            self._end(channel, CallEnd.HUNG_UP_FAR)

    def redirect(self, channel_id: str, *, context: str, exten: str) -> None:
        channel = self._answered(channel_id)
        self._pull(channel)
        if channel.leg and context == "dialer-agent" and exten == "s":
            self._park(channel)
        elif context == "dialer-answered":
            self._wait(channel)

    def play(self, channel_id: str) -> None:
        channel = self._answered(channel_id)
        self._pull(channel)
        after = self._park if channel.leg else self._finish
        channel.dialplan = asyncio.get_running_loop().call_later(self._sound, after, channel)

    # -- what happens -----------------------------------------------------------------------------

    def _now(self) -> float:
        return self._clock.monotonic()

    def _new(self, channel_id: str, behaviour: Behaviour, request: Originate | None) -> Channel:
        if channel_id in self.channels:
            raise Refused(f"{channel_id} is already being called")
        channel = Channel(channel_id, behaviour, self._now(), request)
        self.channels[channel_id] = channel
        return channel

    def _answered(self, channel_id: str) -> Channel:
        channel = self.channels.get(channel_id)
        if channel is None:
            raise Refused("No such channel")
        if not channel.answered:
            raise Refused("the channel is not answered")
        return channel

    def _answer(self, channel: Channel) -> None:
        channel.answered, channel.far = True, None
        loop = asyncio.get_running_loop()
        if channel.leg:
            self._tell(LegUp(self.name, self._now(), channel.id))
            self._park(channel)
        else:
            channel.answered_at = self._clock.now()
            self._tell(CallAnswered(self.name, self._now(), channel.id))
            assert channel.request is not None
            if channel.request.analyse:
                channel.dialplan = loop.call_later(_AMD_SECONDS, self._analysed, channel)
            else:
                self._wait(channel)
        if channel.behaviour.talk is not None:
            talk = channel.behaviour.talk
            channel.far = loop.call_later(talk, self._end, channel, CallEnd.HUNG_UP_FAR)

    def _park(self, leg: Channel) -> None:
        leg.dialplan, leg.parked = None, True
        self._tell(LegParked(self.name, self._now(), leg.id))

    def _analysed(self, call: Channel) -> None:
        if call.behaviour.machine:
            self._stage(call, Stage.MACHINE)
            self._end(call, CallEnd.HUNG_UP_NEAR)
        else:
            self._stage(call, Stage.HUMAN)
            self._wait(call)

    def _wait(self, call: Channel) -> None:
        window = call.request.connect_window if call.request is not None else 2.0
        call.dialplan = asyncio.get_running_loop().call_later(window, self._window_over, call)

    def _window_over(self, call: Channel) -> None:
        self._stage(call, Stage.MESSAGE)
        loop = asyncio.get_running_loop()
        if call.behaviour.opts_out:
            call.dialplan = loop.call_later(self._message / 2, self._opt_out, call)
        else:
            call.dialplan = loop.call_later(self._message, self._finish, call)

    def _opt_out(self, call: Channel) -> None:
        self._stage(call, Stage.OPT_OUT)
        call.dialplan = asyncio.get_running_loop().call_later(self._sound, self._finish, call)

    def _finish(self, call: Channel) -> None:
        if call.id in self.channels:
            self._stage(call, Stage.FINISHED)
            self._end(call, CallEnd.HUNG_UP_NEAR)

    def _stage(self, call: Channel, stage: Stage) -> None:
        call.stages.append(stage.value)
        self._tell(CallStaged(self.name, self._now(), call.id, stage))

    def _pull(self, channel: Channel) -> None:
        """Take a channel out of whatever it does; its partner goes back to its dialplan."""
        channel.halt()
        channel.parked = False
        other = self._part(channel)
        if other is not None:
            self._go_on(other)

    def _part(self, channel: Channel) -> Channel | None:
        other, channel.partner, channel.bridge = channel.partner, None, ""
        if other is not None:
            other.partner, other.bridge = None, ""
            call, leg = (other, channel) if channel.leg else (channel, other)
            self._tell(CallUnbridged(self.name, self._now(), call.id, leg.id))
        return other

    def _go_on(self, channel: Channel) -> None:
        """After its bridge a leg parks again, and a person is not kept in silence."""
        if channel.leg:
            self._park(channel)
        else:
            channel.dialplan = asyncio.get_running_loop().call_soon(self._finish, channel)

    def _end(self, channel: Channel, end: CallEnd) -> None:
        if self.channels.pop(channel.id, None) is None:
            return
        channel.close()
        other = self._part(channel)
        channel.cause, channel.tech_cause = CAUSES[end]
        if channel.leg:
            self._keep(channel, end)
            self._tell(
                LegEnded(self.name, self._now(), channel.id, channel.cause, channel.tech_cause)
            )
        else:
            self._record(channel, end)
        if other is not None:
            self._go_on(other)

    def _record(self, call: Channel, end: CallEnd) -> None:
        now = self._now()
        self._keep(call, end)
        self._tell(
            CallEnded(self.name, now, call.id, end, call.answered, call.cause, call.tech_cause)
        )
        if call.recorded and call.request is not None:
            self._tell(RecordingEnded(self.name, now, call.id, call.request.record))

    def _keep(self, channel: Channel, end: CallEnd) -> None:
        """In the node's own records."""
        channel.end, channel.ended_at = end, self._clock.now()
        self.ended[channel.id] = channel
        if len(self.ended) > _MOST_RECORDS:
            del self.ended[next(iter(self.ended))]
