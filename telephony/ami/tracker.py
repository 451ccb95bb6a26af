"""AMI events of our channels, sorted into the events the dialer sees.

AMI guarantees no order between OriginateResponse, Newstate Up and Hangup. Here a call has one life:
started, progress, answered, bridged, ended, each told at most once and in that order; it is over
only after its Hangup *and* its OriginateResponse, or after a Failure for which no channel was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from panoramisk.message import Message

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
from telephony.outcomes import classify
from telephony.switch import EventSink

_UP = "6"
_RINGING = "5"


@dataclass(slots=True)
class Track:
    """What is known of one channel of ours."""

    leg: bool
    started: bool = False
    answered: bool = False
    progress: Progress | None = None
    hung_up: bool = False
    cause: int = 0
    tech_cause: str = ""
    response_due: bool = True  # an OriginateResponse is still to come
    failed: bool = False  # the response was a Failure
    reason: str = ""
    far_first: bool = False  # the far end asked to hang up
    cancelled: bool = False  # we asked to hang up before the answer
    ended_by_us: bool = False
    bridge: str = ""
    partner: str = ""
    bridged: bool = False  # at any time
    recording: str = ""


class Tracker:
    """Knows our channels on one node; feeds `sink` synchronously."""

    def __init__(self, node: str, *, sink: EventSink, clock: Clock) -> None:
        self._node, self._sink, self._clock = node, sink, clock
        self._tracks: dict[str, Track] = {}
        self._bridges: dict[str, set[str]] = {}
        self._handlers = {
            "Newchannel": self._newchannel,
            "Newstate": self._newstate,
            "DialState": self._dial_state,
            "Hangup": self._hangup,
            "HangupRequest": self._hangup_request,
            "SoftHangupRequest": self._soft_hangup,
            "OriginateResponse": self._response,
            "BridgeEnter": self._enter,
            "BridgeLeave": self._leave,
            "UserEvent": self._user_event,
        }

    # -- what the switch tells

    def expect(self, channel_id: str, *, leg: bool, recording: str = "") -> None:
        """An Originate with this id is about to leave; `recording`: its file, if it has one."""
        self._tracks[channel_id] = Track(leg=leg, recording=recording)

    def forget(self, channel_id: str) -> None:
        """It certainly did not leave, or was refused."""
        self._tracks.pop(channel_id, None)

    def known(self, channel_id: str) -> bool:
        return channel_id in self._tracks

    def cancelling(self, channel_id: str) -> None:
        """We are about to hang this up."""
        track = self._tracks.get(channel_id)
        if track is not None:
            track.ended_by_us = not track.far_first
            track.cancelled = not track.answered

    def recording_of(self, channel_id: str) -> str:
        """The file this call is to be recorded in, or ''."""
        track = self._tracks.get(channel_id)
        return track.recording if track is not None else ""

    def link_lost(self) -> None:
        """Events were missed: responses that were due will not come any more."""
        for track in self._tracks.values():
            track.response_due = False

    def resynchronise(self, channels: Sequence[ChannelSnapshot]) -> None:
        """Bring memory in line with the live channels after a (re)connection."""
        live = {c.unique_id: c for c in channels}
        for channel_id in [i for i in self._tracks if i not in live]:
            track = self._tracks[channel_id]
            track.response_due = False
            # Its end went by unseen; the call records may tell more than "unknown".
            self._end(channel_id, track, unseen=True)
        self._bridges.clear()
        for channel in channels:
            channel_id = channel.unique_id
            known = self._tracks.get(channel_id)
            if known is None:
                if not channel.dialer_id or channel.dialer_id != channel_id:
                    continue
                known = Track(leg=channel.kind == "leg", started=True, response_due=False)
                known.answered = channel.answered
                self._tracks[channel_id] = known
            else:
                self._start(channel_id, known)
                if channel.answered:
                    self._answer(channel_id, known)
            known.bridge = channel.bridge_id
            if channel.bridge_id:
                self._bridges.setdefault(channel.bridge_id, set()).add(channel_id)
        self._pair_up()

    def _pair_up(self) -> None:
        for bridge_id, members in self._bridges.items():
            calls = [m for m in members if m in self._tracks and not self._tracks[m].leg]
            legs = [m for m in members if m in self._tracks and self._tracks[m].leg]
            if len(calls) == 1 and len(legs) == 1:
                call = self._tracks[calls[0]]
                if not call.partner:
                    call.partner, call.bridged = legs[0], True
                    self._tell(CallBridged(self._node, self._now(), calls[0], legs[0], bridge_id))

    # -- what AMI tells

    def on_message(self, message: Message) -> None:
        """One AMI event, in the order of the wire."""
        handler = self._handlers.get(str(message.get("event", "")))
        if handler is not None:
            handler(message)

    def _track(self, message: Message) -> tuple[str, Track | None]:
        channel_id = str(message.get("uniqueid") or "")
        return channel_id, self._tracks.get(channel_id)

    def _newchannel(self, message: Message) -> None:
        channel_id, track = self._track(message)
        if track is not None:
            self._start(channel_id, track)

    def _newstate(self, message: Message) -> None:
        channel_id, track = self._track(message)
        if track is None:
            return
        state = str(message.get("channelstate"))
        if state == _UP:
            self._start(channel_id, track)
            self._answer(channel_id, track)
        elif state == _RINGING:
            self._progress(channel_id, track, Progress.RINGING)

    def _dial_state(self, message: Message) -> None:
        channel_id = str(message.get("destuniqueid") or "")
        track = self._tracks.get(channel_id)
        if track is None:
            return
        status = str(message.get("dialstatus"))
        if status == "RINGING":
            self._progress(channel_id, track, Progress.RINGING)
        elif status == "PROGRESS":
            self._progress(channel_id, track, Progress.EARLY_MEDIA)

    def _hangup_request(self, message: Message) -> None:
        _, track = self._track(message)
        if track is not None and not track.ended_by_us:
            track.far_first = True

    def _soft_hangup(self, message: Message) -> None:
        _, track = self._track(message)
        if track is not None and not track.far_first:
            track.ended_by_us = True

    def _hangup(self, message: Message) -> None:
        channel_id, track = self._track(message)
        if track is None:
            return
        track.hung_up = True
        cause = str(message.get("cause") or "0")
        track.cause = int(cause) if cause.isdigit() else 0
        track.tech_cause = _status(message.get("techcause"))
        self._leave_bridge(channel_id, track)
        if not track.response_due:
            self._end(channel_id, track)

    def _response(self, message: Message) -> None:
        channel_id = str(message.get("uniqueid") or "")
        if channel_id not in self._tracks:  # without a channel it is only in the ActionID
            channel_id = str(message.get("actionid") or "")
        track = self._tracks.get(channel_id)
        if track is None:
            return
        track.response_due = False
        track.reason = str(message.get("reason") or "")
        track.failed = str(message.get("response")).lower() != "success"
        if not track.failed:
            self._start(channel_id, track)
            self._answer(channel_id, track)
        if track.hung_up or (track.failed and not track.started):
            self._end(channel_id, track)

    def _enter(self, message: Message) -> None:
        channel_id, track = self._track(message)
        if track is None:
            return
        bridge_id = str(message.get("bridgeuniqueid") or "")
        self._leave_bridge(channel_id, track)
        track.bridge = bridge_id
        if str(message.get("bridgetechnology")) == "holding_bridge":
            if track.leg:
                self._tell(LegParked(self._node, self._now(), channel_id))
            return
        members = self._bridges.setdefault(bridge_id, set())
        members.add(channel_id)
        for other_id in members - {channel_id}:
            other = self._tracks.get(other_id)
            if other is None or other.leg == track.leg:
                continue
            call_id, leg_id = (other_id, channel_id) if track.leg else (channel_id, other_id)
            call = self._tracks[call_id]
            if not call.partner:
                call.partner, call.bridged = leg_id, True
                self._tell(CallBridged(self._node, self._now(), call_id, leg_id, bridge_id))

    def _leave(self, message: Message) -> None:
        channel_id, track = self._track(message)
        if track is not None and track.bridge == str(message.get("bridgeuniqueid") or ""):
            self._leave_bridge(channel_id, track)

    def _leave_bridge(self, channel_id: str, track: Track) -> None:
        bridge_id, track.bridge = track.bridge, ""
        members = self._bridges.get(bridge_id)
        if members is None:
            return
        members.discard(channel_id)
        if not members:
            del self._bridges[bridge_id]
        call_id = channel_id
        if track.leg:
            call_id = next(
                (i for i in members if (t := self._tracks.get(i)) and t.partner == channel_id), ""
            )
        call = self._tracks.get(call_id)
        if call is not None and call.partner:
            leg_id, call.partner = call.partner, ""
            self._tell(CallUnbridged(self._node, self._now(), call_id, leg_id))

    def _user_event(self, message: Message) -> None:
        if str(message.get("userevent")) != "DialerStage":
            return
        channel_id, track = self._track(message)
        if track is None or track.leg:
            return
        try:
            stage = Stage(str(message.get("stage")))
        except ValueError:
            return
        self._start(channel_id, track)
        self._answer(channel_id, track)
        self._tell(CallStaged(self._node, self._now(), channel_id, stage))

    # -- what the dialer hears

    def _now(self) -> float:
        return self._clock.monotonic()

    def _tell(self, event: SwitchEvent) -> None:
        self._sink(event)

    def _start(self, channel_id: str, track: Track) -> None:
        if not track.started:
            track.started = True
            if not track.leg:
                self._tell(CallStarted(self._node, self._now(), channel_id))

    def _progress(self, channel_id: str, track: Track, progress: Progress) -> None:
        if track.leg or track.answered or track.progress is progress:
            return
        self._start(channel_id, track)
        track.progress = progress
        self._tell(CallProgress(self._node, self._now(), channel_id, progress))

    def _answer(self, channel_id: str, track: Track) -> None:
        if track.answered:
            return
        track.answered = True
        track.cancelled = False
        event = LegUp if track.leg else CallAnswered
        self._tell(event(self._node, self._now(), channel_id))

    def _end(self, channel_id: str, track: Track, *, unseen: bool = False) -> None:
        if self._tracks.pop(channel_id, None) is None:
            return
        self._leave_bridge(channel_id, track)
        now = self._now()
        if track.leg:
            self._tell(LegEnded(self._node, now, channel_id, track.cause, track.tech_cause))
            return
        if unseen and not track.hung_up:
            end = CallEnd.UNKNOWN
        else:
            end = classify(
                answered=track.answered,
                hung_up_by_us=track.ended_by_us,
                cancelled=track.cancelled,
                cause=track.cause,
                tech_cause=track.tech_cause,
                reason=track.reason,
            )
        self._tell(
            CallEnded(
                self._node, now, channel_id, end, track.answered, track.cause, track.tech_cause
            )
        )
        if track.recording and track.bridged:
            self._tell(RecordingEnded(self._node, now, channel_id, track.recording))


def _status(value: object) -> str:
    """The SIP status in a TechCause such as 'SIP 486 Busy Here' or '486', else ''."""
    for word in str(value or "").replace("/", " ").split():
        if len(word) == 3 and word.isdigit():
            return word
    return ""
