"""How the board looks: figures in, something rich can draw out. Pure, and fitted to the terminal.

Everything is drawn from `Text` objects, never from markup, so that a name is only ever a name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from api.cli.board.campaigns import campaign_panel, campaign_table, recent_panel
from api.cli.board.figures import Figures, clean
from api.cli.board.words import bar, said, seconds

_FRAME = "grey42"
_AGENTS = {
    "ready": "green", "reserved": "cyan", "on_call": "bright_cyan", "dialing": "cyan",
    "previewing": "cyan", "consulting": "cyan", "wrap_up": "yellow", "paused": "grey62",
    "connecting": "grey62", "leg_lost": "red", "signed_out": "grey42",
}  # fmt: skip
_CALLS = {
    "intended": "grey62", "sent": "blue", "ringing": "blue", "answered": "yellow",
    "analysing": "yellow", "waiting": "red", "connecting": "cyan", "connected": "bright_cyan",
    "held": "cyan", "consulting": "cyan", "in_conference": "cyan", "playing": "red",
}  # fmt: skip
_STALE = 3.0  # s without figures


@dataclass(frozen=True, slots=True)
class Scene:
    """All that a picture of the board depends on."""

    figures: Figures | None
    now: datetime  # in the zone that is shown
    title: str = "dialer"
    problem: str = ""
    age: float = 0.0  # s since the figures came
    notes: Sequence[Text] = ()  # shown below everything else
    people: Mapping[str, str] = field(default_factory=dict)  # call -> name, where it may be shown


def draw(scene: Scene, console: Console) -> RenderableType:
    """The board in the console's size: what matters least is left out when it does not fit."""
    width, room = console.width, max(console.height, 10)
    parts: list[tuple[int, RenderableType]] = [(0, _head(scene))]  # (how soon it may go, part)
    figures = scene.figures
    if figures is None:
        parts.append((0, Panel(Text("no figures yet", style="grey62"), border_style=_FRAME)))
    else:
        parts.append((0, _now(figures, width)))
        campaigns = sorted(figures.campaigns, key=lambda c: (c.finished, c.state != "running"))
        if len(campaigns) > 2:
            parts.append((0, campaign_table(campaigns, most=max(room - 14, 3))))
        else:
            parts += [(0, campaign_panel(c, scene.now, width=width)) for c in campaigns]
        parts.append((2, recent_panel(campaigns, scene.now, people=scene.people)))
    if scene.notes:
        parts.append(
            (
                1,
                Panel(
                    Group(*scene.notes), border_style=_FRAME, title="sign in", title_align="left"
                ),
            )
        )
    heights = [len(console.render_lines(part, console.options)) for _, part in parts]
    while sum(heights) > room and max(soon for soon, _ in parts) > 0:
        index = max(range(len(parts)), key=lambda i: parts[i][0])
        del parts[index], heights[index]
    return Group(*(part for _, part in parts))


def _head(scene: Scene) -> RenderableType:
    line = Table.grid(expand=True)
    line.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    line.add_column(justify="right", no_wrap=True)
    left = Text(" ").append(clean(scene.title), style="bold")
    if scene.problem:
        state = Text(f"● {clean(scene.problem)}", style="bold red")
    elif scene.figures is not None and scene.age > _STALE:
        state = Text(f"● no figures for {scene.age:.0f} s", style="bold yellow")
    else:
        state = Text("● live", style="green")
    line.add_row(left, state.append(f"  {scene.now:%H:%M:%S} ", style="default"))
    return line


def _now(figures: Figures, width: int) -> RenderableType:
    """Agents, calls and rates of this moment, side by side."""
    grid = Table.grid(expand=True)
    for ratio in (5, 5, 7):
        grid.add_column(ratio=ratio)
    room = max((width - 6) * 5 // 17 - 24, 3)
    rows = max(len(_present(figures.agents)), len(_present(figures.calls)), 6)
    signed_in = sum(n for state, n in figures.agents.items() if state != "signed_out")
    grid.add_row(
        _panel(
            f"agents  {signed_in} signed in",
            _states(figures.agents, _AGENTS, room, rows, longest=figures.longest),
        ),
        _panel(
            f"calls  {sum(figures.calls.values())} under way",
            _states(figures.calls, _CALLS, room, rows, longest={}),
        ),
        _panel("rates and lines", _rates(figures, rows)),
    )
    return grid


def _panel(title: str, inside: RenderableType) -> Panel:
    return Panel(
        inside,
        title=Text(title, style="grey74"),
        title_align="left",
        border_style=_FRAME,
        box=box.ROUNDED,
    )


def _present(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return [(state, count) for state, count in counts.items() if count]


def _states(
    counts: Mapping[str, int],
    colours: Mapping[str, str],
    room: int,
    rows: int,
    *,
    longest: Mapping[str, float],
) -> RenderableType:
    order = {state: place for place, state in enumerate(colours)}
    found = sorted(_present(counts), key=lambda item: order.get(item[0], 99))
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True, overflow="ellipsis", min_width=10)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True, ratio=1)
    table.add_column(justify="right", no_wrap=True, style="grey50")
    most = max((count for _, count in found), default=1)
    for state, count in found:
        colour = colours.get(state, "white")
        table.add_row(
            Text(said(state), style=colour),
            Text(str(count), style="bold"),
            Text(bar(count, most, room), style=colour),
            Text(seconds(longest[state]) if state in longest else ""),
        )
    if not found:
        table.add_row(Text("none", style="grey50"), Text(""), Text(""), Text(""))
    for _ in range(rows - max(len(found), 1)):
        table.add_row(Text(""), Text(""), Text(""), Text(""))
    return table


def _rates(figures: Figures, rows: int) -> RenderableType:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True, style="grey62")
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_row("calls a minute", Text(str(figures.calls_per_minute), style="bold"))
    busy = figures.occupancy
    table.add_row("agents busy", Text("-" if busy is None else f"{busy:.0%} of the last 5 min"))
    table.add_row("waiting", _waiting(figures))
    table.add_row("to one bridge", _bridge(figures))
    lines = [
        _health(
            trunk.up and trunk.breaker in ("", "closed"),
            f"{trunk.name} {trunk.used}/{trunk.lines} lines",
            trunk.reason if trunk.breaker != "closed" or not trunk.up else "",
        )
        for trunk in figures.trunks
    ]
    nodes = [_health(node.up, node.name, "") for node in figures.nodes]
    table.add_row("trunks", Text("  ").join(lines) if lines else Text("none", style="grey50"))
    table.add_row("Asterisk", Text("  ").join(nodes) if nodes else Text("none", style="grey50"))
    for _ in range(rows - 6):
        table.add_row("", "")
    return table


def _waiting(figures: Figures) -> Text:
    waiting = figures.waiting
    if not waiting.persons:
        return Text("nobody", style="grey62")
    who = "person" if waiting.persons == 1 else "persons"
    return Text(f"{waiting.persons} {who}, {waiting.longest:.1f} s", style="bold red")


def _bridge(figures: Figures) -> Text:
    times = figures.answer_to_bridge_ms
    if times.p50 is None:
        return Text("-")
    text = Text(f"p50 {times.p50:.1f} ms")
    return text if times.p99 is None else text.append(f"  p99 {times.p99:.1f} ms")


def _health(good: bool, text: str, reason: str) -> Text:
    shown = Text("● ", style="green" if good else "bold red").append(text, style="default")
    return shown.append(f" {reason}", style="red") if reason else shown
