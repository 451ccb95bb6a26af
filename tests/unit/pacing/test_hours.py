"""What an hour of the day changes, learnt over days: a step that comes again, not one that came."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialer.domain.call import Outcome
from dialer.domain.work import HourCount
from dialer.engine.past import answer_steps
from pacing.learning.hours import steps

pytestmark = pytest.mark.unit


def days(number: int, rates: dict[int, float], *, calls: int = 400) -> np.ndarray:
    """Records (hour, calls, answers) of so many days, rates by hour of the day."""
    rows = [(24 * d + h, calls, calls * p) for d in range(number) for h, p in rates.items()]
    return np.array(rows, dtype=np.float64).T


def learnt(records: np.ndarray) -> np.ndarray:
    return steps(records[0].astype(np.int64), records[1], records[2])


def test_a_step_that_comes_every_day_is_believed_the_more_the_oftener() -> None:
    rates = {9: 0.2, 10: 0.3, 11: 0.15}
    once, often = learnt(days(1, rates)), learnt(days(30, rates))
    assert 1.0 < once[10] < 1.3 and often[10] == pytest.approx(1.5, abs=0.05)
    assert 0.7 < once[11] < 1.0 and often[11] == pytest.approx(0.5, abs=0.05)
    others = [h for h in range(24) if h not in (10, 11)]
    assert (often[others] == 1.0).all()


def test_lists_that_differ_from_day_to_day_do_not_matter() -> None:
    good, bad = days(10, {9: 0.4, 10: 0.4}), days(10, {9: 0.1, 10: 0.1})
    bad[0] += 24 * 10
    assert learnt(np.hstack([bad, good]))[10] == pytest.approx(1.0)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 500), st.integers(0, 10_000), st.floats(0, 1)),
        unique_by=lambda record: record[0],
    )
)
def test_any_records_give_steps_within_bounds(records: list[tuple[int, int, float]]) -> None:
    hour, calls, share = (np.array([r[i] for r in records], dtype=np.float64) for i in range(3))
    found = steps(hour.astype(np.int64), calls, np.floor(calls * share))
    assert found.shape == (24,)
    assert ((found >= 0.5) & (found <= 2.0)).all()


def test_records_are_counted_by_hour_and_outcome() -> None:
    first = datetime(2026, 3, 2, 9, tzinfo=UTC)
    counts = []
    for day in range(20):
        for hour, answered in ((0, 40), (1, 80)):
            at = first + timedelta(days=day, hours=hour)
            counts += [
                HourCount(at, Outcome.ENDED_BY_AGENT.value, answered - 10, answered - 10, 0),
                HourCount(at, Outcome.MACHINE.value, 10, 0, 0),
                HourCount(at, Outcome.NO_ANSWER.value, 200 - answered, 0, 0),
                HourCount(at, Outcome.EXPIRED.value, 5000 * hour, 0, 0),  # never left
            ]
    found = answer_steps(counts)
    assert found[10] == pytest.approx(2.0, abs=0.1)
    assert found[9] == 1.0
    assert (answer_steps([]) == 1.0).all()
