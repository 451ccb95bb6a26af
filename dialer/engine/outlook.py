"""A campaign at this moment, as a forecast begins from it: its agents, its calls, its budget."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from dialer.domain.agent import AgentState
from dialer.domain.call import CallState
from dialer.engine.agents import AgentDesk
from dialer.engine.budgets import Centre, windows
from dialer.engine.calls import CallDesk
from dialer.engine.lines import Lines
from dialer.engine.state import Campaign

_RINGING = frozenset({CallState.SENT, CallState.RINGING})


def outlook(
    campaign: Campaign,
    *,
    desk: AgentDesk,
    calls: CallDesk,
    lines: Lines,
    campaigns: Mapping[Any, Campaign],
    centre: Centre,
    now: float,
    at: datetime,
) -> dict[str, Any]:
    """As JSON can carry it; ages in seconds. Agents who work other campaigns too, and are at work
    for one of those, are not counted."""
    talking: list[float] = []
    wrapping: list[float] = []
    free, nodes = 0, set()
    for agent in desk.agents.values():
        if not agent.leg_id or campaign.id not in agent.view.campaigns:
            continue
        call = agent.call or agent.last_call
        if agent.available:
            free += 1
        elif call is None or call.campaign_id != campaign.id or agent.pending is not None:
            continue
        elif agent.state is AgentState.WRAP_UP:
            wrapping.append(now - agent.since)
        elif agent.call is not None:
            talking.append(now - agent.since)
        nodes.add(agent.leg_node)
    ringing = [
        now - call.sent
        for call in calls.of_campaign(campaign.id)
        if call.agent_id is None and call.state in _RINGING and not call.given_up and call.sent
    ]
    budget = windows([campaign], campaigns=campaigns, centre=centre, at=at)
    settings = campaign.view.settings
    trunks = {t.settings.name: t for node in nodes for t in lines.usable(settings, node)}
    return {
        "free": free,
        "talking": talking,
        "wrapping": wrapping,
        "ringing": ringing,
        "live": campaign.ledger.live_answers,
        "abandoned": campaign.ledger.abandoned,
        "windows": list(
            zip(budget.live.tolist(), budget.abandoned.tolist(), budget.cap.tolist(), strict=True)
        ),
        "lines": sum(t.settings.lines for t in trunks.values()),
        "calls_per_second": sum(t.settings.calls_per_second for t in trunks.values()),
    }
