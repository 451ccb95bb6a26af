"""Calling hours on the called person's clock: when is a window open in every zone at once?

Windows are minutes of local days; zones change their offset. Nothing here steps through time minute
by minute: it goes from one edge to the next (a window's begin, midnight, a change of the clock), so
that an answer takes microseconds, also for a number that may be in forty zones, or is never open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import holidays

Windows = tuple[tuple[int, int], ...]  # minutes after local midnight, [from, to)
Week = tuple[Windows, ...]  # Monday first

_HORIZON = timedelta(days=14)  # what is not open for so long is never open
_DAY = timedelta(days=1)


@lru_cache(maxsize=1024)
def zone_info(name: str) -> ZoneInfo | None:
    """The zone of an IANA name, None for what is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def week_of(days: Iterable[Iterable[tuple[int, int]]]) -> Week:
    """Seven days of windows, in order; one that passes midnight goes on in the next day.

    Raises ValueError for a window without length or for anything but seven days.
    """
    found: list[list[tuple[int, int]]] = [[] for _ in range(7)]
    given = list(days)
    if len(given) != 7:
        raise ValueError(f"hours: expected 7 days, got {len(given)}")
    for index, day in enumerate(given):
        for opens, closes in day:
            if opens == closes or not (0 <= opens < 1440 and 0 <= closes <= 1440):
                raise ValueError(f"hours: {opens} to {closes} is no window")
            if opens < closes:
                found[index].append((opens, closes))
            else:
                found[index].append((opens, 1440))
                if closes:
                    found[(index + 1) % 7].append((0, closes))
    return tuple(tuple(sorted(day)) for day in found)


def every_day(windows: Iterable[tuple[int, int]]) -> Week:
    """The same windows each day."""
    each = tuple(windows)
    return week_of([each] * 7)


@lru_cache(maxsize=256)
def narrowed(week: Week, windows: Windows) -> Week:
    """What is open in the week *and* in the campaign's own windows; no windows: all of the week."""
    if not windows:
        return week
    narrow = every_day(windows)
    return tuple(
        tuple(
            (max(a, c), min(b, d))
            for a, b in day
            for c, d in narrow[index]
            if max(a, c) < min(b, d)
        )
        for index, day in enumerate(week)
    )


@lru_cache(maxsize=4096)
def is_holiday(region: str, day: date) -> bool:
    """A public holiday of the whole country; unknown countries have none."""
    try:
        return day in holidays.country_holidays(region, years=day.year)
    except NotImplementedError:
        return False


def next_open(
    zones: Iterable[str],
    start: datetime,
    *,
    week: Week,
    closed: Callable[[date], bool] = lambda day: False,
) -> datetime | None:
    """The first moment from `start` on at which every zone is open; None within two weeks.

    `closed` says of a local date that nobody may be called on it.
    """
    at = start.astimezone(UTC)
    end = at + _HORIZON
    infos = [zone_info(name) for name in dict.fromkeys(zones)]
    agreed = 0
    while agreed < len(infos):
        for info in infos:
            opening = _opening(info, at, end, week=week, closed=closed) if info else None
            if opening is None:
                return None
            agreed = agreed + 1 if opening == at else 1
            at = opening
            if agreed >= len(infos):
                break
    return at


def _opening(
    info: ZoneInfo, at: datetime, end: datetime, *, week: Week, closed: Callable[[date], bool]
) -> datetime | None:
    """The first moment in [at, end) at which this one zone is open."""
    while at < end:
        local = at.astimezone(info)
        since = timedelta(
            hours=local.hour,
            minutes=local.minute,
            seconds=local.second,
            microseconds=local.microsecond,
        )
        ahead = _DAY - since
        for opens, closes in () if closed(local.date()) else week[local.weekday()]:
            if since < timedelta(minutes=closes):
                if since >= timedelta(minutes=opens):
                    return at
                ahead = timedelta(minutes=opens) - since
                break
        at = _ahead(info, at, ahead)
    return None


def _ahead(info: ZoneInfo, at: datetime, ahead: timedelta) -> datetime:
    """`ahead` later, or the moment before that at which the zone changes its clock."""
    before, then = at.astimezone(info).utcoffset(), at + ahead
    if then.astimezone(info).utcoffset() == before:
        return then
    low, high = int(at.timestamp()), -int(-then.timestamp() // 1)
    while high - low > 1:  # clocks change on whole seconds
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, info).utcoffset() == before:
            low = middle
        else:
            high = middle
    return datetime.fromtimestamp(high, UTC)
