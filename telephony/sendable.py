"""What may be sent to a switch at all: asked before any writer sees a value.

Everything here came from outside at some time (numbers, caller IDs, file names). The patterns are
narrow on purpose: no line break, NUL, quote, comma or `${` can pass, whatever is behind the port.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from telephony.switch import NotSent, Originate

_NUMBER = re.compile(r"\+?[0-9]{2,20}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,79}")
_SOUND = re.compile(r"[A-Za-z0-9][A-Za-z0-9_/\-]{0,199}")
_PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9_/.\-]{0,199}")
_VALUE = re.compile(r"[A-Za-z0-9_.:/+\-]{0,200}")


def check_originate(request: Originate) -> None:
    """Raise NotSent when any field of the call may not be sent."""
    check_name(request.call_id, "call id")
    check_name(request.trunk, "trunk")
    if not _NUMBER.fullmatch(request.number):
        raise NotSent("the number is not one")
    if request.caller_id and not _NUMBER.fullmatch(request.caller_id):
        raise NotSent("the caller id is not a number")
    check_sound(request.abandon_sound)
    if request.record and (not _PATH.fullmatch(request.record) or ".." in request.record):
        raise NotSent("the recording's path is not one")
    check_variables(request.variables)


def check_variables(variables: Mapping[str, str]) -> None:
    """Raise NotSent for a channel variable that could mean more than its value."""
    for key, value in variables.items():
        if not _NAME.fullmatch(key) or not _VALUE.fullmatch(value):
            raise NotSent(f"variable {key[:40]!r} has a value that may not be sent")


def check_name(value: str, what: str) -> str:
    """`value`, an identifier of ours; raises NotSent when it is not one."""
    if not _NAME.fullmatch(value):
        raise NotSent(f"{what} may not be sent")
    return value


def check_sound(value: str) -> str:
    """`value`, the name of a sound; raises NotSent when it is not one."""
    if not _SOUND.fullmatch(value):
        raise NotSent("the sound's name is not one")
    return value
