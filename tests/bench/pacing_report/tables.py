"""The figures as Markdown, for people, and as JSON lines, for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from tests.bench.pacing_report.measure import MOST_OVER, WORST, Row, best

_HEADINGS = (
    "policy", "setting", "occupancy %", "idle s", "abandoned %", "95 % below", "runs over %",
    "worst half hour %", "waited s",
)  # fmt: skip


def json_lines(rows: Sequence[Row]) -> str:
    """One object a line, every setting of every family."""
    return "".join(json.dumps({**asdict(r), "lawful": r.lawful}) + "\n" for r in rows)


def markdown(rows: Sequence[Row], notes: dict[str, str]) -> str:
    """An overview at equal compliance, then each scenario with all settings."""
    most = f"{100 * MOST_OVER:.0f} % "
    worst = f"goal {100 * WORST:.0f} %"
    parts = [
        "# Pacing: simulated figures\n",
        "Made by `make bench NAME=pacing`. All policies meet the same people. Occupancy is "
        "(talk + wrap-up) / (talk + wrap-up + ready). *Runs over*: share of the runs that end "
        f"above the cap. A family is judged by its best setting with at most {most}of "
        "the runs over, chosen in hindsight; (brackets): no setting keeps the law. *Worst half "
        f"hour*: 95 % of the runs stay below it in every half hour with 100 answers ({worst}).\n",
        "## Occupancy at equal compliance, %\n",
        _overview(rows),
        "## Worst half hour of the same settings, %\n",
        _overview(rows, worst=True),
    ]
    for name in _order(rows):
        mine = [r for r in rows if r.scenario == name]
        parts.append(f"## {name}\n")
        length = "an endless window" if mine[0].endless else f"{mine[0].seeds} runs"
        note = f" {notes[name].capitalize()}." if notes.get(name) else ""
        parts.append(f"{mine[0].agents} agents, {length}.{note}\n")
        parts.append(_table(mine))
    return "\n".join(parts)


def _overview(rows: Sequence[Row], *, worst: bool = False) -> str:
    chosen = best(rows)
    families = list(dict.fromkeys(r.family for r in rows))
    lines = [_line(["scenario", *families]), _line(["---", *("---:" for _ in families)])]
    for name in _order(rows):
        cells = [name]
        for family in families:
            each = chosen.get((name, family))
            if each is None:
                cells.append("")
                continue
            text = f"{100 * (each.worst if worst else each.occupancy):.1f}"
            cells.append(text if each.lawful else f"({text})")
        lines.append(_line(cells))
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Row]) -> str:
    chosen = set(map(id, best(rows).values()))
    lines = [_line(_HEADINGS), _line(["---", "---", *("---:" for _ in _HEADINGS[2:])])]
    for each in rows:
        mark = "**" if id(each) in chosen and each.lawful else ""
        lines.append(
            _line(
                [
                    f"{mark}{each.family}{mark}",
                    each.setting,
                    f"{100 * each.occupancy:.1f} ± {100 * each.occupancy_error:.1f}",
                    f"{each.idle:.1f}",
                    f"{100 * each.abandon:.2f}",
                    f"{100 * each.abandon_95:.2f}",
                    f"{100 * each.over:.1f}",
                    f"{100 * each.worst:.1f}",
                    f"{each.waited:.2f}",
                ]
            )
        )
    return "\n".join(lines) + "\n"


def _order(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(r.scenario for r in rows))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
