"""The engine's question to the rules: one lead, one campaign, now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dialer.compliance.check import Allow, Block, Defer, Mode, Number, Person, Request, check
from dialer.compliance.profile import UnknownProfile, laboratory_allowed, load_profile
from dialer.domain.campaign import CampaignSettings, CampaignView
from dialer.domain.work import ClaimedLead
from dialer.engine.state import Agent


@dataclass(frozen=True, slots=True)
class Permit:
    """May be called; the compact verdict goes with the attempt."""

    profile: str
    compact: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Postpone:
    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Refuse:
    reason: str


class Permission:
    """Asks `dialer.compliance`; the laboratory profile only while all trunks are on loopback."""

    def __init__(self, trunk_hosts: Callable[[], tuple[str, ...]]) -> None:
        self._trunk_hosts = trunk_hosts

    def ask(
        self, lead: ClaimedLead, campaign: CampaignView, *, now: datetime, agent: Agent | None
    ) -> Permit | Postpone | Refuse:
        """Permit, Postpone or Refuse; an unknown profile refuses."""
        try:
            profile = load_profile(campaign.settings.rules_profile)
        except UnknownProfile:
            return Refuse("unknown_rules_profile")
        if profile.laboratory and not laboratory_allowed(self._trunk_hosts()):
            return Refuse("laboratory_needs_loopback_trunks")
        verdict = check(
            Request(
                person=Person(lead.zone, lead.consent),
                number=Number(lead.number, lead.region),
                caller_id=campaign.settings.caller_id,
                purpose=campaign.settings.purpose,
                mode=Mode.of(campaign.settings.mode, agent_reserved=agent is not None),
                campaign=campaign.settings,
                history=lead.history,
                now=now,
            ),
            profile,
        )
        match verdict:
            case Allow():
                return Permit(profile.key, verdict.compact())
            case Defer(until, reason):
                return Postpone(until, reason)
            case Block(reason):
                return Refuse(reason)


def abandon_window(settings: CampaignSettings) -> timedelta:
    """How far back the campaign's abandon rate is counted; the longest where nothing is known."""
    try:
        return timedelta(hours=load_profile(settings.rules_profile).abandon_hours)
    except UnknownProfile:
        return timedelta(days=31)
