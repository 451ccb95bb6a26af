"""What all campaigns of a site have in common: where a new one starts.

The middle of their levels is looked for on the logarithm's scale, and the general assumption counts
as one campaign more: a site with a single campaign says little about the next one. How far they lie
apart says how soon a new one's own answers outweigh that. Where they answer less than is assumed
anyway, nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pacing.state import Array

_USUAL_VARIANCE = 0.25  # of the logarithm of the level between campaigns
_CAMPAIGNS = 4.0  # for how many campaigns that counts
_MOST = 100.0  # answers of a campaign that count for the shape
_BIN_WEIGHT = 1.0  # answers, where the shape leans on the general one


@dataclass(frozen=True, slots=True)
class Start:
    """Where slots start: `answer`, `fail` per second of ringing by age, and how many answers of
    one's own `answer` is worth."""

    answer: Array
    fail: Array
    weight: float


def start(answered: Array, failed: Array, risk: Array, general: Start) -> Start:
    """From the counts of campaigns that are known, each (campaigns, ages); `risk`: s of ringing."""
    n = len(answered)
    if not n:
        return general
    total, expected = answered.sum(1), (risk * general.answer).sum(1)
    logs = np.log((total + 1.0) / (expected + 1.0))
    middle = float(logs.sum() / (n + 1.0))
    chance = float((1.0 / np.maximum(total, 1.0)).mean())
    apart = max(float(logs.var(ddof=1)) - chance, 0.0) if n > 1 else 0.0
    variance = ((n - 1) * apart + _CAMPAIGNS * _USUAL_VARIANCE) / (n - 1 + _CAMPAIGNS)
    part = np.minimum(_MOST / np.maximum(total, 1.0), 1.0)[:, None]
    answers, fails, seconds = ((a * part).sum(0) for a in (answered, failed, risk))
    level = (answers.sum() + 1.0) / ((seconds * general.answer).sum() + 1.0)
    variance *= 1.0 + 1.0 / (n + 1.0)  # of the next campaign's
    if middle <= 0:
        # A site can make a start more careful, never bolder: a campaign unlike its site that
        # started from there ran over its cap three times in ten (docs/measurements.md).
        return general
    hazard = (answers + _BIN_WEIGHT) / (seconds + _BIN_WEIGHT / (level * general.answer))
    return Start(
        answer=(hazard * np.exp(middle) / level).astype(np.float32),
        fail=((fails + 0.5) / (seconds + 0.5 / general.fail)).astype(np.float32),
        weight=1.0 / variance,
    )
