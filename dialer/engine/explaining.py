"""Why so many calls: shown live with the figures, and kept with the campaign's record.

Kept compactly: a row tells what was decided since the row before it. There is one every few
seconds while anything happens, one at once when something else begins to hold the campaign back,
and one a minute while nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any
from uuid import UUID

from dialer.domain.work import DecisionWrite, Write
from dialer.engine.pacing_view import Row
from dialer.engine.settings import EngineSettings
from pacing.decision import Decision, Explanation
from telephony.clock import Clock

_AT_ONCE = 1.0  # s between rows however often the reason changes


@dataclass(slots=True)
class _Kept:
    """What was told of a campaign on a node."""

    at: float
    binding: str
    calls: int = 0  # since then
    cancelled: int = 0


class Explaining:
    """Turns decisions into what people read."""

    def __init__(
        self, *, put: Callable[[Write], None], clock: Clock, settings: EngineSettings
    ) -> None:
        self._put, self._clock, self._settings = put, clock, settings
        self._kept: dict[tuple[UUID, str], _Kept] = {}

    def tell(
        self, rows: Sequence[Row], decision: Decision, cancelled: Mapping[int, int], now: float
    ) -> None:
        """`cancelled`: calls given up, by row."""
        shown: dict[UUID, dict[str, Any]] = {}
        for index, row in enumerate(rows):
            why = decision.explain(index)
            told = figures_of(why, cancelled.get(index, 0))
            best = shown.get(row.campaign.id)
            if best is None:
                shown[row.campaign.id] = told
            else:  # several nodes: the larger one speaks for all
                both = {n: best[n] + told[n] for n in ("calls", "cancelled")}
                larger = told if told["agents"] > best["agents"] else best
                shown[row.campaign.id] = {**larger, **both}
            self._keep(row, why, told, now)
            if why.answer_share is not None:
                row.campaign.answer_share = why.answer_share
        for row in rows:
            row.campaign.decision = shown[row.campaign.id]
        if len(self._kept) > 2 * len(rows) + 100:
            there = {(row.campaign.id, row.node) for row in rows}
            self._kept = {key: kept for key, kept in self._kept.items() if key in there}

    def _keep(self, row: Row, why: Explanation, told: Mapping[str, Any], now: float) -> None:
        key, binding = (row.campaign.id, row.node), why.binding.name.lower()
        kept = self._kept.get(key)
        if kept is not None:
            kept.calls += why.calls
            kept.cancelled += told["cancelled"]
            passed = now - kept.at
            busy = kept.calls or kept.cancelled
            due = (
                passed >= self._settings.decision_idle
                or (passed >= self._settings.decision_gap and busy)
                or (passed >= _AT_ONCE and binding != kept.binding)
            )
            if not due:
                return
        calls, gone = (kept.calls, kept.cancelled) if kept else (why.calls, told["cancelled"])
        self._kept[key] = _Kept(now, binding)
        view = row.campaign.view
        details = {k: v for k, v in told.items() if k not in ("calls", "cancelled", "binding")}
        self._put(
            DecisionWrite(
                campaign_id=view.id, client_id=view.client_id, node=row.node,
                at=self._clock.now(), settings_version=view.version, calls=calls,
                cancelled=gone, binding=binding, details=details,
            )
        )  # fmt: skip


def figures_of(why: Explanation, cancelled: int) -> dict[str, Any]:
    """A decision as JSON can carry it."""
    forecast = {
        "theta": why.theta, "price": why.price, "goal": why.goal, "budget_left": why.budget_left,
        "expected_answers": why.expected_answers, "expected_free": why.expected_free,
        "answer_share": why.answer_share,
    }  # fmt: skip
    shared = {"serving": why.agents, "serving_others": why.several, "shared_with": why.others}
    return {
        "calls": why.calls,
        "cancelled": cancelled,
        "reason": why.sentence,
        "binding": why.binding.name.lower(),
        "agents": why.agents_free,
        "in_flight": why.in_flight,
        "waiting": why.waiting,
        **{name: _rounded(value) for name, value in forecast.items() if value is not None},
        **{name: value for name, value in shared.items() if value is not None},
    }


def _rounded(value: float) -> float | None:
    return round(value, 4) if isfinite(value) else None
