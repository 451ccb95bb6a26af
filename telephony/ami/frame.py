"""One AMI frame: bytes to fields, and an action's fields to bytes.

A dialer reads half a dozen frames for every call. panoramisk's `Message` and `Action` are mappings
that grow header by header through an abstract base class: ten times the time of what is done here,
and that was a tenth of the dialer's whole processor time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Value = str | Sequence[str]
#: Header names are in lower case, as Asterisk's versions do not agree about theirs; a header that
#: came several times is a list.
Fields = Mapping[str, str | list[str]]

END = b"\r\n\r\n"


def read_frame(frame: bytes) -> Fields | None:
    """The fields of one frame without its end; None when it is neither event nor response. Bytes
    that are no UTF-8 are replaced, lines without `: ` are passed over."""
    fields: dict[str, str | list[str]] = {}
    for line in frame.decode("utf-8", "replace").strip().split("\r\n"):
        name, found, value = line.partition(": ")
        if not found:
            continue
        name = name.lower()
        if name not in fields:
            fields[name] = value
        elif isinstance(before := fields[name], list):
            before.append(value)
        else:
            fields[name] = [before, value]
    return fields if "event" in fields or "response" in fields else None


def write_action(name: str, action_id: str, fields: Mapping[str, Value]) -> bytes:
    """An action as it goes on the wire; a header with several values is repeated. Values are
    written as they are: the caller has seen to it that none holds a line break."""
    lines = [f"Action: {name}", f"ActionID: {action_id}"]
    for key, value in fields.items():
        if isinstance(value, str):
            lines.append(f"{key}: {value}")
        else:
            lines.extend(f"{key}: {one}" for one in value)
    return "\r\n".join(lines).encode() + END
