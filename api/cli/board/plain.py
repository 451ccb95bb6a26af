"""The board without a terminal: a line now and then, and the summary at the end."""

from __future__ import annotations

from api.cli.board.figures import Campaign, Figures, clean
from api.cli.board.words import abandoned, said, window


def line(figures: Figures) -> str:
    """Where everything stands, in one line."""
    agents = ", ".join(
        f"{count} {said(state)}"
        for state, count in sorted(figures.agents.items())
        if state != "signed_out"
    )
    parts: list[str] = []
    for campaign in figures.campaigns:
        done, total = campaign.done
        parts.append(
            f"{clean(campaign.name)} {said(campaign.state)}, {done} of {total} leads done, "
            f"abandoned {abandoned(campaign)}"
        )
    parts.append(f"{figures.calls_per_minute} calls a minute, {sum(figures.calls.values())} now")
    parts.append(f"agents: {agents or 'none'}")
    return " | ".join(parts)


def summary(campaign: Campaign, figures: Figures) -> list[str]:
    """What came of a campaign, for reading afterwards."""
    done, total = campaign.done
    reason = f" ({campaign.reason})" if campaign.reason else ""
    found = sorted(campaign.outcomes.items(), key=lambda item: (-item[1], item[0]))
    times = figures.answer_to_bridge_ms
    lines = [
        f"{clean(campaign.name)}: {said(campaign.state)}{reason}",
        f"  leads      {done} of {total} done",
        f"  calls      {sum(campaign.outcomes.values())}, {window(campaign) or 'all'}:",
        *(f"    {said(outcome):<20} {count:>6}" for outcome, count in found),
        f"  abandoned  {abandoned(campaign)}",
    ]
    if times.p50 is not None and times.p99 is not None:
        lines.append(f"  to bridge  p50 {times.p50:.1f} ms, p99 {times.p99:.1f} ms")
    return lines
