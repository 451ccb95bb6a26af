"""The board's campaigns: one in full, many as a table, and the persons who answered last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from rich import box
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from api.cli.board.figures import Campaign, Met, clean
from api.cli.board.words import abandoned, bar, gauge, judged, percent, said, seconds, window

_FRAME = "grey42"
_STATES = {
    "running": "green", "pausing": "yellow", "paused": "yellow", "halted": "bold red",
    "finished": "bold bright_white", "draft": "grey62", "ready": "grey62",
}  # fmt: skip
_OUTCOMES = {
    "ended_by_agent": "bright_cyan", "ended_by_customer": "bright_cyan", "abandoned": "red",
    "hung_up_waiting": "yellow", "unknown": "red", "failed": "magenta", "congestion": "magenta",
}  # fmt: skip
_SHOWN = 6  # persons


def campaign_panel(campaign: Campaign, now: datetime, *, width: int) -> Panel:
    """One campaign with everything that is known of it."""
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True, style="grey62")
    table.add_column(ratio=1)
    room = max(width - 22, 20)
    table.add_row("leads", _progress(campaign, now, room))
    table.add_row("abandoned", _abandoned(campaign, room))
    why = campaign.decision.reason if campaign.state == "running" else ""
    table.add_row("now", Text(campaign.reason or why or "-", overflow="ellipsis", no_wrap=True))
    table.add_row(f"outcomes\n{window(campaign)}", _outcomes(campaign, room))
    title = Text(clean(campaign.name) or "campaign", style="bold bright_white")
    title.append(f"  {said(campaign.mode)}  ", style="grey62")
    title.append(said(campaign.state), style=_STATES.get(campaign.state, "default"))
    return Panel(table, title=title, title_align="left", border_style=_FRAME, box=box.ROUNDED)


def _progress(campaign: Campaign, now: datetime, room: int) -> Text:
    done, total = campaign.done
    if not total:
        return Text("none loaded", style="grey62")
    length = min(max(room // 4, 10), 30)
    full = bar(done, total, length)
    colour = "bright_white" if campaign.finished else "green"
    text = Text(full, style=colour).append("░" * (length - len(full)), style="grey35")
    text.append(f"  {done} of {total} done", style="bold")
    leads = campaign.leads
    if blocked := leads.get("blocked"):
        text.append(f" ({blocked} blocked)", style="grey62")
    for name in ("dialing", "due", "later"):
        if count := leads.get(name):
            text.append(f"   {count} {name}", style="grey74")
    if campaign.next_due is not None and not leads.get("due") and not campaign.finished:
        wait = (campaign.next_due - now).total_seconds()
        text.append(f"   next in {seconds(wait)}" if wait < 3600 else "", style="grey62")
        if wait >= 3600:
            local = campaign.next_due.astimezone(now.tzinfo)
            text.append(f"   next {local:%d %b %H:%M}", style="grey62")
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _abandoned(campaign: Campaign, room: int) -> Text:
    text = Text(abandoned(campaign), style=judged(campaign))
    drawn = gauge(campaign, min(room - text.cell_len - 3, 40))
    if drawn:
        text.append("   ")
        for cell in drawn:
            style = {"·": "grey35", "┃": "bright_white"}.get(cell, judged(campaign))
            text.append(cell, style=style)
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _outcomes(campaign: Campaign, room: int) -> Table | Text:
    found = sorted(campaign.outcomes.items(), key=lambda item: (-item[1], item[0]))
    if not found:
        return Text("none yet", style="grey62")
    columns = max(min(room // 36, 4), 1)
    rows = -(-len(found) // columns)
    grid = Table.grid(padding=(0, 1), expand=True)
    for _ in range(columns):
        grid.add_column(no_wrap=True, min_width=17, overflow="ellipsis")
        grid.add_column(justify="right", no_wrap=True)
        grid.add_column(ratio=1, no_wrap=True)
    length, most = max(room // columns - 26, 2), found[0][1]
    for row in range(rows):
        cells: list[Text] = []
        for column in range(columns):
            place = column * rows + row
            if place >= len(found):
                cells += [Text(""), Text(""), Text("")]
                continue
            outcome, count = found[place]
            colour = _OUTCOMES.get(outcome, "grey74")
            cells += [
                Text(said(outcome), style=colour),
                Text(str(count), style="bold"),
                Text(bar(count, most, length), style=colour),
            ]
        grid.add_row(*cells)
    return grid


def campaign_table(campaigns: Sequence[Campaign], *, most: int) -> Panel:
    """Many campaigns, a line each; at most `most` of them."""
    table = Table(box=None, expand=True, padding=(0, 1), header_style="grey62")
    table.add_column("campaign", no_wrap=True, overflow="ellipsis", ratio=3)
    table.add_column("state", no_wrap=True)
    table.add_column("leads done", justify="right", no_wrap=True)
    table.add_column("a minute", justify="right", no_wrap=True)
    table.add_column("abandoned (95 %) / cap", no_wrap=True)
    table.add_column("now", no_wrap=True, overflow="ellipsis", ratio=4)
    for campaign in campaigns[:most]:
        done, total = campaign.done
        rate = "-"
        if campaign.rate is not None:
            low, high = percent(campaign.abandon_low), percent(campaign.abandon_high)
            rate = f"{percent(campaign.rate)} ({low}-{high}) / {percent(campaign.abandon_cap)}"
        table.add_row(
            Text(clean(campaign.name)),
            Text(said(campaign.state), style=_STATES.get(campaign.state, "default")),
            f"{done}/{total}",
            str(campaign.calls_per_minute),
            Text(rate, style=judged(campaign)),
            Text(campaign.reason or campaign.decision.reason, style="grey74"),
        )
    left = len(campaigns) - most
    return Panel(
        table, title=f"{len(campaigns)} campaigns", title_align="left", border_style=_FRAME,
        subtitle=f"and {left} more" if left > 0 else None,
    )  # fmt: skip


def recent_panel(
    campaigns: Sequence[Campaign], now: datetime, *, people: Mapping[str, str]
) -> Panel:
    """Who answered last. Names only where the board was given them."""
    met = [(m, c.name) for c in campaigns for m in c.recent if m.at is not None]
    met.sort(key=lambda item: item[0].at or now, reverse=True)
    table = Table.grid(padding=(0, 2), expand=True)
    for one, campaign in met[:_SHOWN]:
        row = _met(one, now)
        if people:
            row.insert(1, Text(clean(people.get(one.call, "-"))))
        if len(campaigns) > 1:
            row.insert(1, Text(clean(campaign), style="grey74"))
        table.add_row(*row)
    for column in table.columns:
        column.no_wrap, column.overflow = True, "ellipsis"
    if not met:
        table.add_row(Text("nobody yet", style="grey62"))
    return Panel(
        table, title=Text("answered last", style="grey74"), title_align="left", border_style=_FRAME
    )


def _met(one: Met, now: datetime) -> list[Text]:
    at = one.at.astimezone(now.tzinfo) if one.at is not None else now
    met = f"with {clean(one.agent)}, {seconds(one.talked)}" if one.agent else "nobody came"
    return [
        Text(f"{at:%H:%M:%S}", style="grey62"),
        Text(met, style="default" if one.agent else "red"),
        Text(said(one.outcome), style=_OUTCOMES.get(one.outcome, "grey74")),
        Text(f"waited {one.waited:.1f} s" if one.waited >= 0.1 else "no wait", style="grey62"),
    ]
