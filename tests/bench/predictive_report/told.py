"""The figures as lines: what was measured, beside the simulator, beside the forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.bench.predictive_report.measured import (
    Figures,
    Row,
    delays,
    heard,
    numbers_in,
    on_screens,
    recorded,
)
from tests.bench.predictive_report.people import CAP
from tests.bench.predictive_report.played import Foretold, Played
from tests.bench.predictive_report.simulated import Simulated
from tests.bench.report import line
from tests.lab.public import PublicCall

NAME = "predictive"
_WITHIN = 2.0  # points between the real occupancy and the simulator's


def real(
    played: Played, attempts: Sequence[Row], intervals: Sequence[Row], *,
    wraps: dict[Any, float], truth: Sequence[PublicCall],
) -> bool:  # fmt: skip
    """What was measured, by all who can tell; whether the abandon rate is under its cap."""
    of, warming = played.counted, recorded(attempts, intervals, played.warming)
    line(NAME, "warm-up: answers", warming.answers, "people")
    line(NAME, "warm-up: abandoned", warming.abandoned, "people")
    line(NAME, "warm-up: occupancy", 100 * warming.occupancy, "%")
    figures = recorded(attempts, intervals, of)
    met = frozenset().union(*(agent.met for agent in played.agents))
    picked, lost = heard(truth, met, within=numbers_in(attempts, of))
    screens = on_screens((agent.states for agent in played.agents), of)
    line(NAME, "counted", of.seconds, "s")
    line(NAME, "answers", figures.answers, "people")
    line(NAME, "agents at work or ready, on average", figures.agents, "agents")
    line(NAME, "occupancy, by the agents' screens", 100 * screens, "%")
    line(NAME, "abandoned, by SIPp's log and the agents' screens", 100 * lost / max(picked, 1), "%")
    line(NAME, "pacing looked every", played.tick, "s")
    for what, seconds in delays(attempts, played.people, wraps, of).items():
        line(NAME, f"beyond what was drawn: {what}", 1000 * seconds, "ms")
    return line(
        NAME, "abandoned, by the records", 100 * figures.abandon_rate, "%",
        goal=f"at most {100 * CAP:g} %", ok=figures.abandon_rate <= CAP,
    )  # fmt: skip


def beside(name: str, mine: Figures, theirs: Simulated, *, asked: bool) -> bool:
    """Real figures, with the simulator's mean as the baseline. `asked`: occupancies must agree."""
    good = True
    for what, came, found, unit, scale in (
        ("occupancy", mine.occupancy, theirs.occupancy, "%", 100),
        ("abandoned", mine.abandon_rate, theirs.abandon_rate, "%", 100),
        ("idle between calls", mine.idle, theirs.idle, "s", 1),
        ("people waited", mine.waited, theirs.waited, "s", 1),
        ("answers", mine.answers, theirs.answers, "people", 1),
        ("calls", mine.calls, theirs.calls, "calls", 1),
    ):
        mean, spread = float(found.mean()) * scale, float(found.std()) * scale
        held = asked and what == "occupancy"
        goal = f"within {_WITHIN:g} points" if held else ""
        if len(found) > 1:
            goal += f"{'; ' if goal else ''}one run of the simulator spreads by {spread:.2f}"
        good &= line(
            NAME, f"{what}, beside the simulator with {name}", came * scale, unit, baseline=mean,
            goal=goal, ok=abs(came * scale - mean) <= _WITHIN if held else None,
        )  # fmt: skip
    return good


def beside_forecast(number: int, foretold: Foretold, came: Figures) -> None:
    """What came in the minutes of a forecast, with its mean as the baseline."""
    for what, value in (
        ("occupancy", came.occupancy), ("abandon_rate", came.abandon_rate), ("idle", came.idle),
        ("answers", came.answers), ("calls", came.calls), ("wait", came.waited),
    ):  # fmt: skip
        said = foretold.said[what]
        inside = said["low"] - 1e-9 <= value <= said["high"] + 1e-9
        where = f"{said['low']:.4g} to {said['high']:.4g}: {'inside' if inside else 'outside'}"
        line(
            NAME, f"forecast {number}: {what} that came", value, "", baseline=said["mean"],
            goal=where,
        )  # fmt: skip
