"""Windows in many zones against a minute-by-minute oracle, at every edge of the clock."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import timezone as number_zones

from dialer.compliance.hours import Week, every_day, narrowed, next_open, week_of, zone_info

pytestmark = pytest.mark.unit

#: Clocks that change at night, at noon of nobody, by half an hour, by a whole day, and never.
ZONES = [
    "America/New_York",
    "America/St_Johns",
    "Europe/London",
    "Australia/Lord_Howe",  # by half an hour
    "Africa/Cairo",  # at midnight: a day without its first hour
    "America/Santiago",
    "Pacific/Apia",
    "Asia/Kathmandu",  # +5:45
    "Asia/Shanghai",
]


def changes(zone: str) -> list[datetime]:
    """The moments in 2026 at which this zone changes its clock."""
    info, found = ZoneInfo(zone), []
    at = datetime(2026, 1, 1, tzinfo=UTC)
    while at.year == 2026:
        after = at + timedelta(minutes=30)
        if at.astimezone(info).utcoffset() != after.astimezone(info).utcoffset():
            found.append(after)
        at = after
    return found


EDGES = sorted({at for zone in ZONES for at in changes(zone)})


def test_there_are_edges_of_both_kinds() -> None:
    assert len(EDGES) > 8
    assert {zone for zone in ZONES if changes(zone)} == {
        "America/New_York", "America/St_Johns", "Europe/London", "Australia/Lord_Howe",
        "Africa/Cairo", "America/Santiago",
    }  # fmt: skip


def is_open(zones: list[str], at: datetime, days: list[list[tuple[int, int]]]) -> bool:
    """The definition, by hand: the wall clock lies in a window of its day, or in one of the day
    before that passes midnight."""
    for zone in zones:
        local = at.astimezone(ZoneInfo(zone))
        minute = local.hour * 60 + local.minute
        today, before = days[local.weekday()], days[local.weekday() - 1]
        inside = any(a <= minute < b if a < b else minute >= a for a, b in today)
        if not inside and not any(a > b and minute < b for a, b in before):
            return False
    return True


WINDOW = st.tuples(st.integers(0, 1439), st.integers(0, 1440)).filter(lambda w: w[0] != w[1])
DAYS = st.lists(st.lists(WINDOW, max_size=2), min_size=7, max_size=7)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(EDGES),
    st.integers(-1440, 1440),
    st.integers(0, 59),
    st.lists(st.sampled_from(ZONES), min_size=1, max_size=4, unique=True),
    DAYS,
)
def test_the_next_opening_is_the_first_minute_that_is_open_everywhere(
    edge: datetime, minutes: int, seconds: int, zones: list[str], days: list[list[tuple[int, int]]]
) -> None:
    start = edge + timedelta(minutes=minutes, seconds=seconds)
    found = next_open(zones, start, week=week_of(days))
    if is_open(zones, start, days):
        assert found == start
        return
    at = start.replace(second=0) + timedelta(minutes=1)
    for _ in range(2 * 1440):
        if is_open(zones, at, days):
            assert found == at
            return
        at += timedelta(minutes=1)
    assert found is None or found >= at


def test_a_window_that_the_clock_jumps_over_opens_on_the_next_day() -> None:
    week = every_day([(125, 175)])  # 2:05 to 2:55; New York has no 2 o'clock on 8 March
    night = datetime(2026, 3, 8, 6, tzinfo=UTC)  # 1:00
    assert next_open(["America/New_York"], night, week=week) == datetime(
        2026, 3, 9, 6, 5, tzinfo=UTC
    )


def test_a_window_that_the_clock_repeats_is_open_twice() -> None:
    week = every_day([(75, 90)])  # 1:15 to 1:30; New York has 1 o'clock twice on 1 November
    first = datetime(2026, 11, 1, 5, 15, tzinfo=UTC)
    zones = ["America/New_York"]
    assert next_open(zones, first - timedelta(hours=1), week=week) == first
    assert next_open(zones, first + timedelta(minutes=15), week=week) == first + timedelta(hours=1)


def test_sunday_has_hours_of_its_own() -> None:
    week = week_of([[(480, 1260)]] * 6 + [[(540, 1200)]])
    saturday_night = datetime(2026, 1, 3, 22, tzinfo=UTC)
    sunday = datetime(2026, 1, 4, 9, tzinfo=UTC)
    assert next_open(["Europe/London"], saturday_night, week=week) == sunday
    sunday_evening = sunday.replace(hour=20)
    assert next_open(["Europe/London"], sunday_evening, week=week) == datetime(
        2026, 1, 5, 8, tzinfo=UTC
    )


def test_a_window_over_midnight_goes_on_in_the_next_day_and_week() -> None:
    week = week_of([[] for _ in range(6)] + [[(1320, 120)]])  # Sunday 22:00 to Monday 2:00
    assert week == (((0, 120),), (), (), (), (), (), ((1320, 1440),))
    monday = datetime(2026, 1, 5, 1, 59, 59, tzinfo=UTC)
    assert next_open(["UTC"], monday, week=week) == monday
    assert next_open(["UTC"], monday + timedelta(seconds=1), week=week) == datetime(
        2026, 1, 11, 22, tzinfo=UTC
    )


def test_closed_days_and_days_without_windows_are_passed_over() -> None:
    week = week_of([[(540, 1020)]] * 5 + [[], []])
    friday = datetime(2026, 1, 2, 17, tzinfo=UTC)
    shut = date(2026, 1, 5)
    assert next_open(["UTC"], friday, week=week, closed=lambda d: d == shut) == datetime(
        2026, 1, 6, 9, tzinfo=UTC
    )
    assert next_open(["UTC"], friday, week=week, closed=lambda d: True) is None


def test_a_campaign_only_narrows() -> None:
    week = week_of([[(480, 1260)]] * 7)
    assert narrowed(week, ()) == week
    assert narrowed(week, ((0, 540), (1200, 120))) == week_of([[(480, 540), (1200, 1260)]] * 7)
    assert narrowed(week, ((0, 300),)) == ((),) * 7


@pytest.mark.parametrize("days", [[[]] * 6, [[(600, 600)]] * 7, [[(1440, 5)]] * 7, [[(-1, 5)]] * 7])
def test_what_is_no_week_is_refused(days: Week) -> None:
    with pytest.raises(ValueError, match="hours"):
        week_of(days)


def test_every_zone_a_number_can_have_is_known() -> None:
    names = {name for zones in number_zones.TIMEZONE_DATA.values() for name in zones}
    assert len(names) > 250
    assert not [name for name in names if zone_info(name) is None]


def test_a_number_that_is_never_open_is_judged_quickly() -> None:
    """Forty zones and one hour a day: the engine's loop must not stand still over it."""
    zones = sorted({n for z in number_zones.TIMEZONE_DATA.values() for n in z})[::7]
    assert len(zones) >= 40
    began = time.process_time()
    assert next_open(zones, EDGES[0], week=every_day([(600, 660)])) is None
    assert time.process_time() - began < 0.05
