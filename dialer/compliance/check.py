"""The verdict: may this person be called at this number now? Pure; nothing is dialed without Allow.

A verdict keeps its reason and inputs in compact form, so that "why was this person called (or not)
at that moment" has an answer years later.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from dialer.compliance.hours import is_holiday, narrowed, next_open, zone_info
from dialer.compliance.profile import RulesProfile
from dialer.domain.campaign import CampaignSettings, DialMode, Purpose
from dialer.domain.numbers import zones_of
from dialer.domain.work import ContactHistory


class Mode(Enum):
    """How a call is placed, as rules see it."""

    PREDICTIVE = "predictive"  # more calls than free agents are possible: fixed ratio too
    PROGRESSIVE = "progressive"
    PREVIEW = "preview"
    MANUAL = "manual"
    AGENTLESS = "agentless"  # a recorded message

    @classmethod
    def of(cls, mode: DialMode, *, agent_reserved: bool) -> Mode:
        """A campaign's mode; any call for an agent who is already there is at least manual."""
        if mode is DialMode.PREVIEW:
            return cls.PREVIEW
        if agent_reserved or mode is DialMode.MANUAL:
            return cls.MANUAL
        ahead = mode in (DialMode.RATIO, DialMode.PREDICTIVE)
        return cls.PREDICTIVE if ahead else cls.PROGRESSIVE

    @property
    def assisted(self) -> bool:
        """An agent is reserved before the person is called: nobody can be abandoned."""
        return self in (Mode.PREVIEW, Mode.MANUAL)


@dataclass(frozen=True, slots=True)
class Person:
    """What the customer's record says."""

    zone: str | None = None  # IANA name; None: the number has to tell
    consent: bool = False


@dataclass(frozen=True, slots=True)
class Number:
    """What is called. `region`: ISO country, '' when unknown."""

    e164: str
    region: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """One person, one number, one moment. `now` is UTC-aware."""

    person: Person
    number: Number
    caller_id: str
    purpose: Purpose
    mode: Mode
    campaign: CampaignSettings
    history: ContactHistory
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
    """Not before `until`, which is later than now and inside the calling hours."""

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
    if profile.consent_required and not request.person.consent:
        return Block("no_consent")
    if profile.caller_id_required and not request.caller_id:
        return Block("no_caller_id")
    named = request.person.zone if request.person.zone and zone_info(request.person.zone) else None
    region = request.number.region
    if profile.block_unknown_region and not region and not named:
        return Block("unknown_region")
    zones = (named,) if named else zones_of(request.number.e164)
    if not zones:
        if profile.block_unknown_region:
            return Block("unknown_time_zone")
        zones = ("UTC",)
    later = _limits(request, profile)
    opening = next_open(
        zones,
        max([now, *(until for until, _ in later)]),
        week=narrowed(profile.hours, request.campaign.calling_hours),
        closed=lambda day: profile.holidays_closed and bool(region) and is_holiday(region, day),
    )
    if opening is None:
        return Block("never_open")
    if opening > now:
        return Defer(opening, next((why for at, why in later if at >= opening), "calling_hours"))
    return Allow(
        profile.key,
        {
            "zones": list(zones[:4]),
            "zone_from": "record" if named else "number",
            "region": region,
            "purpose": request.purpose.value,
            "mode": request.mode.value,
            "caller_id": request.caller_id,
            "consent": request.person.consent,
            "attempts": len(history.person_attempts),
            "last": (max(history.person_attempts).isoformat() if history.person_attempts else None),
        },
    )


def _limits(request: Request, profile: RulesProfile) -> list[tuple[datetime, str]]:
    """Each limit that is in force now: until when, and why; the latest first."""
    history, now = request.history, request.now
    attempts = sorted({*history.person_attempts, *history.number_attempts})
    later: list[tuple[datetime, str]] = []
    gap = max(profile.minimum_gap, request.campaign.min_gap)
    if gap and attempts:
        later.append((attempts[-1] + timedelta(seconds=gap), "minimum_gap"))
    if profile.person_attempts:
        span = timedelta(hours=profile.person_attempts_hours)
        recent = [at for at in attempts if at > now - span]
        if len(recent) >= profile.person_attempts:
            later.append((recent[-profile.person_attempts] + span, "attempt_limit"))
    if profile.abandon_rest_hours and history.last_abandon and not request.mode.assisted:
        rest = timedelta(hours=profile.abandon_rest_hours)
        later.append((history.last_abandon + rest, "rest_after_abandon"))
    if profile.machine_rest_hours and history.last_machine and not request.mode.assisted:
        rest = timedelta(hours=profile.machine_rest_hours)
        later.append((history.last_machine + rest, "rest_after_machine"))
    return sorted(((until, why) for until, why in later if until > now), reverse=True)
