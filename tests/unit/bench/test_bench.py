"""What the benches count with: a wrong percentile or a blind comparison makes any figure good."""

from __future__ import annotations

import json
import os
import sys

import pytest

from tests.bench import __main__ as command
from tests.bench.bridge import Listener, Seen, mistaken, people
from tests.bench.report import agree, bucket_percentile, line, percentile, processor_seconds
from tests.lab.public import PublicCall
from tests.lab.scenario import TONES
from tests.lab.verdict import same_story

pytestmark = pytest.mark.unit


def test_a_percentile_is_a_value_that_was_there() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.95) == 95
    assert percentile(values, 0.99) == 99
    assert percentile(values, 1.0) == 100
    assert percentile([7.0], 0.01) == 7
    with pytest.raises(ValueError, match="got 0"):
        percentile([], 0.5)


def test_a_percentile_of_buckets_is_never_better_than_the_truth() -> None:
    buckets = [(0.001, 50.0), (0.002, 90.0), (0.05, 94.0), (0.06, 100.0), (float("inf"), 100.0)]
    assert bucket_percentile(buckets, 0.5) == 0.001
    assert bucket_percentile(buckets, 0.9) == 0.002
    assert bucket_percentile(buckets, 0.95) == 0.06
    with pytest.raises(ValueError, match="no values"):
        bucket_percentile([(0.1, 0.0)], 0.5)


def test_a_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert line("b", "m", 1.23456, "ms", goal="below 2 ms", baseline=1.0, ok=True)
    assert not line("b", "m", 3.0, "ms", ok=False)
    assert line("b", "m", 3.0, "ms")  # nothing was asked
    first, *_ = (json.loads(text) for text in capsys.readouterr().out.splitlines())
    assert first.pop("load") >= 0
    assert first == {
        "bench": "b", "metric": "m", "value": 1.2346, "unit": "ms",
        "goal": "below 2 ms", "baseline": 1.0, "ok": True,
    }  # fmt: skip


def test_processor_time_of_a_process_grows_with_its_work() -> None:
    before = processor_seconds(os.getpid())
    while processor_seconds(os.getpid()) <= before:
        sum(range(100_000))


def test_names_are_listed_and_unknown_ones_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "--list"])
    assert command.main() == 0
    assert capsys.readouterr().out.split() == list(command.BENCHES)
    monkeypatch.setattr(sys, "argv", ["bench", "orignate"])
    assert command.main() == 2
    assert "no bench 'orignate'; there are: originate, bridge, " in capsys.readouterr().err


def _record(number: str, call: str = "1") -> dict[str, str | None]:
    return {"id": call, "number": number, "outcome": "busy", "answered_at": None,
            "connected_at": None, "agent_id": None}  # fmt: skip


def _invite(number: str, at: float) -> PublicCall:
    return PublicCall(f"c{at}", number, at, ["REFUSED 486"], at)


def test_a_doubled_or_missing_invite_is_no_good_story() -> None:
    first, second = "+12209000000", "+12209000001"
    same_story([_record(first), _record(second)], [_invite(first, 1.0), _invite(second, 1.1)])
    with pytest.raises(AssertionError, match=r"\+12209000001"):
        same_story(
            [_record(first), _record(second)],
            [_invite(first, 1.0), _invite(second, 1.1), _invite(second, 1.2)],
        )
    with pytest.raises(AssertionError, match=r"\+12209000001"):
        same_story([_record(first), _record(second)], [_invite(first, 1.0)])


def test_bridge_pop_and_record_must_name_one_agent_and_one_number() -> None:
    met = {"c": Seen(up=1.0, both=1.1, leg="leg-aa-1", down=2.0)}
    shown, spoke, ids = {"c": (1.1, "ann", "+1")}, {"c": ("ann", "+1")}, {"aa": "ann", "bb": "bob"}
    assert mistaken(met, shown, spoke, ids) == []
    assert mistaken(met, {}, spoke, ids) == ["c"]  # no pop
    assert mistaken(met, {"c": (1.1, "ann", "+2")}, spoke, ids) == ["c"]  # another's record
    assert mistaken(met, {"c": (1.1, "bob", "+1")}, spoke, ids) == ["c"]  # another agent's screen
    assert mistaken({"c": Seen(leg="leg-bb-1")}, shown, spoke, ids) == ["c"]  # another's ear
    assert mistaken(met, shown, {"c": ("bob", "+1")}, ids) == ["c"]


def test_nobody_called_sounds_like_the_beep() -> None:
    numbers = people(100)
    assert len(set(numbers)) == 100
    assert {TONES[int(called[-1])] for called in numbers} == {400, 600, 800}


def test_the_listener_takes_up_and_bridge_apart_however_the_bytes_come() -> None:
    frames = (
        b"Event: Newstate\r\nChannelState: 6\r\nUniqueid: c1\r\n\r\n"
        b"Event: BridgeEnter\r\nBridgeUniqueid: p\r\nBridgeTechnology: holding_bridge\r\n"
        b"Uniqueid: leg-aa-1\r\n\r\n"
        b"Event: BridgeEnter\r\nBridgeUniqueid: b\r\nBridgeTechnology: simple_bridge\r\n"
        b"Uniqueid: leg-aa-1\r\n\r\n"
        b"Event: BridgeEnter\r\nBridgeUniqueid: b\r\nBridgeTechnology: simple_bridge\r\n"
        b"Uniqueid: c1\r\n\r\n"
        b"Event: Hangup\r\nUniqueid: c1\r\n\r\n"
    )
    for step in (1, 7, len(frames)):
        listener = Listener(("user", "secret"))
        for start in range(0, len(frames), step):
            listener.data_received(frames[start : start + step])
        assert list(listener.calls) == ["c1"]
        seen = listener.calls["c1"]
        assert seen.leg == "leg-aa-1"
        assert 0 < seen.up <= seen.both <= seen.down


def test_records_that_differ_are_a_missed_goal(capsys: pytest.CaptureFixture[str]) -> None:
    number = "+12209000000"
    assert agree("b", [_record(number)], [_invite(number, 1.0)])
    assert not agree("b", [_record(number)], [_invite(number, 1.0), _invite(number, 1.1)])
    shown = capsys.readouterr()
    assert [json.loads(text)["ok"] for text in shown.out.splitlines()] == [True, False]
    assert number in shown.err
