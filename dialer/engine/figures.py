"""Live figures of a pool: what the board and supervisors see once a second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from dialer.engine.agents import AgentDesk
from dialer.engine.calls import CallDesk
from dialer.engine.permission import abandon_window
from dialer.engine.router import Router
from dialer.engine.state import Campaign
from pacing.interval import wilson
from telephony.clock import Clock


def figures(
    *,
    pool: UUID,
    client_id: UUID | None,
    campaigns: Iterable[Campaign],
    desk: AgentDesk,
    calls: CallDesk,
    router: Router,
    trunks: Sequence[Mapping[str, Any]],
    nodes: Sequence[Mapping[str, Any]],
    per_minute: Mapping[UUID, int],
    clock: Clock,
) -> dict[str, Any]:
    """The `figures` message's data; `client_id` limits it to one client's agents and campaigns."""
    now = clock.monotonic()
    mine = [c for c in campaigns if client_id is None or c.view.client_id == client_id]
    ids = {c.id for c in mine}
    agents: Counter[str] = Counter()
    longest: dict[str, float] = {}
    for agent in desk.agents.values():
        if client_id is not None and agent.view.client_id != client_id:
            continue
        state = agent.state.value
        agents[state] += 1
        if agent.since:
            longest[state] = round(max(longest.get(state, 0.0), now - agent.since), 1)
    live = Counter(c.state.value for c in calls.calls.values() if c.campaign_id in ids)
    return {
        "at": clock.now().isoformat(),
        "pool": str(pool),
        "agents": dict(agents),
        "longest": longest,
        "calls": dict(live),
        "campaigns": [_campaign(c, per_minute.get(c.id, 0)) for c in mine],
        "trunks": list(trunks),
        "nodes": list(nodes),
        "waiting": _waiting(router, ids, now),
        "occupancy": desk.occupancy.share(desk.agents.values(), client_id=client_id, now=now),
        "calls_per_minute": sum(per_minute.get(c.id, 0) for c in mine),
        "answer_to_bridge_ms": percentiles(router.bridging.recent),
    }


def _campaign(campaign: Campaign, per_minute: int) -> dict[str, Any]:
    view, ledger = campaign.view, campaign.ledger
    low, high = wilson(ledger.abandoned, ledger.live_answers)
    return {
        "id": str(view.id),
        "name": view.name,
        "state": view.state.value,
        "reason": campaign.reason,
        "mode": view.settings.mode.value,
        "outcomes": dict(ledger.outcomes),
        "attempts": ledger.attempts,
        "live_answers": ledger.live_answers,
        "abandoned": ledger.abandoned,
        "abandon_low": low,
        "abandon_high": high,
        "abandon_cap": view.settings.target_abandon,
        "abandon_hours": abandon_window(view.settings) / timedelta(hours=1),
        "leads": dict(campaign.leads),
        "next_due": campaign.next_due.isoformat() if campaign.next_due else None,
        "recent": [
            {
                "call": met.call,
                "at": met.at.isoformat(),
                "agent": met.agent,
                "outcome": met.outcome,
                "waited": round(met.waited, 3),
                "talked": round(met.talked, 1),
            }
            for met in campaign.recent
        ],
        "calls_per_minute": per_minute,
        "decision": dict(campaign.decision),
    }


def _waiting(router: Router, ids: Collection[UUID], now: float) -> dict[str, float]:
    """Persons who answered and have no agent yet, and how long the first of them waits."""
    since = [call.answered for call in router.waiting if call.campaign_id in ids]
    return {"persons": len(since), "longest": round(now - min(since), 1) if since else 0.0}


def percentiles(seconds: Iterable[float]) -> dict[str, float | None]:
    """Median and 99th percentile in milliseconds."""
    ordered = sorted(seconds)
    if not ordered:
        return {"p50": None, "p99": None}
    last = len(ordered) - 1
    return {
        "p50": round(ordered[last // 2] * 1000, 2),
        "p99": round(ordered[min(last, int(len(ordered) * 0.99))] * 1000, 2),
    }
