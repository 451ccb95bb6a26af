"""What a switch tells us, as values.

AMI frames stop at the transport; everything above sees these. Identifiers are ours: a call is known
by its attempt's id from before its Originate leaves, an agent's leg by its leg id. Events of one
call or leg arrive in an order that makes sense (`telephony` sorts out AMI's), each carries the
monotonic second at which its frame was read, and `CallEnded` / `LegEnded` come exactly once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

CallId = str  # the attempt's id: Originate's ChannelId and ActionID
LegId = str  # "leg-" + uuid


class Progress(Enum):
    """What the network said while it rings."""

    TRYING = "trying"
    RINGING = "ringing"  # 180
    EARLY_MEDIA = "early_media"  # 183


class Stage(Enum):
    """Where the dialplan has an answered call that no agent took (reported by it)."""

    HUMAN = "human"
    MACHINE = "machine"
    WAITING = "waiting"
    MESSAGE = "message"  # the abandon message began: the call counts as abandoned
    OPT_OUT = "optout"  # the person pressed the opt-out key
    FINISHED = "finished"


class CallEnd(Enum):
    """How the network ended a call; who is to blame is the dialer's to say."""

    HUNG_UP_FAR = "hung_up_far"  # answered, the far end hung up
    HUNG_UP_NEAR = "hung_up_near"  # answered, our side hung up
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    REJECTED = "rejected"
    INVALID_NUMBER = "invalid_number"
    CONGESTION = "congestion"
    SILENT = "silent"  # the trunk neither rang nor refused: nobody says that it was heard
    CANCELLED = "cancelled"
    REDIRECTED = "redirected"  # a 302: an outcome, never an instruction
    FAILED = "failed"  # no channel was made, or the media could not be agreed
    UNKNOWN = "unknown"  # the link or the node was lost and the records do not say


@dataclass(frozen=True, slots=True)
class SwitchEvent:
    node: str
    at: float  # seconds, Clock.monotonic() when the frame was read


@dataclass(frozen=True, slots=True)
class ChannelSnapshot:
    """One live channel as found at a resynchronisation. `dialer_id` is our id or ''."""

    channel: str
    unique_id: str
    dialer_id: str
    kind: str  # "call", "leg" or "" when the channel is not ours
    answered: bool
    bridge_id: str
    seconds: float


@dataclass(frozen=True, slots=True)
class NodeUp(SwitchEvent):
    """Logged in and resynchronised. `restarted`: not the Asterisk process we knew."""

    restarted: bool
    channels: tuple[ChannelSnapshot, ...]


@dataclass(frozen=True, slots=True)
class NodeDown(SwitchEvent):
    reason: str


@dataclass(frozen=True, slots=True)
class CallStarted(SwitchEvent):
    """The channel exists: the INVITE is leaving."""

    call_id: CallId


@dataclass(frozen=True, slots=True)
class CallProgress(SwitchEvent):
    call_id: CallId
    progress: Progress


@dataclass(frozen=True, slots=True)
class CallAnswered(SwitchEvent):
    """Newstate Up."""

    call_id: CallId


@dataclass(frozen=True, slots=True)
class CallStaged(SwitchEvent):
    call_id: CallId
    stage: Stage


@dataclass(frozen=True, slots=True)
class CallBridged(SwitchEvent):
    """Both channels are in one bridge: the two hear each other."""

    call_id: CallId
    leg_id: LegId
    bridge_id: str


@dataclass(frozen=True, slots=True)
class CallUnbridged(SwitchEvent):
    call_id: CallId
    leg_id: LegId


@dataclass(frozen=True, slots=True)
class CallEnded(SwitchEvent):
    """The last event of a call. `cause` is Q.850, `tech_cause` the SIP status or ''.

    `answered` is True when the call was Up at any time, whatever its causes say.
    """

    call_id: CallId
    end: CallEnd
    answered: bool
    cause: int
    tech_cause: str


@dataclass(frozen=True, slots=True)
class LegUp(SwitchEvent):
    """The agent's phone answered."""

    leg_id: LegId


@dataclass(frozen=True, slots=True)
class LegParked(SwitchEvent):
    """The leg waits in its park loop and can be bridged."""

    leg_id: LegId


@dataclass(frozen=True, slots=True)
class LegEnded(SwitchEvent):
    leg_id: LegId
    cause: int
    tech_cause: str


@dataclass(frozen=True, slots=True)
class RecordingEnded(SwitchEvent):
    """MixMonitor closed `path` (on the node's disk); it can be collected."""

    call_id: CallId
    path: str
