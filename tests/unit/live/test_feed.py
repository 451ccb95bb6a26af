"""In order, once, nothing lost - or told that something is."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialer.live.feed import Feed, Seq, SlowSubscriber
from telephony.clock import ManualClock

pytestmark = pytest.mark.unit


def feed() -> Feed:
    return Feed(ManualClock(datetime(2026, 1, 1, tzinfo=UTC)))


@given(st.integers(0, 700), st.integers(0, 700), st.integers(0, 40))
def test_a_cut_at_any_message_loses_and_repeats_nothing(before: int, seen: int, after: int) -> None:
    f = feed()
    f.set_epoch("agent:", 3)
    for i in range(before):
        f.post("agent:1", "state", {"i": i})
    seen = min(seen, before)
    back = f.subscribe("agent:1", Seq(3, seen))
    for i in range(before, before + after):
        f.post("agent:1", "state", {"i": i})
    got = [orjson.loads(m.frame)["data"]["i"] for m in back.take()]
    if back.missed:
        assert before - seen > 512
    else:
        assert got == list(range(seen, before + after))


def test_another_epoch_or_a_number_from_the_future_asks_for_a_snapshot() -> None:
    f = feed()
    f.set_epoch("agent:", 2)
    f.post("agent:1", "state", {})
    assert f.subscribe("agent:1", Seq(1, 1)).missed
    assert f.subscribe("agent:1", Seq(2, 9)).missed
    assert not f.subscribe("agent:1", Seq(2, 1)).missed


def test_a_slow_subscriber_is_cut_off_and_harms_no_other() -> None:
    f = feed()
    slow, quick = f.subscribe("a", None), f.subscribe("a", None)
    for i in range(1100):
        f.post("a", "x", {"i": i})
        quick.take()
    with pytest.raises(SlowSubscriber):
        slow.take()


@pytest.mark.parametrize("text", ["", "1", "1-", "-1", "1-x", "1--2", "9" * 50 + "-1"])
def test_a_sequence_from_outside_is_checked(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        Seq.parse(text)
