"""The abandon windows that apply to each row, and the ledgers that fill them.

A campaign has the window of its rules profile. Where the profile says that the cap also holds for
the centre, all campaigns of the client together have one: those of this pool from what its engine
counts, those of other pools, and what is finished, from the records, read again and again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import inf
from uuid import UUID

import numpy as np

from dialer.compliance.profile import RulesProfile, UnknownProfile, load_profile
from dialer.domain.campaign import CampaignSettings
from dialer.engine.state import Campaign
from pacing.state import Windows

_HOURS = 24.0  # counted for a centre, where its rules are not read yet


@dataclass(slots=True)
class Centre:
    """Live answers and abandoned calls of clients, but those of the campaigns that the engine
    counts itself: by client, (live, abandoned); and how many hours count for each."""

    others: Mapping[UUID, tuple[int, int]] = field(default_factory=dict)
    hours: Mapping[UUID, float] = field(default_factory=dict)


def profile_of(settings: CampaignSettings) -> RulesProfile | None:
    """The campaign's rules; None where they are not known (nothing is dialed then)."""
    try:
        return load_profile(settings.rules_profile)
    except UnknownProfile:
        return None


def give_up_after(settings: CampaignSettings) -> float:
    """Seconds a call must have rung before it may be given up: the stricter of campaign and rules;
    inf: never."""
    profile = profile_of(settings)
    if profile is None or settings.give_up_after <= 0:
        return inf
    return max(settings.give_up_after, profile.cancel_after)


def windows(
    rows: Sequence[Campaign], *, campaigns: Mapping[UUID, Campaign], centre: Centre, at: datetime
) -> Windows:
    """For each row's campaign, all windows that its rules name. They roll: none of them closes."""
    row: list[int] = []
    counts: list[tuple[int, int]] = []
    caps: list[float] = []
    together: dict[UUID, tuple[int, int]] = {}
    for i, campaign in enumerate(rows):
        profile = profile_of(campaign.view.settings)
        if profile is None:
            continue
        row.append(i)
        counts.append((campaign.ledger.live_answers, campaign.ledger.abandoned))
        caps.append(profile.abandon_cap)
        if profile.abandon_centre:
            client = campaign.view.client_id
            if client not in together:
                together[client] = _together(client, campaigns, centre, at)
            row.append(i)
            counts.append(together[client])
            caps.append(profile.abandon_cap)
    return Windows(
        row=np.array(row, dtype=np.int64),
        live=np.array([live for live, _ in counts], dtype=np.float64),
        abandoned=np.array([gone for _, gone in counts], dtype=np.float64),
        cap=np.array(caps, dtype=np.float64),
        seconds_left=np.full(len(row), inf),
    )


def _together(
    client: UUID, campaigns: Mapping[UUID, Campaign], centre: Centre, at: datetime
) -> tuple[int, int]:
    since = at - timedelta(hours=centre.hours.get(client, _HOURS))
    live, abandoned = centre.others.get(client, (0, 0))
    for campaign in campaigns.values():
        if campaign.view.client_id == client:
            more, gone = campaign.ledger.since(since)
            live, abandoned = live + more, abandoned + gone
    return live, abandoned
