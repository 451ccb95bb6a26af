"""One scenario under one policy, many seeds: a `Row` of figures, and the choice among settings."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pacing.simulator import Results, Scenario, run
from tests.bench.pacing_report.families import Family, Make

MOST_OVER = 0.05  # share of the runs that may end above the cap
WORST = 0.06  # abandon rate that no half hour with 100 answers may exceed


@dataclass(frozen=True, slots=True)
class Row:
    """Shares, not per cent; s; per run unless said. `bound`: not a dialer."""

    scenario: str
    family: str
    setting: str
    agents: int
    seeds: int
    endless: bool
    bound: bool
    cap: float
    occupancy: float
    occupancy_error: float  # half width of the 95 % interval of the mean
    idle: float
    abandon: float
    abandon_95: float  # 95 % of the runs end below it
    over: float  # share of the runs above the cap
    worst: float  # 95 % of the runs have no half hour (of 100 answers) above it
    waited: float  # s that a connected person waited
    connected: float
    placed: float
    gave_up_share: float  # of the people who answered
    lost_answers: float  # calls given up that would have answered, per connected call
    seconds: float  # processor time

    @property
    def lawful(self) -> bool:
        """Whether this setting counts at equal compliance."""
        if self.endless:
            return self.abandon <= self.cap + 5e-4
        return self.over <= MOST_OVER + 1e-9


def measure(
    scenario: Scenario, family: Family, setting: str, make: Make, seeds: Sequence[int]
) -> Row:
    """Run it."""
    begun = time.process_time()
    done = run(scenario, make(scenario), seeds=seeds)
    return row(done, family, setting, (time.process_time() - begun) / len(seeds))


def row(done: Results, family: Family, setting: str, seconds: float) -> Row:
    """The figures of a run."""
    scenario, n = done.scenario, len(done.seeds)
    connected = done.connected.sum(axis=1)
    met = max(int(connected.sum()), 1)
    people = met + int(done.abandoned.sum()) + int(done.gave_up.sum())
    error = 1.96 * float(done.occupancy.std(ddof=1)) / n**0.5 if n > 1 else 0.0
    return Row(
        scenario=scenario.name,
        family=family.name,
        setting=setting,
        agents=scenario.agents,
        seeds=n,
        endless=scenario.endless,
        bound=family.bound,
        cap=scenario.cap,
        occupancy=done.mean_occupancy(),
        occupancy_error=error,
        idle=float(done.ready.sum()) / met,
        abandon=done.mean_abandon_rate(),
        abandon_95=float(np.quantile(done.abandon_rate, 0.95)),
        over=done.over,
        worst=float(np.quantile(done.worst_half_hour(), 0.95)),
        waited=float(done.waited.sum()) / met,
        connected=float(connected.mean()),
        placed=float(done.placed.sum()) / n,
        gave_up_share=float(done.gave_up.sum()) / people,
        lost_answers=float(done.answers_lost.sum()) / met,
        seconds=seconds,
    )


def best(rows: Iterable[Row]) -> dict[tuple[str, str], Row]:
    """By (scenario, family) the busiest lawful setting; the least unlawful where none is."""
    chosen: dict[tuple[str, str], Row] = {}
    for each in rows:
        key = each.scenario, each.family
        known = chosen.get(key)
        if known is None or _rank(each) > _rank(known):
            chosen[key] = each
    return chosen


def _rank(each: Row) -> tuple[bool, float]:
    return each.lawful, each.occupancy if each.lawful else -each.over
