"""What pacing policies make of the same centres: occupancy, abandons, worst half hours, and what a
simulated day costs.

Environment: QUICK=1 a few cells in about a minute, to see that all of it works; SEEDS a number of
runs instead of 200 (40 from 50 agents on); ONLY words that a scenario's or a family's name must
contain one of, separated by commas; JOBS processes side by side (1). Writes results/pacing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

from pacing.simulator import Policy, Scenario, run
from pacing.simulator.scenarios import (
    CELLS,
    HARD,
    LONG_TALK,
    WIDER,
    cold,
    common,
    common_with_signals,
)
from pacing.simulator.shared import SHARED, merged
from tests.bench.pacing_report.families import FAMILIES
from tests.bench.pacing_report.measure import Row, best, measure
from tests.bench.report import line, say

FOLDER = Path("results/pacing")
_DAY = Scenario(name="a day", agents=100, warm_up=0.0, duration=28_800.0)


@dataclass(frozen=True, slots=True)
class Cell:
    """One scenario under one setting of one family."""

    scenario: Scenario
    family: str
    setting: str
    seeds: int


def scenarios(*, quick: bool) -> list[Scenario]:
    """The common cells, the hard scenarios, the wider ones."""
    if quick:
        half_hour = [replace(common(n), duration=1800.0) for n in (5, 20)]
        return [*half_hour, replace(HARD["answer rate spikes"], duration=2700.0), cold(0.30)]
    return [
        *(common(n) for n in CELLS),
        *(common(n, cancel=True) for n in CELLS),
        *(common(n, long=True) for n in CELLS),
        *(common_with_signals(n) for n in (5, 20)),
        *HARD.values(),
        LONG_TALK,
        *WIDER.values(),
        *SHARED.values(),
        *(merged(s) for s in SHARED.values()),
    ]


def cells(*, quick: bool, seeds: int, only: str) -> Iterator[Cell]:
    """What to run; families whose settings would take long are cut short when `quick`."""
    words = [word.strip().casefold() for word in only.split(",") if word.strip()]
    chosen = scenarios(quick=quick)
    by_scenario = [w for w in words if any(w in s.name.casefold() for s in chosen)]
    by_family = [w for w in words if any(w in f.casefold() for f in FAMILIES)]
    for scenario in chosen:
        if by_scenario and not any(w in scenario.name.casefold() for w in by_scenario):
            continue
        for family in FAMILIES.values():
            if by_family and not any(w in family.name.casefold() for w in by_family):
                continue
            if not family.fits(scenario):
                continue
            usual = 200 if scenario.agents < 50 else 40
            number = seeds or (6 if quick else max(usual // (6 if scenario.endless else 1), 8))
            settings = list(family.settings)
            for setting in settings[:: 3 if quick and len(settings) > 2 else 1]:
                # A bound hardly varies, and is slow.
                yield Cell(
                    scenario, family.name, setting, min(number, 8) if family.bound else number
                )


def one(cell: Cell) -> Row:
    """Run a cell."""
    family = FAMILIES[cell.family]
    make = family.settings[cell.setting]
    return measure(cell.scenario, family, cell.setting, make, range(cell.seeds))


def speed(policy: Policy, runs: int) -> float:
    """Processor seconds of 8 simulated hours with 100 agents, per run of `runs` side by side."""
    begun = time.process_time()
    run(_DAY, policy, seeds=range(runs))
    return (time.process_time() - begun) / runs


async def run_report() -> bool:
    """Measure, print, write tables and pictures; False when a goal is missed."""
    from tests.bench.pacing_report import plots, tables  # matplotlib takes a second

    quick = bool(os.environ.get("QUICK"))
    seeds, jobs = int(os.environ.get("SEEDS") or 0), int(os.environ.get("JOBS") or 1)
    todo = list(cells(quick=quick, seeds=seeds, only=os.environ.get("ONLY", "")))
    FOLDER.mkdir(parents=True, exist_ok=True)
    say(f"{len(todo)} cells, {sum(c.seeds for c in todo)} runs")
    rows: list[Row] = []
    with (
        (FOLDER / "rows.jsonl").open("w") as sink,
        ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool,
    ):
        for row in map(one, todo) if jobs == 1 else pool.map(one, todo):
            rows.append(row)
            sink.write(tables.json_lines([row]))
            sink.flush()
            say(
                f"{row.scenario:24} {row.family:22} {row.setting:14} "
                f"occupancy {100 * row.occupancy:5.1f} abandoned {100 * row.abandon:5.2f} "
                f"over {100 * row.over:3.0f} % ({row.seconds:.2f} s a run)"
            )
    if not rows:
        say("nothing to run: no scenario or family is called that")
        return False
    notes = {s.name: s.notes for s in scenarios(quick=quick)}
    (FOLDER / "report.md").write_text(tables.markdown(rows, notes))
    for path in plots.draw(rows, FOLDER):
        say(f"wrote {path}")
    for each in best(rows).values():
        name = f"{each.scenario}: {each.family} {each.setting}".strip()
        line("pacing", f"{name}: occupancy", 100 * each.occupancy, "%", ok=None)
        line("pacing", f"{name}: runs over the cap", 100 * each.over, "%", ok=None)
    return quick or _speeds()


def _speeds() -> bool:
    """What a simulated day costs, with many runs side by side; the goals are the issue's."""
    good = True
    for name, runs, most in (("progressive", 100, 0.3), ("marginal", 4, None), ("engine", 4, 3.0)):
        if name not in FAMILIES:
            continue
        make = next(iter(FAMILIES[name].settings.values()))
        cost = speed(make(_DAY), runs)
        good &= line(
            "pacing", f"8 h, 100 agents, {name}: processor time a run", cost, "s",
            goal=f"at most {most} s" if most else "", ok=cost <= most if most else None,
        )  # fmt: skip
    return good
