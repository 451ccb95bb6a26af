"""What is known of one channel of ours, between its Originate and its end."""

from __future__ import annotations

from dataclasses import dataclass

from telephony.events import Progress


@dataclass(slots=True)
class Track:
    """What is known of one channel of ours."""

    leg: bool
    started: bool = False
    answered: bool = False
    progress: Progress | None = None
    watched: bool = True  # from its Originate on, without a gap
    hung_up: bool = False
    cause: int = 0
    tech_cause: str = ""
    response_due: bool = True  # an OriginateResponse is still to come
    failed: bool = False  # the response was a Failure
    reason: str = ""
    far_first: bool = False  # the far end asked to hang up
    cancelled: bool = False  # we asked to hang up before the answer
    ended_by_us: bool = False
    parked: bool = False
    bridge: str = ""
    partner: str = ""
    bridged: bool = False  # at any time
    recording: str = ""


def sip_status(value: object) -> str:
    """The SIP status in a TechCause such as 'SIP 486 Busy Here' or '486', else ''."""
    for word in str(value or "").replace("/", " ").split():
        if len(word) == 3 and word.isascii() and word.isdigit():
            return word
    return ""
