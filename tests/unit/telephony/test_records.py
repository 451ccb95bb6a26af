"""Call records as files: found by id from a time on, whatever else stands in them."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from telephony.events import CallEnd
from telephony.records import CelFiles, _start

pytestmark = pytest.mark.unit

START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def line(after: float, kind: str, channel: str, **extra: object) -> str:
    out = io.StringIO()
    cells = [f"{(START + timedelta(seconds=after)).timestamp():.6f}", kind, channel]
    csv.writer(out, lineterminator="\n").writerow([*cells, json.dumps(extra) if extra else "", ""])
    return out.getvalue()


def call(after: float, channel: str, *, cause: int = 16, source: str = "") -> list[str]:
    return [
        line(after, "CHAN_START", channel),
        line(after + 1, "ANSWER", channel),
        line(after + 2, "BRIDGE_ENTER", channel, bridge_technology="simple_bridge"),
        line(after + 9, "HANGUP", channel, hangupcause=cause, hangupsource=source),
        line(after + 9, "CHAN_END", channel),
    ]


async def test_a_conversation_the_far_end_ended(tmp_path: Path) -> None:
    file = tmp_path / "cel.csv"
    file.write_text("".join(call(0, "a", source="PJSIP/x")))
    found = (await CelFiles([file]).find(["a", "b"], since=START))["a"]
    assert (found.end, found.bridged, found.message_played) == (CallEnd.HUNG_UP_FAR, True, False)
    assert found.answered_at == START + timedelta(seconds=1)
    assert found.ended_at == START + timedelta(seconds=9)


@pytest.mark.parametrize(
    ("source", "end"),
    [
        ("PJSIP/trunk-01", CallEnd.HUNG_UP_FAR),
        ("PJSIP/agent-07", CallEnd.HUNG_UP_NEAR),  # the agent's phone, in the same bridge
        ("", CallEnd.HUNG_UP_NEAR),
    ],
)
async def test_an_agents_phone_that_hangs_up_is_our_side(
    tmp_path: Path, source: str, end: CallEnd
) -> None:
    file = tmp_path / "cel.csv"
    lines = call(0, "a", source=source)
    file.write_text("".join(f'{text.rstrip()},"PJSIP/trunk-01"\n' for text in lines))
    found = (await CelFiles([file]).find(["a"], since=START))["a"]
    assert found.end is end


async def test_an_abandoned_call_tells_its_message_and_the_key(tmp_path: Path) -> None:
    file = tmp_path / "cel.csv"
    file.write_text(
        line(1, "ANSWER", "a")
        + line(3, "DialerStage", "a", extra="message")
        + line(5, "DialerStage", "a", extra="optout")
        + line(7, "HANGUP", "a", hangupcause=16)
        + line(7, "CHAN_END", "a")
    )
    found = (await CelFiles([file]).find(["a"], since=START))["a"]
    assert found.message_played and found.opted_out and not found.bridged
    assert (found.stages, found.end) == (("message", "optout"), CallEnd.HUNG_UP_NEAR)


async def test_a_busy_call(tmp_path: Path) -> None:
    file = tmp_path / "cel.csv"
    file.write_text(line(1, "HANGUP", "a", hangupcause=17) + line(1, "CHAN_END", "a"))
    found = (await CelFiles([file]).find(["a"], since=START))["a"]
    assert (found.end, found.answered_at) == (CallEnd.BUSY, None)


async def test_a_call_that_lives_is_told_without_an_end(tmp_path: Path) -> None:
    file = tmp_path / "cel.csv"
    file.write_text("".join(call(0, "a")[:-1]) + "".join(call(0, "b")).rstrip("\n"))
    found = await CelFiles([file, tmp_path / "missing"]).find(["a", "b", "c"], since=START)
    assert found.keys() == {"a", "b"}  # of b the last line is only half there
    for record in found.values():
        assert (record.end, record.ended_at, record.bridged) == (None, None, True)
        assert record.answered_at == START + timedelta(seconds=1)


@pytest.mark.parametrize("asked", [["a"], ["a", "leg-one", "leg-two"]])  # of the legs, too
async def test_who_was_met_is_told_by_the_bridge(tmp_path: Path, asked: list[str]) -> None:
    file = tmp_path / "cel.csv"
    enter = "BRIDGE_ENTER"
    file.write_text(
        line(0, enter, "leg-one", bridge_id="hold", bridge_technology="holding_bridge")
        + line(1, "ANSWER", "a")
        + line(1, enter, "leg-two", bridge_id="b2", bridge_technology="simple_bridge")
        + line(1, enter, "a", bridge_id="b1", bridge_technology="simple_bridge")
        + line(1, enter, "leg-one", bridge_id="b1", bridge_technology="simple_bridge")
    )
    assert (await CelFiles([file]).find(asked, since=START))["a"].leg_id == "leg-one"


async def test_hostile_cells_harm_nothing(tmp_path: Path) -> None:
    file = tmp_path / "cel.csv"
    hostile = [
        b"\x00\xff\xfe\n", b'"unclosed,\n', b"a" * 200_000 + b"\n", b"nan,ANSWER,a,{}\n",
        b"1e400,ANSWER,a,{}\n", b"-5,ANSWER,a,{}\n", b"\n", b",,,\n",
        line(1, "HANGUP", "a", hangupcause="seventeen").encode(),
        line(1, "HANGUP", "a", hangupcause=10**30).encode(),
        b'1772355601.0,HANGUP,a,"[1]"\n', b'1772355601.0,HANGUP,a,"' + b"[" * 9000 + b'"\n',
    ]  # fmt: skip
    good = "".join(call(0, "a")).encode()
    file.write_bytes(b"".join(hostile) + good + b"".join(hostile[:8]))
    found = (await CelFiles([file]).find(["a"], since=START))["a"]
    assert (found.end, found.cause) == (CallEnd.HUNG_UP_NEAR, 16)


async def test_reading_begins_at_the_time_asked_for(tmp_path: Path) -> None:
    """A long file: the old calls are not read, the new ones are all found."""
    file = tmp_path / "cel.csv"
    file.write_text("".join("".join(call(i * 2, f"c{i}")) for i in range(5000)))
    records = CelFiles([file])
    ids = [f"c{i}" for i in range(5000)]
    assert len(await records.find(ids, since=START)) == 5000
    since = START + timedelta(seconds=8000)
    late = await records.find(ids[4000:], since=since)
    assert late.keys() == set(ids[4000:])
    with file.open("rb") as opened:
        assert _start(opened, since.timestamp()) > 0.75 * file.stat().st_size


@pytest.mark.parametrize("step", [-7200.0, 7200.0])
async def test_a_stepped_clock_hides_no_call(tmp_path: Path, step: float) -> None:
    """Asterisk's clock is set back while a call is up, or ours is ahead of it by two hours: by the
    times alone, nothing of the call would be looked at."""
    file = tmp_path / "cel.csv"
    before = [row for n in range(2_000) for row in call(n * 3.0, f"early-{n}")]
    at = 6_000.0
    split = call(at, "a")
    if step < 0:
        split = [
            *split[:2],
            line(at + step + 2, "BRIDGE_ENTER", "a", bridge_technology="simple_bridge"),
            line(at + step + 9, "HANGUP", "a", hangupcause=16, hangupsource="PJSIP/x"),
            line(at + step + 9, "CHAN_END", "a"),
        ]
        asked, after = at, at + step
    else:
        asked, after = at + step, at
    late = [row for n in range(3_000) for row in call(after + 10 + n * 2.0, f"late-{n}")]
    file.write_text("".join([*before, *split, *late]))
    since = START + timedelta(seconds=asked)
    found = (await CelFiles([file]).find(["a"], since=since))["a"]
    assert found.answered_at == START + timedelta(seconds=at + 1)
    assert found.ended_at is not None and found.bridged
