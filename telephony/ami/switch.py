"""One Asterisk node behind the switch port."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from telephony.ami.frame import Fields, Value
from telephony.ami.link import Link, LinkSettings
from telephony.ami.snapshot import holding_bridges, snapshot
from telephony.ami.tracker import Tracker
from telephony.clock import Clock
from telephony.events import (
    CallBridged,
    CallId,
    ChannelSnapshot,
    LegId,
    NodeDown,
    NodeUp,
    SwitchEvent,
)
from telephony.sendable import check_name, check_originate, check_sound, check_variables
from telephony.switch import (
    Begun,
    EventSink,
    NotSent,
    Originate,
    Refused,
)
from telephony.tasks import Spawn, unwatched

log = structlog.get_logger(__name__)

#: s between tries to move a channel that is on its way: an answered one whose dialplan has not
#: begun, a leg that is leaving its park loop.
_PAUSES = (0.0, 0.005, 0.02, 0.05)
_MOST_UNRECORDED = 10_000
_ENDS = frozenset({"HangupRequest", "SoftHangupRequest", "Hangup"})
_GONE = re.compile(r"no such channel|does not exist|not found", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class AmiAccount:
    """How to reach one node's AMI. The provision account may only reload configuration."""

    node: str
    host: str
    port: int
    user: str
    secret: str
    provision_user: str = ""
    provision_secret: str = ""
    record_user: str = ""  # '' = nothing is recorded on this node
    record_secret: str = ""
    answer: float = 5.0  # s an action may take
    ping: float = 5.0  # s between pings


class AmiSwitch:
    """The real switch. Events go to `sink`, synchronously and in order."""

    def __init__(
        self,
        account: AmiAccount,
        *,
        sink: EventSink,
        clock: Clock,
        rng: random.Random | None = None,
        spawn: Spawn = unwatched,
    ) -> None:
        self._spawn = spawn
        self._account, self._sink, self._clock = account, sink, clock
        self._rng = rng or random.Random()
        self.tracker = Tracker(
            account.node, sink=self._on_event, clock=clock, left_over=self._end_left_over
        )
        self._started_at = ""
        self._synchronising: list[Fields] | None = None
        self._looking = asyncio.Lock()
        self.link = Link(
            LinkSettings(
                account.host,
                account.port,
                account.user,
                account.secret,
                answer=account.answer,
                ping=account.ping,
            ),
            on_event=self._on_message,
            on_up=self._resynchronise,
            on_down=self._on_down,
            rng=self._rng,
            name=f"ami {account.node}",
            spawn=spawn,
            on_pong=self._on_pong,
        )
        self._unrecorded: dict[CallId, None] = {}  # conversations, in order
        self._recorder = self._record_link() if account.record_user else None
        self._is_up = False
        #: Seconds by which the node's clock was ahead of ours at the last ping.
        self.skew = 0.0

    def _record_link(self) -> Link:
        """Recordings have an account of their own: MixMonitor needs a right calls must not have."""
        account = self._account

        async def up() -> None:
            waiting, self._unrecorded = self._unrecorded, {}
            for call_id in waiting:
                if self.tracker.talks(call_id):
                    self._start_recording(call_id)

        return Link(
            LinkSettings(
                account.host,
                account.port,
                account.record_user,
                account.record_secret,
                answer=account.answer,
                ping=account.ping,
                events="off",
            ),
            on_event=lambda message: None,
            on_up=up,
            on_down=lambda reason: None,
            rng=self._rng,
            name=f"ami recorder {account.node}",
            spawn=self._spawn,
        )

    @property
    def links(self) -> Sequence[Link]:
        """The kept connections: for calls, and for recordings where there are any."""
        return (self.link,) if self._recorder is None else (self.link, self._recorder)

    @property
    def node(self) -> str:
        return self._account.node

    @property
    def is_up(self) -> bool:
        return self._is_up

    async def start(self) -> None:
        await self.link.start()
        if self._recorder is not None:
            await self._recorder.start()

    async def stop(self) -> None:
        await self.link.stop()
        if self._recorder is not None:
            await self._recorder.stop()

    # -- events -----------------------------------------------------------------------------------

    def _on_message(self, message: Fields) -> None:
        if self._synchronising is not None:
            # Events that come while we ask for the channels are newer than the answer.
            self._synchronising.append(message)
        else:
            self.tracker.on_message(message)

    def _on_event(self, event: SwitchEvent) -> None:
        if isinstance(event, CallBridged):
            # When the agent's leg dies the person must not fall into "no agent was free".
            with contextlib.suppress(NotSent):
                self.link.post(
                    "Setvar",
                    {"Channel": event.call_id, "Variable": "DIALER_TAKEN", "Value": "1"},
                )
            self._start_recording(event.call_id)
        self._sink(event)

    def _start_recording(self, call_id: CallId) -> None:
        path = self.tracker.recording_of(call_id)
        if not path or self._recorder is None:
            return
        try:
            self._recorder.post("MixMonitor", {"Channel": call_id, "File": path})
        except NotSent as error:  # the conversation goes on, recorded from when the link is back
            log.warning("recording waits", action="record_waits", call=call_id, error=str(error))
            self._unrecorded[call_id] = None
            while len(self._unrecorded) > _MOST_UNRECORDED:
                del self._unrecorded[next(iter(self._unrecorded))]

    def _on_pong(self, message: Fields) -> None:
        """Call records carry the node's times, and are compared with ours."""
        with contextlib.suppress(ValueError):
            self.skew = float(str(message.get("timestamp"))) - self._clock.now().timestamp()

    def _end_left_over(self, channel_id: str, reason: str) -> None:
        log.warning("channel ended", action="left_over", channel=channel_id, reason=reason)
        with contextlib.suppress(NotSent):
            self.link.post("Hangup", {"Channel": channel_id})

    def _on_down(self, reason: str) -> None:
        was, self._is_up = self._is_up, False
        self._synchronising = None
        if was:
            self._sink(NodeDown(self.node, self._clock.monotonic(), reason))

    async def _resynchronise(self) -> None:
        self._synchronising = []
        self.tracker.link_lost()
        status = await self.link.ask("CoreStatus", {})
        bridges = await self.link.ask("BridgeList", {})
        started = f"{status[0].get('corestartupdate')} {status[0].get('corestartuptime')}"
        channels = await self._channels()
        restarted = bool(self._started_at) and started != self._started_at
        self._started_at = started
        held, self._synchronising = self._synchronising or [], None
        # What ended meanwhile is known with its cause and by whom, and is no longer there.
        gone = {str(m.get("uniqueid")) for m in held if m.get("event") == "Hangup"}
        for message in held:
            if message.get("event") in _ENDS and str(message.get("uniqueid")) in gone:
                self.tracker.on_message(message)
        channels = tuple(c for c in channels if c.unique_id not in gone)
        self.tracker.resynchronise(channels, holding=holding_bridges(bridges))
        for message in held:
            if str(message.get("uniqueid")) not in gone:
                self.tracker.on_message(message)
        self._is_up = True
        self._sink(NodeUp(self.node, self._clock.monotonic(), restarted, channels))

    # -- commands ---------------------------------------------------------------------------------

    def _check_up(self) -> None:
        # While memory is brought in line, a new call would be taken for one that has vanished.
        if not self._is_up:
            raise NotSent(f"node {self.node} is not up")

    async def _ask(
        self, name: str, fields: Mapping[str, Value], *, action_id: str = ""
    ) -> Sequence[Fields]:
        self._check_up()
        return await self.link.ask(name, fields, action_id=action_id)

    async def originate(self, request: Originate) -> None:
        check_originate(request)
        variables = {
            **request.variables,
            "DIALER_ID": request.call_id,
            "DIALER_KIND": "call",
            "DIALER_WINDOW": f"{request.connect_window:g}",
            "DIALER_ABANDON_SOUND": request.abandon_sound,
        }
        await self._originate(
            request.call_id,
            leg=False,
            channel=f"PJSIP/{request.number}@{check_name(request.trunk, 'trunk')}",
            context="dialer-answered-amd" if request.analyse else "dialer-answered",
            ring_timeout=request.ring_timeout,
            caller_id=request.caller_id,
            variables=variables,
            record=request.record,
        )

    async def call_leg(
        self, leg_id: LegId, *, endpoint: str, caller_id: str, ring_timeout: float
    ) -> None:
        await self._originate(
            leg_id,
            leg=True,
            channel=f"PJSIP/{check_name(endpoint, 'endpoint')}",
            context="dialer-agent",
            ring_timeout=ring_timeout,
            caller_id=check_name(caller_id, "caller id"),
            variables={"DIALER_ID": leg_id, "DIALER_KIND": "leg"},
        )

    async def _originate(
        self,
        channel_id: str,
        *,
        leg: bool,
        channel: str,
        context: str,
        ring_timeout: float,
        caller_id: str,
        variables: Mapping[str, str],
        record: str = "",
    ) -> None:
        check_variables(variables)
        if self.tracker.known(channel_id):
            raise Refused(f"{channel_id} is already being called")
        fields: dict[str, Value] = {
            "Channel": channel,
            "Context": context,
            "Exten": "s",
            "Priority": "1",
            "Timeout": str(max(int(ring_timeout * 1000), 1000)),
            "Async": "true",
            "ChannelId": check_name(channel_id, "channel id"),
            "Variable": [f"{key}={value}" for key, value in variables.items()],
        }
        if caller_id:
            fields["CallerID"] = f'"{caller_id}" <{caller_id}>'
        self.tracker.expect(channel_id, leg=leg, recording=record)
        try:
            await self._ask("Originate", fields, action_id=channel_id)
        except (NotSent, Refused):
            self.tracker.forget(channel_id)
            raise

    def bridge(self, call_id: CallId, leg_id: LegId, *, beep: bool = True) -> Begun:
        fields = {
            "Channel1": check_name(call_id, "call id"),
            "Channel2": check_name(leg_id, "leg id"),
            "Tone": "Channel2" if beep else "no",
        }
        self._check_up()
        # On the wire before anything else happens: a person has answered.
        first = self.link.begin("Bridge", fields)
        return Begun(lambda: self._insist("Bridge", fields, first=first))

    async def _insist(
        self,
        name: str,
        fields: Mapping[str, Value],
        *,
        first: Callable[[], Coroutine[Any, Any, object]] | None = None,
    ) -> None:
        """Move a channel. One between two places is refused for some milliseconds. `first`: the
        answer to a try that was written already."""
        for pause in _PAUSES:
            try:
                await (self._ask(name, fields) if first is None else first())
                return
            except Refused as error:
                if _GONE.search(str(error)):
                    raise
            first = None
            await asyncio.sleep(pause)
        await self._ask(name, fields)

    async def hang_up(self, channel_id: CallId | LegId) -> None:
        self.tracker.cancelling(channel_id)
        try:
            await self._ask("Hangup", {"Channel": check_name(channel_id, "channel id")})
        except Refused as error:
            if not _GONE.search(str(error)):
                raise

    async def ring_tone(self, leg_id: LegId, *, on: bool) -> None:
        await self.redirect(leg_id, context="dialer-agent", exten="ringing" if on else "s")

    async def redirect(self, channel_id: CallId | LegId, *, context: str, exten: str) -> None:
        fields = {
            "Channel": check_name(channel_id, "channel id"),
            "Context": check_name(context, "context"),
            "Exten": check_name(exten, "extension"),
            "Priority": "1",
        }
        await self._insist("Redirect", fields)

    async def play(self, channel_id: CallId | LegId, sound: str) -> None:
        await self._ask(
            "Setvar",
            {
                "Channel": check_name(channel_id, "channel id"),
                "Variable": "DIALER_SOUND",
                "Value": check_sound(sound),
            },
        )
        await self.redirect(channel_id, context="dialer-play", exten="s")

    async def stop_recording(self, call_id: CallId) -> None:
        if self._recorder is None:
            raise Refused(f"node {self.node} records nothing")
        await self._recorder.ask("StopMixMonitor", {"Channel": check_name(call_id, "call id")})

    async def pause_recording(self, call_id: CallId, *, paused: bool) -> None:
        await self._ask(
            "MixMonitorMute",
            {
                "Channel": check_name(call_id, "call id"),
                "Direction": "both",
                "State": "1" if paused else "0",
            },
        )

    async def channels(self) -> Sequence[ChannelSnapshot]:
        async with self._looking:
            self._check_up()
            held = self._synchronising = []
            channels: tuple[ChannelSnapshot, ...] = ()
            try:
                bridges = await self.link.ask("BridgeList", {})
                channels = await self._channels()
                gone = {str(m.get("uniqueid")) for m in held if m.get("event") == "Hangup"}
                channels = tuple(c for c in channels if c.unique_id not in gone)
                if self._synchronising is held:
                    self.tracker.adopt(channels, holding=holding_bridges(bridges))
            finally:
                if self._synchronising is held:  # else the link was lost, and what was held with it
                    self._synchronising = None
                    for message in held:
                        self.tracker.on_message(message)
            return channels

    async def _channels(self) -> tuple[ChannelSnapshot, ...]:
        answer = await self.link.ask("CoreShowChannels", {})
        shown = (snapshot(m) for m in answer if str(m.get("event")) == "CoreShowChannel")
        # In its first moment a channel is there before its variables are.
        return tuple(c if c.dialer_id else self.tracker.claim(c) for c in shown)

    async def reload_phones(self) -> None:
        """By the provision account: the call account has no right to reload."""
        account = self._account
        if not account.provision_user:
            raise Refused(f"node {self.node} has no provision account")
        done = asyncio.Event()

        async def up() -> None:
            done.set()

        link = Link(
            LinkSettings(
                account.host,
                account.port,
                account.provision_user,
                account.provision_secret,
                events="off",
            ),
            on_event=lambda message: None,
            on_up=up,
            on_down=lambda reason: None,
            rng=self._rng,
        )
        await link.start()
        try:
            try:
                async with asyncio.timeout(5.0):
                    await done.wait()
            except TimeoutError:
                raise NotSent(link.last_error or "the provision account got no link") from None
            await link.ask("Reload", {"Module": "res_pjsip.so"})
        finally:
            await link.stop()
