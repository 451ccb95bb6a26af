"""One Asterisk node behind the switch port."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog
from panoramisk.message import Message

from telephony.ami.link import Link, LinkSettings
from telephony.ami.tracker import Tracker
from telephony.ami.wire import Value
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
from telephony.switch import (
    EventSink,
    NotSent,
    Originate,
    Refused,
)

log = structlog.get_logger(__name__)

_NUMBER = re.compile(r"^\+?[0-9]{2,20}$")
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,79}$")
_SOUND = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_/\-]{0,199}$")
_PATH = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_/.\-]{0,199}$")
_VALUE = re.compile(r"^[A-Za-z0-9_.:/+\-]{0,200}$")
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
    ) -> None:
        self._account, self._sink, self._clock = account, sink, clock
        self._rng = rng or random.Random()
        self.tracker = Tracker(account.node, sink=self._on_event, clock=clock)
        self._started_at = ""
        self._synchronising: list[Message] | None = None
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
        )
        self._recorder = self._record_link() if account.record_user else None
        self._is_up = False

    def _record_link(self) -> Link:
        """Recordings have an account of their own: MixMonitor needs a right calls must not have."""
        account = self._account

        async def up() -> None: ...

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
        )

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

    def _on_message(self, message: Message) -> None:
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
        except NotSent as error:  # the conversation goes on without
            log.error("not recorded", action="record_failed", call=call_id, error=str(error))

    def _on_down(self, reason: str) -> None:
        was, self._is_up = self._is_up, False
        self._synchronising = None
        if was:
            self._sink(NodeDown(self.node, self._clock.monotonic(), reason))

    async def _resynchronise(self) -> None:
        self._synchronising = []
        self.tracker.link_lost()
        status = await self.link.ask("CoreStatus", {})
        started = f"{status[0].get('corestartupdate')} {status[0].get('corestartuptime')}"
        channels = tuple(await self.channels())
        restarted = bool(self._started_at) and started != self._started_at
        self._started_at = started
        held, self._synchronising = self._synchronising, None
        self.tracker.resynchronise(channels)
        for message in held or ():
            self.tracker.on_message(message)
        self._is_up = True
        self._sink(NodeUp(self.node, self._clock.monotonic(), restarted, channels))

    # -- commands ---------------------------------------------------------------------------------

    async def originate(self, request: Originate) -> None:
        if not _NUMBER.match(request.number):
            raise NotSent("the number is not one")
        if request.caller_id and not _NUMBER.match(request.caller_id):
            raise NotSent("the caller id is not a number")
        if not _SOUND.match(request.abandon_sound):
            raise NotSent("the abandon sound's name is not one")
        if request.record and (not _PATH.match(request.record) or ".." in request.record):
            raise NotSent("the recording's path is not one")
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
            channel=f"PJSIP/{request.number}@{_name(request.trunk, 'trunk')}",
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
            channel=f"PJSIP/{_name(endpoint, 'endpoint')}",
            context="dialer-agent",
            ring_timeout=ring_timeout,
            caller_id=_name(caller_id, "caller id"),
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
        for key, value in variables.items():
            if not _NAME.match(key) or not _VALUE.match(value):
                raise NotSent(f"variable {key[:40]!r} has a value that may not be sent")
        if self.tracker.known(channel_id):
            raise Refused(f"{channel_id} is already being called")
        fields: dict[str, Value] = {
            "Channel": channel,
            "Context": context,
            "Exten": "s",
            "Priority": "1",
            "Timeout": str(max(int(ring_timeout * 1000), 1000)),
            "Async": "true",
            "ChannelId": _name(channel_id, "channel id"),
            "Variable": [f"{key}={value}" for key, value in variables.items()],
        }
        if caller_id:
            fields["CallerID"] = f'"{caller_id}" <{caller_id}>'
        self.tracker.expect(channel_id, leg=leg, recording=record)
        try:
            await self.link.ask("Originate", fields, action_id=channel_id)
        except (NotSent, Refused):
            self.tracker.forget(channel_id)
            raise

    async def bridge(self, call_id: CallId, leg_id: LegId, *, beep: bool = True) -> None:
        fields = {
            "Channel1": _name(call_id, "call id"),
            "Channel2": _name(leg_id, "leg id"),
            "Tone": "Channel2" if beep else "no",
        }
        try:
            await self.link.ask("Bridge", fields)
        except Refused as error:
            if _GONE.search(str(error)):
                raise
            # The channel's dialplan may not have begun yet in the moment of the answer.
            await asyncio.sleep(0.005)
            await self.link.ask("Bridge", fields)

    async def hang_up(self, channel_id: CallId | LegId) -> None:
        self.tracker.cancelling(channel_id)
        try:
            await self.link.ask("Hangup", {"Channel": _name(channel_id, "channel id")})
        except Refused as error:
            if not _GONE.search(str(error)):
                raise

    async def ring_tone(self, leg_id: LegId, *, on: bool) -> None:
        await self.redirect(leg_id, context="dialer-agent", exten="ringing" if on else "s")

    async def redirect(self, channel_id: CallId | LegId, *, context: str, exten: str) -> None:
        await self.link.ask(
            "Redirect",
            {
                "Channel": _name(channel_id, "channel id"),
                "Context": _name(context, "context"),
                "Exten": _name(exten, "extension"),
                "Priority": "1",
            },
        )

    async def play(self, channel_id: CallId | LegId, sound: str) -> None:
        if not _SOUND.match(sound):
            raise NotSent("the sound's name is not one")
        await self.link.ask(
            "Setvar",
            {
                "Channel": _name(channel_id, "channel id"),
                "Variable": "DIALER_SOUND",
                "Value": sound,
            },
        )
        await self.redirect(channel_id, context="dialer-play", exten="s")

    async def stop_recording(self, call_id: CallId) -> None:
        if self._recorder is None:
            raise Refused(f"node {self.node} records nothing")
        await self._recorder.ask("StopMixMonitor", {"Channel": _name(call_id, "call id")})

    async def pause_recording(self, call_id: CallId, *, paused: bool) -> None:
        await self.link.ask(
            "MixMonitorMute",
            {
                "Channel": _name(call_id, "call id"),
                "Direction": "both",
                "State": "1" if paused else "0",
            },
        )

    async def channels(self) -> Sequence[ChannelSnapshot]:
        answer = await self.link.ask("CoreShowChannels", {})
        return [_snapshot(m) for m in answer if str(m.get("event")) == "CoreShowChannel"]

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
                await asyncio.wait_for(done.wait(), 5.0)
            except TimeoutError:
                raise NotSent(link.last_error or "the provision account got no link") from None
            await link.ask("Reload", {"Module": "res_pjsip.so"})
        finally:
            await link.stop()


def _name(value: str, what: str) -> str:
    if not _NAME.match(value):
        raise NotSent(f"{what} may not be sent")
    return value


def _snapshot(message: Message) -> ChannelSnapshot:
    variables: dict[str, str] = {}
    raw = message.get("chanvariable") or ()
    for pair in [raw] if isinstance(raw, str) else raw:
        key, _, value = str(pair).partition("=")
        variables[key] = value
    hours, minutes, seconds = (
        [int(part) for part in str(message.get("duration") or "0:0:0").split(":")] + [0, 0, 0]
    )[:3]
    return ChannelSnapshot(
        channel=str(message.get("channel") or ""),
        unique_id=str(message.get("uniqueid") or ""),
        dialer_id=variables.get("DIALER_ID", ""),
        kind=variables.get("DIALER_KIND", ""),
        answered=str(message.get("channelstatedesc")) == "Up",
        bridge_id=str(message.get("bridgeid") or ""),
        seconds=hours * 3600.0 + minutes * 60.0 + seconds,
    )
