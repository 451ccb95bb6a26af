"""The abandon ledger: what the records say, rolled by the hour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialer.domain.call import CONNECTED_OUTCOMES, Outcome
from dialer.domain.work import HourCount
from dialer.engine.ledger import Ledger

pytestmark = pytest.mark.unit

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_records_and_new_calls_add_up() -> None:
    ledger = Ledger()
    ledger.load(
        [
            HourCount(NOON, "abandoned", 2, 2, 2),
            HourCount(NOON, "busy", 5, 0, 0),
            HourCount(NOON, "congestion", 3, 0, 0),
        ]
    )
    ledger.count(Outcome.ENDED_BY_AGENT, abandoned=False, at=NOON + timedelta(minutes=30))
    ledger.count(Outcome.UNKNOWN, abandoned=True, at=NOON + timedelta(minutes=61))
    assert (ledger.live_answers, ledger.abandoned, ledger.attempts) == (4, 3, 9)
    assert ledger.outcomes == {
        "abandoned": 2, "busy": 5, "congestion": 3, "ended_by_agent": 1, "unknown": 1
    }  # fmt: skip


def test_an_hour_leaves_when_all_of_it_has_left() -> None:
    ledger = Ledger()
    ledger.count(Outcome.ABANDONED, abandoned=True, at=NOON + timedelta(minutes=59))
    ledger.roll(NOON + timedelta(minutes=59, seconds=59))
    assert ledger.abandoned == 1
    ledger.roll(NOON + timedelta(hours=1))
    assert (ledger.abandoned, ledger.live_answers, ledger.outcomes) == (0, 0, {})


@given(
    st.lists(
        st.tuples(st.sampled_from(list(Outcome)), st.booleans(), st.integers(0, 72 * 60)),
        max_size=60,
    ),
    st.integers(0, 72 * 60),
)
def test_the_window_is_never_shorter_than_asked(
    calls: list[tuple[Outcome, bool, int]], since: int
) -> None:
    ledger = Ledger()
    for outcome, abandoned, minute in calls:
        ledger.count(outcome, abandoned=abandoned, at=NOON + timedelta(minutes=minute))
    start = NOON + timedelta(minutes=since)
    ledger.roll(start)
    hour = start.replace(minute=0)
    kept = [(o, a) for o, a, m in calls if NOON + timedelta(minutes=m) >= hour]
    assert ledger.abandoned == sum(a for _, a in kept)
    assert ledger.live_answers == sum(a or o in CONNECTED_OUTCOMES for o, a in kept)
    assert sum(ledger.outcomes.values()) == len(kept)
