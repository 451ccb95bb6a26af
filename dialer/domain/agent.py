"""An agent's day as states. The sum of the durations is the time signed in (invariant 5)."""

from __future__ import annotations

from enum import Enum

from dialer.domain.machine import Machine


class AgentState(Enum):
    SIGNED_OUT = "signed_out"
    CONNECTING = "connecting"  # the phone is being called
    READY = "ready"
    RESERVED = "reserved"  # chosen for an answered call, the bridge is being made
    PREVIEWING = "previewing"
    DIALING = "dialing"  # a preview or manual call is being placed for this agent
    ON_CALL = "on_call"
    CONSULTING = "consulting"
    WRAP_UP = "wrap_up"
    PAUSED = "paused"
    LEG_LOST = "leg_lost"  # grace: the phone is called again before the agent is signed out


class AgentEvent(Enum):
    SIGN_IN = "sign_in"
    LEG_PARKED = "leg_parked"
    MAKE_READY = "make_ready"
    RESERVE = "reserve"
    RELEASE = "release"  # the reserved call was gone before the bridge stood
    PREVIEW = "preview"
    SKIP = "skip"
    DIAL = "dial"
    DIAL_FAILED = "dial_failed"
    CONNECT = "connect"
    CONSULT = "consult"
    RETURN = "return"
    CALL_ENDED = "call_ended"
    WRAPPED_UP = "wrapped_up"
    PAUSE = "pause"
    LOSE_LEG = "lose_leg"
    SIGN_OUT = "sign_out"


_S, _E = AgentState, AgentEvent
_LEAVE = {_E.LOSE_LEG: _S.LEG_LOST, _E.SIGN_OUT: _S.SIGNED_OUT}

AGENT = Machine(
    "agent",
    {
        _S.SIGNED_OUT: {_E.SIGN_IN: _S.CONNECTING},
        _S.CONNECTING: {_E.LEG_PARKED: _S.PAUSED, **_LEAVE},
        _S.READY: {
            _E.RESERVE: _S.RESERVED,
            _E.PREVIEW: _S.PREVIEWING,
            _E.DIAL: _S.DIALING,
            _E.PAUSE: _S.PAUSED,
            **_LEAVE,
        },
        _S.RESERVED: {
            _E.CONNECT: _S.ON_CALL,
            _E.RELEASE: _S.READY,
            _E.CALL_ENDED: _S.WRAP_UP,
            **_LEAVE,
        },
        _S.PREVIEWING: {
            _E.DIAL: _S.DIALING,
            _E.SKIP: _S.READY,
            _E.PAUSE: _S.PAUSED,
            **_LEAVE,
        },
        _S.DIALING: {
            _E.CONNECT: _S.ON_CALL,
            _E.DIAL_FAILED: _S.WRAP_UP,
            _E.RELEASE: _S.READY,
            **_LEAVE,
        },
        _S.ON_CALL: {_E.CONSULT: _S.CONSULTING, _E.CALL_ENDED: _S.WRAP_UP, **_LEAVE},
        _S.CONSULTING: {_E.RETURN: _S.ON_CALL, _E.CALL_ENDED: _S.WRAP_UP, **_LEAVE},
        _S.WRAP_UP: {_E.WRAPPED_UP: _S.READY, _E.PAUSE: _S.PAUSED, **_LEAVE},
        _S.PAUSED: {
            _E.MAKE_READY: _S.READY,
            _E.PAUSE: _S.PAUSED,
            _E.DIAL: _S.DIALING,
            **_LEAVE,
        },
        _S.LEG_LOST: {
            _E.LEG_PARKED: _S.PAUSED,
            _E.LOSE_LEG: _S.LEG_LOST,
            _E.SIGN_OUT: _S.SIGNED_OUT,
        },
    },
)

#: States in which the agent counts for occupancy as busy (talk + hold + wrap-up).
BUSY = frozenset({_S.RESERVED, _S.ON_CALL, _S.CONSULTING, _S.WRAP_UP, _S.DIALING})
