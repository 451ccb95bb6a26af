"""The called public of the twin: which number behaves how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from telephony.events import CallEnd

#: Q.850 cause and SIP status per end, as measured on the real network side.
CAUSES: Mapping[CallEnd, tuple[int, str]] = {
    CallEnd.BUSY: (17, "486"),
    CallEnd.NO_ANSWER: (19, "480"),
    CallEnd.REJECTED: (21, "603"),
    CallEnd.INVALID_NUMBER: (1, "404"),
    CallEnd.CONGESTION: (34, "503"),
    CallEnd.SILENT: (19, "480"),
    CallEnd.REDIRECTED: (23, "302"),
    CallEnd.FAILED: (0, ""),
    CallEnd.CANCELLED: (16, ""),
    CallEnd.HUNG_UP_FAR: (16, ""),
    CallEnd.HUNG_UP_NEAR: (16, ""),
    CallEnd.UNKNOWN: (0, ""),
}


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What one number does when it is called. Times in seconds.

    `end` None answers after `delay`; otherwise the call ends so after `delay`. FAILED means that
    no channel is made, SILENT that nothing comes until the caller gives up. `talk`: the far end
    hangs up so long after its answer, None never does.
    """

    end: CallEnd | None = None
    delay: float = 0.0
    talk: float | None = None
    machine: bool = False  # what answering-machine detection finds
    opts_out: bool = False  # presses the key when it hears the abandon message


ANSWERS = Behaviour()
_FOREVER = 3600.0

Public = Callable[[str], Behaviour]


def by_number(behaviours: Mapping[str, Behaviour], *, others: Behaviour = ANSWERS) -> Public:
    """A public in which some numbers behave as written and all others as `others`."""

    def public(number: str) -> Behaviour:
        return behaviours.get(number, others)

    return public


_DELAYS = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
_PLAN: Mapping[str, CallEnd] = {
    "2": CallEnd.BUSY,
    "4": CallEnd.INVALID_NUMBER,
    "5": CallEnd.NO_ANSWER,
    "6": CallEnd.CONGESTION,
    "7": CallEnd.REJECTED,
}


def numbering_plan(number: str) -> Behaviour:
    """The laboratory's plan `+12BDTnnnnnn`, so that one list runs on the twin and on SIPp.

    B: 0 answers and hangs up after T - 1 s, 1 answers and waits, 2 busy, 3 rings for ever, 4 not
    found, 5 unavailable, 6 congestion, 7 declines, 8 rings then fails, 9 answers and hangs up at
    once. D: which delay. Numbers outside the plan do not exist.
    """
    digits = number.removeprefix("+")
    if len(digits) != 11 or not digits.startswith("12") or not digits.isdigit():
        return Behaviour(CallEnd.INVALID_NUMBER)
    kind, delay, talk = digits[2], _DELAYS[int(digits[3])], float(digits[4])
    if kind in _PLAN:
        return Behaviour(_PLAN[kind])
    if kind == "3":
        return Behaviour(delay=_FOREVER)
    if kind == "8":
        return Behaviour(CallEnd.CONGESTION, delay=delay)
    if kind == "9":
        return Behaviour(delay=delay, talk=0.0)
    return Behaviour(delay=delay, talk=max(talk - 1.0, 1.0) if kind == "0" else None)
