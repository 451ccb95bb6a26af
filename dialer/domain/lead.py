"""A lead: one customer's membership in one list, and where the dialer is with it."""

from __future__ import annotations

from enum import Enum

from dialer.domain.machine import Machine


class LeadState(Enum):
    NEW = "new"
    HOPPER = "hopper"  # claimed by the pool's engine, its person reserved
    DIALING = "dialing"
    RETRY = "retry"  # waits for next_at
    CALLBACK = "callback"  # agreed time next_at, for callback_agent or anyone
    DONE = "done"
    BLOCKED = "blocked"


class LeadEvent(Enum):
    CLAIM = "claim"
    RETURN = "return"  # back from the hopper unused
    DIAL = "dial"
    UNDIALED = "undialed"
    RETRY = "retry"
    CALL_BACK = "call_back"
    FINISH = "finish"
    BLOCK = "block"
    REOPEN = "reopen"


_S, _E = LeadState, LeadEvent

LEAD = Machine(
    "lead",
    {
        _S.NEW: {_E.CLAIM: _S.HOPPER, _E.BLOCK: _S.BLOCKED, _E.RETRY: _S.RETRY},
        _S.RETRY: {
            _E.CLAIM: _S.HOPPER,
            _E.BLOCK: _S.BLOCKED,
            _E.CALL_BACK: _S.CALLBACK,
            _E.RETRY: _S.RETRY,
            _E.FINISH: _S.DONE,
        },
        _S.CALLBACK: {
            _E.CLAIM: _S.HOPPER,
            _E.BLOCK: _S.BLOCKED,
            _E.CALL_BACK: _S.CALLBACK,
            _E.RETRY: _S.RETRY,
            _E.FINISH: _S.DONE,
        },
        _S.HOPPER: {
            _E.DIAL: _S.DIALING,
            _E.RETURN: _S.RETRY,
            _E.RETRY: _S.RETRY,
            _E.CALL_BACK: _S.CALLBACK,  # a callback goes back as one
            _E.BLOCK: _S.BLOCKED,
            _E.FINISH: _S.DONE,
        },
        _S.DIALING: {
            _E.UNDIALED: _S.RETRY,
            _E.RETRY: _S.RETRY,
            _E.CALL_BACK: _S.CALLBACK,
            _E.FINISH: _S.DONE,
            _E.BLOCK: _S.BLOCKED,
        },
        _S.DONE: {_E.REOPEN: _S.RETRY, _E.CALL_BACK: _S.CALLBACK, _E.BLOCK: _S.BLOCKED},
        _S.BLOCKED: {_E.REOPEN: _S.RETRY},
    },
)
