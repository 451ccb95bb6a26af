"""The steps of a call's life as the manager link shows them, for faults at each of them."""

from __future__ import annotations

from collections.abc import Callable

from tests.lab.faulty_link import Step


def _action(name: str, *, leg: bool) -> Callable[[bytes], bool]:
    """An action that the dialer sends, for an agent's leg or for a call."""
    start = f"Action: {name}\r\n".encode()

    def is_it(frame: bytes) -> bool:
        return start in frame and (b"Id: leg-" in frame or b"Channel: leg-" in frame) is leg

    return is_it


def _event(name: str, *having: str, leg: bool, without: str = "") -> Callable[[bytes], bool]:
    """An event of an agent's leg or of a call; `having` and `without`: lines of the frame."""
    lines = [f"Event: {name}\r\n".encode(), *(f"{line}\r\n".encode() for line in having)]

    def is_it(frame: bytes) -> bool:
        return (
            all(line in frame for line in lines)
            and (b"\nUniqueid: leg-" in frame) is leg
            and not (without and without.encode() in frame)
        )

    return is_it


def _originate_response(*, leg: bool) -> Callable[[bytes], bool]:
    """Asterisk's word that it has taken the Originate, whose ActionID is the channel's id."""

    def is_it(frame: bytes) -> bool:
        taken = frame.startswith(b"Response: Success") and b"Originate successfully" in frame
        return taken and (b"ActionID: leg-" in frame) is leg

    return is_it


_IN_CONVERSATION = _event("BridgeEnter", leg=False, without="holding_bridge")
_UP, _RINGING = "ChannelState: 6", "ChannelState: 5"

CALL_STEPS = (
    Step("before the Originate leaves", False, _action("Originate", leg=False)),
    Step("after the Originate, before its answer", True, _originate_response(leg=False)),
    Step("ringing", True, _event("Newstate", _RINGING, leg=False)),
    Step("at Up", True, _event("Newstate", _UP, leg=False)),
    Step("at Bridge", False, lambda frame: b"Action: Bridge\r\n" in frame),
    Step("as they meet", True, _IN_CONVERSATION),
    Step("in conversation", True, _IN_CONVERSATION, later=0.4),
    Step("before our hang-up leaves", False, _action("Hangup", leg=False)),
    Step("at the hang-up", True, _event("Hangup", leg=False)),
    Step("in wrap-up", True, _event("BridgeLeave", leg=False, without="holding_bridge"), later=0.2),
)
LEG_STEPS = (
    Step("before the leg's Originate leaves", False, _action("Originate", leg=True)),
    Step("after the leg's Originate, before its answer", True, _originate_response(leg=True)),
    Step("at the leg's Up", True, _event("Newstate", _UP, leg=True)),
    Step("as the leg parks", True, _event("BridgeEnter", leg=True)),
    Step("before the leg is put down", False, _action("Hangup", leg=True)),
    Step("at the leg's end", True, _event("Hangup", leg=True)),
)
