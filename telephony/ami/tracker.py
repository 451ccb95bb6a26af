"""AMI events of our channels, sorted into the events the dialer sees.

AMI guarantees no order between OriginateResponse, Newchannel, Newstate Up and Hangup (in a burst
the response to a failed call came before its Newchannel). Here a call has one life: started,
progress, answered, bridged, ended, each told at most once and in that order; it is over only after
its Hangup *and* its OriginateResponse, or some time after a Failure for which no channel came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from telephony.ami.frame import Fields
from telephony.ami.track import Track, sip_status
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
_NO_CHANNEL = 1.0  # s after a Failure in which its Newchannel may still come
_NO_RESPONSE = 5.0  # s after a Hangup in which its OriginateResponse may still come
_ENDING = 0.25  # s between a far end's hang-up and the channel's: then the hang-up was lost
_CLOSING = 0.25  # s MixMonitor's thread has to close its file after the hang-up
_MOST_LOST = 10_000
_CAUSES = frozenset(str(cause) for cause in range(128))

Later = Callable[[float, Callable[[], None]], object]


def _later(delay: float, do: Callable[[], None]) -> object:
    return asyncio.get_running_loop().call_later(delay, do)


class Tracker:
    """Knows our channels on one node; feeds `sink` synchronously.

    `later` schedules on the loop; `left_over` is told of a channel that somebody must hang up, with
    the reason: its call was already told as ended, or its far end is gone and it lives on.
    """

    def __init__(
        self,
        node: str,
        *,
        sink: EventSink,
        clock: Clock,
        later: Later = _later,
        left_over: Callable[[str, str], None] = lambda channel_id, reason: None,
    ) -> None:
        self._node, self._sink, self._clock = node, sink, clock
        self._later, self._left_over = later, left_over
        self._lost: dict[str, None] = {}  # ended unseen, oldest first
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
            # Whether an answered call ends by this or by the far end, only Asterisk's own order
            # of SoftHangupRequest and HangupRequest can tell: theirs may be on its way.
            track.cancelled = not track.answered

    def claim(self, channel: ChannelSnapshot) -> ChannelSnapshot:
        """The channel with our id on it, when it is one of ours."""
        track = self._tracks.get(channel.unique_id)
        if track is None:
            return channel
        kind = "leg" if track.leg else "call"
        return replace(channel, dialer_id=channel.unique_id, kind=kind)

    def talks(self, channel_id: str) -> bool:
        """Whether this call is in a conversation now."""
        track = self._tracks.get(channel_id)
        return track is not None and bool(track.partner)

    def recording_of(self, channel_id: str) -> str:
        """The file this call is to be recorded in, or ''."""
        track = self._tracks.get(channel_id)
        return track.recording if track is not None else ""

    def link_lost(self) -> None:
        """Events were missed: responses that were due will not come any more."""
        for track in self._tracks.values():
            track.response_due = track.watched = False

    def resynchronise(
        self, channels: Sequence[ChannelSnapshot], *, holding: Collection[str] = ()
    ) -> None:
        """Bring memory in line with the live channels after a (re)connection.

        `holding`: ids of the bridges in which legs park.
        """
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
                self._follow(channel, holding=holding)
                continue
            self._start(channel_id, known)
            if channel.answered:
                self._answer(channel_id, known)
            self._place(channel, known, holding=holding)
        self._part_missed()
        self._pair_up()
        for channel_id, track in list(self._tracks.items()):
            self._park(channel_id, track, parked=track.bridge in holding)

    def adopt(self, channels: Sequence[ChannelSnapshot], *, holding: Collection[str] = ()) -> None:
        """Follow those of our channels that another dialer placed; known ones stay as they are."""
        for channel in channels:
            if channel.unique_id not in self._tracks:
                self._follow(channel, holding=holding)
        self._pair_up()

    def _follow(self, channel: ChannelSnapshot, *, holding: Collection[str]) -> None:
        if not channel.dialer_id or channel.dialer_id != channel.unique_id:
            return
        leg = channel.kind == "leg"
        track = Track(leg=leg, started=True, response_due=False, watched=False)
        track.answered = channel.answered
        track.parked = channel.bridge_id in holding
        self._tracks[channel.unique_id] = track
        self._place(channel, track, holding=holding)

    def _place(self, channel: ChannelSnapshot, track: Track, *, holding: Collection[str]) -> None:
        track.bridge = channel.bridge_id
        if channel.bridge_id and channel.bridge_id not in holding:
            self._bridges.setdefault(channel.bridge_id, set()).add(channel.unique_id)

    def _part_missed(self) -> None:
        """Conversations that ended while nobody listened."""
        for channel_id, call in list(self._tracks.items()):
            leg = self._tracks.get(call.partner)
            if call.partner and (leg is None or not call.bridge or leg.bridge != call.bridge):
                leg_id, call.partner = call.partner, ""
                self._tell(CallUnbridged(self._node, self._now(), channel_id, leg_id))

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

    def on_message(self, message: Fields) -> None:
        """One AMI event, in the order of the wire."""
        handler = self._handlers.get(str(message.get("event", "")))
        if handler is not None:
            handler(message)

    def _track(self, message: Fields) -> tuple[str, Track | None]:
        channel_id = str(message.get("uniqueid") or "")
        return channel_id, self._tracks.get(channel_id)

    def _newchannel(self, message: Fields) -> None:
        channel_id, track = self._track(message)
        if track is not None:
            self._start(channel_id, track)
        elif channel_id in self._lost:
            self._left_over(channel_id, "it began after it was given up for lost")

    def _newstate(self, message: Fields) -> None:
        channel_id, track = self._track(message)
        if track is None:
            return
        state = str(message.get("channelstate"))
        if state == _UP:
            self._start(channel_id, track)
            self._answer(channel_id, track)
        elif state == _RINGING:
            self._progress(channel_id, track, Progress.RINGING)

    def _dial_state(self, message: Fields) -> None:
        channel_id = str(message.get("destuniqueid") or "")
        track = self._tracks.get(channel_id)
        if track is None:
            return
        status = str(message.get("dialstatus"))
        if status == "RINGING":
            self._progress(channel_id, track, Progress.RINGING)
        elif status == "PROGRESS":
            self._progress(channel_id, track, Progress.EARLY_MEDIA)

    def _hangup_request(self, message: Fields) -> None:
        channel_id, track = self._track(message)
        if track is None:
            return
        if not track.ended_by_us:
            track.far_first = True
        # A BYE that comes while the channel is being moved into a bridge is lost: Asterisk's
        # channel lives on without a far end, and an agent would talk into nothing.
        self._later(_ENDING, lambda: self._still_there(channel_id, track))

    def _still_there(self, channel_id: str, track: Track) -> None:
        if self._tracks.get(channel_id) is track and not track.hung_up:
            self._left_over(channel_id, "its far end has hung up")

    def _soft_hangup(self, message: Fields) -> None:
        _, track = self._track(message)
        if track is not None and not track.far_first:
            track.ended_by_us = True

    def _hangup(self, message: Fields) -> None:
        channel_id, track = self._track(message)
        if track is None:
            return
        track.hung_up = True
        cause = str(message.get("cause") or "")
        track.cause = int(cause) if cause in _CAUSES else 0
        track.tech_cause = sip_status(message.get("techcause"))
        self._leave_bridge(channel_id, track)
        if track.response_due:
            self._later(_NO_RESPONSE, lambda: self._end(channel_id, track))
        else:
            self._end(channel_id, track)

    def _response(self, message: Fields) -> None:
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
        if track.hung_up:
            self._end(channel_id, track)
        elif track.failed and not track.started:
            self._later(_NO_CHANNEL, lambda: self._no_channel(channel_id, track))

    def _no_channel(self, channel_id: str, track: Track) -> None:
        if not track.started:
            self._end(channel_id, track)

    def _enter(self, message: Fields) -> None:
        channel_id, track = self._track(message)
        if track is None:
            return
        bridge_id = str(message.get("bridgeuniqueid") or "")
        if track.bridge == bridge_id:
            return  # told twice
        self._leave_bridge(channel_id, track)
        track.bridge = bridge_id
        if str(message.get("bridgetechnology")) == "holding_bridge":
            self._park(channel_id, track, parked=True)
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

    def _leave(self, message: Fields) -> None:
        channel_id, track = self._track(message)
        if track is not None and track.bridge == str(message.get("bridgeuniqueid") or ""):
            self._leave_bridge(channel_id, track)

    def _leave_bridge(self, channel_id: str, track: Track) -> None:
        bridge_id, track.bridge, track.parked = track.bridge, "", False
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

    def _user_event(self, message: Fields) -> None:
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

    def _park(self, channel_id: str, track: Track, *, parked: bool) -> None:
        was, track.parked = track.parked, parked
        if parked and not was and track.leg:
            self._tell(LegParked(self._node, self._now(), channel_id))

    def _end(self, channel_id: str, track: Track, *, unseen: bool = False) -> None:
        if self._tracks.get(channel_id) is not track:
            return
        del self._tracks[channel_id]
        if unseen:
            self._lost[channel_id] = None
            if len(self._lost) > _MOST_LOST:
                del self._lost[next(iter(self._lost))]
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
                hung_up_by_us=not track.far_first,
                cancelled=track.cancelled,
                cause=track.cause,
                tech_cause=track.tech_cause,
                reason=track.reason,
                heard=track.progress is not None or not track.watched,
            )
        self._tell(
            CallEnded(
                self._node, now, channel_id, end, track.answered, track.cause, track.tech_cause
            )
        )
        if track.recording and track.bridged:
            path = track.recording
            self._later(_CLOSING, lambda: self._recorded(channel_id, path))

    def _recorded(self, channel_id: str, path: str) -> None:
        self._tell(RecordingEnded(self._node, self._now(), channel_id, path))
