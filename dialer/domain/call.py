"""An outbound call's life and its ends. An attempt has exactly one outcome."""

from __future__ import annotations

from enum import Enum

from dialer.domain.machine import Machine


class CallState(Enum):
    INTENDED = "intended"
    SENT = "sent"
    RINGING = "ringing"
    ANSWERED = "answered"
    ANALYSING = "analysing"
    WAITING = "waiting"  # for an agent, inside the connect window
    CONNECTING = "connecting"  # an agent is reserved, the bridge is being made
    CONNECTED = "connected"
    HELD = "held"
    CONSULTING = "consulting"
    IN_CONFERENCE = "in_conference"
    PLAYING = "playing"  # the abandon message, or an announcement
    ENDED = "ended"


class CallStep(Enum):
    SEND = "send"
    RING = "ring"
    ANSWER = "answer"
    ANALYSE = "analyse"
    WAIT = "wait"
    TAKE = "take"
    GIVE_BACK = "give_back"
    CONNECT = "connect"
    HOLD = "hold"
    RESUME = "resume"
    CONSULT = "consult"
    JOIN = "join"
    PLAY = "play"
    END = "end"


_S, _E = CallState, CallStep
_END = {_E.END: _S.ENDED}

CALL = Machine(
    "call",
    {
        _S.INTENDED: {_E.SEND: _S.SENT, **_END},
        _S.SENT: {_E.RING: _S.RINGING, _E.ANSWER: _S.ANSWERED, **_END},
        _S.RINGING: {_E.RING: _S.RINGING, _E.ANSWER: _S.ANSWERED, **_END},
        _S.ANSWERED: {
            _E.ANALYSE: _S.ANALYSING,
            _E.WAIT: _S.WAITING,
            _E.TAKE: _S.CONNECTING,
            _E.PLAY: _S.PLAYING,
            **_END,
        },
        _S.ANALYSING: {_E.WAIT: _S.WAITING, _E.TAKE: _S.CONNECTING, _E.PLAY: _S.PLAYING, **_END},
        _S.WAITING: {_E.TAKE: _S.CONNECTING, _E.PLAY: _S.PLAYING, **_END},
        _S.CONNECTING: {
            _E.CONNECT: _S.CONNECTED,
            _E.GIVE_BACK: _S.WAITING,
            _E.PLAY: _S.PLAYING,
            **_END,
        },
        _S.CONNECTED: {
            _E.HOLD: _S.HELD,
            _E.CONSULT: _S.CONSULTING,
            _E.JOIN: _S.IN_CONFERENCE,
            **_END,
        },
        _S.HELD: {_E.RESUME: _S.CONNECTED, _E.CONSULT: _S.CONSULTING, **_END},
        _S.CONSULTING: {_E.RESUME: _S.CONNECTED, _E.JOIN: _S.IN_CONFERENCE, **_END},
        _S.IN_CONFERENCE: {_E.RESUME: _S.CONNECTED, **_END},
        _S.PLAYING: {**_END},
        _S.ENDED: {},
    },
)


class Outcome(Enum):
    """How an attempt ended, as the dialer judges it."""

    ENDED_BY_AGENT = "ended_by_agent"
    ENDED_BY_CUSTOMER = "ended_by_customer"
    ABANDONED = "abandoned"  # answered by a person, nobody there within the connect window
    HUNG_UP_WAITING = "hung_up_waiting"  # the person hung up inside the connect window
    MACHINE = "machine"
    FAX = "fax"
    CALL_SCREENING = "call_screening"
    MESSAGE_DELIVERED = "message_delivered"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    REJECTED = "rejected"
    INVALID_NUMBER = "invalid_number"
    CONGESTION = "congestion"
    CANCELLED = "cancelled"
    EXPIRED = "expired"  # intended, never sent: the person was not called
    FAILED = "failed"
    UNKNOWN = "unknown"


#: A person spoke with an agent.
CONNECTED_OUTCOMES = frozenset({Outcome.ENDED_BY_AGENT, Outcome.ENDED_BY_CUSTOMER})

#: The person's telephone cannot have rung: costs the lead no attempt and counts for no limit.
UNDIALED_OUTCOMES = frozenset({Outcome.EXPIRED})

#: Costs the lead no attempt (the network's fault), though it may have rung and counts for limits.
FREE_OUTCOMES = frozenset({Outcome.CONGESTION, Outcome.EXPIRED})
