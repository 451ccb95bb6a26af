"""What capacity and soak judge by: the climb of the ladder, fitted lines, metrics, SIPp's log."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.bench.capacity import Log, Trial, between, sustained
from tests.bench.ladder import climb, rungs
from tests.bench.originate import Reading
from tests.bench.soak import between as minute
from tests.bench.soak import compared, metrics, slope
from tests.bench.twin import public

pytestmark = pytest.mark.unit


def test_rungs_grow_until_the_highest_is_reached() -> None:
    ladder = rungs(100, 200, growth=1.1)
    assert ladder[0] == 100 and ladder[-2] < 200 <= ladder[-1]
    assert all(1.05 < b / a < 1.15 for a, b in pairwise(ladder))
    with pytest.raises(ValueError, match="growth"):
        rungs(100, 200, growth=1.0)


@pytest.mark.parametrize("limit", [99, 100, 180, 345, 700, 1599, 5000])
async def test_the_climb_ends_below_what_does_not_hold(limit: int) -> None:
    ladder, asked = rungs(100, 1600, growth=1.08), []

    async def holds(rate: int) -> bool:
        asked.append(rate)
        return rate <= limit

    best = await climb(ladder, holds, start=16, trials=40)
    assert best == max((rate for rate in ladder if rate <= limit), default=0)
    assert len(asked) <= 24


async def test_a_rung_may_fail_once_and_trials_are_bounded() -> None:
    asked: list[int] = []

    async def every_other(rate: int) -> bool:
        asked.append(rate)
        return len(asked) % 2 == 0

    assert await climb([1, 2, 3], every_other, start=0, trials=10) == 3
    asked.clear()
    assert await climb(rungs(1, 100, growth=1.1), every_other, start=0, trials=3) > 0
    assert len(asked) == 3


def test_a_rate_holds_when_it_arrives_in_time_and_ends() -> None:
    assert Trial(100, 98.0, 0.05, True).holds
    assert not Trial(100, 97.9, 0.05, True).holds
    assert not Trial(100, 100.0, 0.051, True).holds
    assert not Trial(100, 100.0, 0.0, False).holds


def test_a_dialer_alone_holds_by_what_is_placed_concluded_and_decided() -> None:
    good = {"placed": 990.0, "concluded": 990.0, "answer": {"p99": 10.0}}
    assert sustained(good, 1000)
    assert not sustained({**good, "placed": 900.0}, 1000)
    assert not sustained({**good, "concluded": 900.0}, 1000)
    assert not sustained({**good, "answer": {"p99": 10.1}}, 1000)


def test_two_readings_give_lateness_and_processor_time_per_call() -> None:
    first = Reading(0.0, {0.001: 5.0, float("inf"): 5.0}, {"dialer": 1.0})
    last = Reading(1.0, {0.001: 100.0, float("inf"): 105.0}, {"dialer": 1.2})
    assert between(first, last) == (0.001, {"dialer": pytest.approx(0.002)})
    late, parts = between(last, first)  # an engine that began anew
    assert late == float("inf") and not parts


async def test_the_log_is_read_from_where_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "truth.log"
    path.write_text("TRUTH|old|INVITE|1|+1\n")
    log = Log(path)
    rows = [f"TRUTH|c{i}|INVITE|{10_000 + i * 10}|+1" for i in range(900)]
    path.write_text(path.read_text() + "\n".join(rows) + "\nTRUTH|c0|REFUSED 4")
    log.read()
    assert len(log.begun) == 900 and log.over == 0  # the last line is not whole yet
    assert log.rate() == pytest.approx(100.0, rel=0.01)


def test_a_fitted_line_tells_a_rise_from_noise() -> None:
    assert slope([(0.0, 10.0), (1.0, 12.0), (2.0, 14.0)]) == pytest.approx(2.0)
    assert slope([(0.0, 10.0), (1.0, 11.0), (2.0, 10.0)]) == pytest.approx(0.0)
    assert slope([(1.0, 5.0)]) == 0.0


def test_records_and_calls_are_compared_both_ways() -> None:
    records = {"1": "busy", "2": "expired", "3": "failed", "4": "busy"}
    assert compared(records, {"1", "4"}) == ({}, {})
    assert compared(records, {"1", "4", "2", "5"}) == ({"expired": 1, "not recorded": 1}, {})
    assert compared(records, {"1"}) == ({}, {"busy": 1})


def test_metrics_are_read_with_their_labels() -> None:
    text = '# HELP a\na{x="1",le="+Inf"} 3.0\nb 4\n'
    assert metrics(text) == [("a", {"x": "1", "le": "+Inf"}, 3.0), ("b", {}, 4.0)]
    assert minute({0.1: 2.0, 1.0: 2.0}, {0.1: 3.0, 1.0: 12.0}, 0.5) == 1.0
    assert minute({0.1: 2.0}, {0.1: 2.0}, 0.5) == 0.0


def test_the_public_of_the_twin_is_the_same_each_time() -> None:
    people = [public(f"+1202{i:07}") for i in range(2000)]
    assert people == [public(f"+1202{i:07}") for i in range(2000)]
    assert 0.1 < sum(p.end is None for p in people) / len(people) < 0.2
