"""One AMI frame is read as panoramisk reads it, and written so that it reads the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from panoramisk.message import Message

from telephony.ami.frame import END, read_frame, write_action

pytestmark = pytest.mark.unit

_TEXT = st.text(
    st.characters(exclude_categories=("C", "Z"), exclude_characters="\x85\u2028\u2029"),
    min_size=1, max_size=20,
)  # fmt: skip
_NAME = st.from_regex(r"[A-Z][A-Za-z]{0,12}", fullmatch=True)
_SPECIAL = frozenset({"event", "response", "result", "actionid", "action", "content"})
_HEADER = st.tuples(_NAME.filter(lambda n: n.lower() not in _SPECIAL), _TEXT)


@given(kind=st.sampled_from(["Event", "Response"]), headers=st.lists(_HEADER, max_size=12))
def test_what_panoramisk_reads_is_read_the_same(kind: str, headers: list[tuple[str, str]]) -> None:
    # panoramisk tells `Name` from `NAME` where both come, and keeps the last one.
    spelt: dict[str, str] = {}
    headers = [(spelt.setdefault(name.lower(), name), value) for name, value in headers]
    frame = "".join(f"{name}: {value}\r\n" for name, value in [(kind, "X"), *headers])
    theirs = Message.from_line(frame.strip())
    expected = {name.lower(): theirs[name] for name in theirs if name != "content"}
    assert read_frame(frame.encode()) == expected


def test_neither_event_nor_response_is_none() -> None:
    for frame in (b"", b"\r\n", b"Foo: bar", b"Event", b"\xff\xfe", b"Event:none"):
        assert read_frame(frame) is None


def test_headers_that_come_again_are_a_list() -> None:
    read = read_frame(b"Event: E\r\nV: a=1\r\nV: b=2\r\nv: c=3\r\nW: \r\nno header\r\n")
    assert read == {"event": "E", "v": ["a=1", "b=2", "c=3"], "w": ""}


@given(fields=st.dictionaries(_NAME.filter(lambda n: n.lower() not in _SPECIAL), st.one_of(
    _TEXT, st.lists(_TEXT, min_size=2, max_size=4)), max_size=6))  # fmt: skip
def test_what_is_written_can_be_read(fields: dict[str, str | list[str]]) -> None:
    by_name = {name.lower(): (name, value) for name, value in fields.items()}
    written = write_action("Originate", "a-1", dict(by_name.values()))
    assert written.startswith(b"Action: Originate\r\nActionID: a-1\r\n")
    assert written.endswith(END)
    assert written.count(END) == 1
    read = read_frame(b"Event: E\r\n" + written[: -len(END)])
    expected = {name: value for name, (_, value) in by_name.items()}
    assert read == {"event": "E", "action": "Originate", "actionid": "a-1", **expected}
