"""The verdict: may this person be called at this number now? Pure; nothing is dialed without Allow.

A verdict keeps its reason and inputs in compact form, so that "why was this person called (or not)
at that moment" has an answer years later.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import holidays

from dialer.compliance.profile import RulesProfile
from dialer.domain.campaign import CampaignSettings
from dialer.domain.numbers import zones_of
from dialer.domain.work import ContactHistory

_HORIZON = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Request:
    """One person, one number, one moment. `now` is UTC-aware."""

    number: str
    region: str
    zone: str | None  # the customer's own, where the record names it
    consent: bool
    assisted: bool  # an agent is reserved for this call (preview, manual)
    history: ContactHistory
    settings: CampaignSettings
    now: datetime


@dataclass(frozen=True, slots=True)
class Allow:
    profile: str
    inputs: dict[str, Any]

    def compact(self) -> dict[str, Any]:
        """Small and JSON-able; stored with the attempt."""
        return {"verdict": "allow", "profile": self.profile, **self.inputs}


@dataclass(frozen=True, slots=True)
class Defer:
    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Block:
    reason: str


Verdict = Allow | Defer | Block


def check(request: Request, profile: RulesProfile) -> Verdict:
    """Ask the rules. The strictest of profile and campaign holds; the latest Defer wins."""
    history, now = request.history, request.now
    if now.tzinfo is None:
        raise ValueError("expected an aware time")
    if history.do_not_call:
        return Block("do_not_call")
    if profile.consent_required and not request.consent:
        return Block("no_consent")
    if profile.block_unknown_region and not request.region and not request.zone:
        return Block("unknown_region")
    zones = (request.zone,) if request.zone else zones_of(request.number)
    if not zones:
        if profile.block_unknown_region:
            return Block("unknown_time_zone")
        zones = ("UTC",)
    later: list[tuple[datetime, str]] = []
    later += _limits(request, profile)
    base = max([now, *(until for until, _ in later)])
    opening = next_open(
        zones, base, profile=profile, region=request.region, narrower=request.settings.calling_hours
    )
    if opening is None:
        return Block("never_open")
    if opening > now:
        reason = max(later)[1] if later and max(later)[0] >= opening else "calling_hours"
        return Defer(opening, reason)
    return Allow(
        profile.key,
        {
            "zones": list(zones[:4]),
            "attempts": len(history.person_attempts),
            "last": (max(history.person_attempts).isoformat() if history.person_attempts else None),
        },
    )


def _limits(request: Request, profile: RulesProfile) -> list[tuple[datetime, str]]:
    history, now = request.history, request.now
    attempts = sorted({*history.person_attempts, *history.number_attempts})
    later: list[tuple[datetime, str]] = []
    gap = max(profile.minimum_gap, request.settings.min_gap)
    if gap and attempts:
        later.append((attempts[-1] + timedelta(seconds=gap), "minimum_gap"))
    if profile.person_attempts:
        span = timedelta(hours=profile.person_attempts_hours)
        recent = [at for at in attempts if at > now - span]
        if len(recent) >= profile.person_attempts:
            later.append((recent[-profile.person_attempts] + span, "attempt_limit"))
    if profile.abandon_rest_hours and history.last_abandon and not request.assisted:
        rest = timedelta(hours=profile.abandon_rest_hours)
        later.append((history.last_abandon + rest, "rest_after_abandon"))
    if profile.machine_rest_hours and history.last_machine and not request.assisted:
        rest = timedelta(hours=profile.machine_rest_hours)
        later.append((history.last_machine + rest, "rest_after_machine"))
    return [(until, reason) for until, reason in later if until > now]


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


@lru_cache(maxsize=4096)
def _is_holiday(region: str, day: date) -> bool:
    try:
        return day in holidays.country_holidays(region, years=day.year)
    except NotImplementedError:
        return False


def is_open(
    zone: str,
    at: datetime,
    *,
    profile: RulesProfile,
    region: str,
    narrower: tuple[tuple[int, int], ...] = (),
) -> bool:
    """Whether the local time of `zone` at `at` lies inside all calling hours."""
    info = _zone(zone)
    if info is None:
        return False
    local = at.astimezone(info)
    minute = local.hour * 60 + local.minute
    if not any(a <= minute < b for a, b in profile.hours[local.weekday()]):
        return False
    if narrower and not any(a <= minute < b for a, b in narrower):
        return False
    return not (profile.holidays_closed and region and _is_holiday(region, local.date()))


def next_open(
    zones: tuple[str, ...],
    start: datetime,
    *,
    profile: RulesProfile,
    region: str,
    narrower: tuple[tuple[int, int], ...] = (),
) -> datetime | None:
    """The first moment from `start` on at which the window is open in *every* candidate zone.

    Windows open and close on whole local minutes, and every offset in use is a whole number of
    minutes, so that stepping by minutes misses nothing; hours are stepped first.
    """

    def all_open(at: datetime) -> bool:
        return all(is_open(z, at, profile=profile, region=region, narrower=narrower) for z in zones)

    if all_open(start):
        return start
    at = start.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    end = start + _HORIZON
    while at < end:
        if all_open(at):
            return at
        at += timedelta(minutes=1)
    return None
