"""Campaign settings and disposition codes to JSON and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from dialer.domain.call import Outcome
from dialer.domain.campaign import (
    CampaignSettings,
    DialMode,
    DispositionCode,
    Purpose,
    RetryRule,
)


def dump_settings(settings: CampaignSettings) -> dict[str, Any]:
    data = asdict(settings)
    data["mode"], data["purpose"] = settings.mode.value, settings.purpose.value
    data["retries"] = {
        outcome.value: [rule.delay, rule.most] for outcome, rule in settings.retries.items()
    }
    return data


def load_settings(data: Mapping[str, Any]) -> CampaignSettings:
    values = dict(data)
    values["mode"], values["purpose"] = DialMode(values["mode"]), Purpose(values["purpose"])
    values["retries"] = {
        Outcome(outcome): RetryRule(*rule) for outcome, rule in values["retries"].items()
    }
    values["trunks"] = tuple(values["trunks"])
    values["calling_hours"] = tuple((a, b) for a, b in values["calling_hours"])
    return CampaignSettings(**values)


def dump_dispositions(codes: Sequence[DispositionCode]) -> list[dict[str, Any]]:
    return [asdict(code) for code in codes]


def load_dispositions(data: Sequence[Mapping[str, Any]]) -> dict[str, DispositionCode]:
    return {item["code"]: DispositionCode(**item) for item in data}
