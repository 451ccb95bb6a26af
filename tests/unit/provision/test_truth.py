"""The truth log: what SIPp wrote becomes calls, and broken lines do no harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.public import read_truth
from tests.lab.scenario import number

pytestmark = pytest.mark.unit


def test_lines_become_calls_in_order(tmp_path: Path) -> None:
    log = tmp_path / "truth.log"
    log.write_text(
        "TRUTH|a@1|INVITE|1500|+12019000001\n"
        "TRUTH|b@1|INVITE|1600|+12020000002\n"
        "TRUTH|b@1|REFUSED 486|1601|+12020000002\n"
        "TRUTH|a@1|ANSWERED|1800|+12019000001\n"
        "TRUTH|a@1|BYE_RECEIVED|4000|+12019000001\n"
    )
    first, second = read_truth(log)
    assert (first.number, first.at, first.answered) == ("+12019000001", 1.5, True)
    assert (first.ends, first.end_at) == (["ANSWERED", "BYE_RECEIVED"], 4.0)
    assert second.ends == ["REFUSED 486"] and not second.answered and second.ended


def test_an_answered_call_has_not_ended(tmp_path: Path) -> None:
    log = tmp_path / "truth.log"
    log.write_text("TRUTH|a|INVITE|1|+12019000001\nTRUTH|a|ANSWERED|2|+12019000001\n")
    (call,) = read_truth(log)
    assert call.answered and not call.ended


def test_broken_lines_are_skipped(tmp_path: Path) -> None:
    log = tmp_path / "truth.log"
    log.write_bytes(
        b"\xff\xfe\nTRUTH|a|INVITE|x|+1\nTRUTH|only\nTRUTH|ghost|ANSWERED|5|+1\n"
        b"TRUTH|c|INVITE|7|+12020000002\nTRUTH|c|REF"
    )
    assert [c.call_id for c in read_truth(log)] == ["c"]
    assert read_truth(tmp_path / "none") == []


def test_numbers_follow_the_plan() -> None:
    assert number(behaviour=0, delay=3, talk=5, index=42) == "+12035000042"
    with pytest.raises(ValueError, match="numbering plan"):
        number(behaviour=10, index=1)
