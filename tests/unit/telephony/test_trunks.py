"""Trunks: lines and calls per second that hold, a breaker that spares a list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.trunks import Breaker, Trunk, TrunkSettings

pytestmark = pytest.mark.unit

SETTINGS = TrunkSettings("t", "n1", "10.0.0.1", lines=3, calls_per_second=2.0, window=5, rest=30.0)


def test_lines_are_taken_and_given_back() -> None:
    trunk = Trunk(SETTINGS)
    assert [trunk.take(now) for now in (1.0, 2.0, 3.0, 4.0)] == [True, True, True, False]
    trunk.release()
    assert trunk.take(5.0) and trunk.used == 3


@given(st.lists(st.floats(0.0, 0.7), min_size=1, max_size=200), st.floats(1.0, 20.0))
def test_calls_per_second_hold_however_they_are_asked_for(gaps: list[float], rate: float) -> None:
    settings = TrunkSettings("t", "n1", "h", lines=10_000, calls_per_second=rate)
    trunk, now, taken = Trunk(settings), 100.0, 0
    for gap in gaps:
        now += gap
        taken += trunk.take(now)
    assert taken <= (now - 100.0 - gaps[0]) * rate + rate + 1e-6


def test_only_allowed_prefixes() -> None:
    trunk = Trunk(TrunkSettings("t", "n1", "h", prefixes=("+44", "+1")))
    assert trunk.may_call("+441") and trunk.may_call("+1202") and not trunk.may_call("+49")


def test_the_breaker_opens_rests_tries_and_closes() -> None:
    trunk = Trunk(SETTINGS)
    for _ in range(5):
        trunk.report(trunk_failure=True, now=10.0, what="503")
    assert trunk.breaker is Breaker.OPEN and "503" in trunk.reason
    assert trunk.free_lines(39.9) == 0 and not trunk.take(39.9)
    assert trunk.take(40.0) and trunk.breaker is Breaker.HALF_OPEN
    assert not trunk.take(41.0)  # one call tries it
    trunk.release()
    trunk.report(trunk_failure=True, now=42.0, what="503")
    assert trunk.breaker is Breaker.OPEN and trunk.retry_at == 72.0
    assert trunk.take(72.0)
    trunk.release()
    trunk.report(trunk_failure=False, now=73.0)
    assert trunk.breaker is Breaker.CLOSED and trunk.reason == ""


def test_late_results_of_older_calls_do_not_judge_an_open_trunk() -> None:
    trunk = Trunk(SETTINGS)
    for _ in range(5):
        trunk.report(trunk_failure=True, now=10.0, what="404")
    trunk.report(trunk_failure=False, now=11.0)
    assert trunk.breaker is Breaker.OPEN


def test_a_mixed_list_trips_nothing() -> None:
    trunk = Trunk(SETTINGS)
    for index in range(50):
        trunk.report(trunk_failure=index % 2 == 0, now=1.0, what="404")
    assert trunk.breaker is Breaker.CLOSED


def test_costly_numbers_are_refused_unless_the_trunk_says_otherwise() -> None:
    trunk = Trunk(TrunkSettings("t", "n1", "h"))
    assert trunk.may_call("+12025550111") and trunk.may_call("+442079460000")
    for number in ("+19005550111", "+8816123456789", "+9795550111", "+449012345678"):
        assert not trunk.may_call(number), number
    assert Trunk(TrunkSettings("t", "n1", "h", refused=())).may_call("+8816123456789")
