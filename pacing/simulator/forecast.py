"""What would come of other settings: the next minutes, many times over, from how things are now.

Every future is gone through once under each setting, with the same people who answer, or not, at
the same call: the difference between two settings is theirs and not chance's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from pacing.decision import Decision
from pacing.engine import Engine
from pacing.seen import Seen
from pacing.simulator.scenario import Campaign, Scenario
from pacing.simulator.start import Start, begin
from pacing.simulator.tally import Results
from pacing.simulator.view import View
from pacing.simulator.world import World
from pacing.state import Floats, Ints, Mode, PacingInput

_RUNS = 12
_INTERVAL = 0.05, 0.95


@dataclass(frozen=True, slots=True)
class Setting:
    """How to dial."""

    mode: Mode = Mode.PREDICTIVE
    target_abandon: float = 0.03
    ratio: float = 1.0
    ratio_cap: float = 3.0


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of the future: its mean over all runs, and where nine of ten lie."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Future:
    """What comes of a setting. `finish`: s until the last lead is dialed, at this pace."""

    occupancy: Figure
    idle: Figure  # s an agent waits for the next person
    wait: Figure  # s a person waits for an agent
    answers: Figure  # people connected or abandoned
    abandoned: Figure
    abandon_rate: Figure
    calls: Figure
    given_up: Figure
    finish: Figure


FIGURES = (
    "occupancy", "idle", "wait", "answers", "abandoned", "abandon_rate", "calls", "given_up",
    "finish",
)  # fmt: skip


class Planned:
    """The engine under a setting for each run, with the abandoned calls that count already."""

    def __init__(self, settings: Sequence[Setting], start: Start, engine: Engine) -> None:
        self._engine = engine
        self._mode: Ints = np.array([int(s.mode) for s in settings], dtype=np.int64)
        self._ratio, self._cap, self._target = (
            np.array([getattr(s, name) for s in settings], dtype=np.float64)
            for name in ("ratio", "ratio_cap", "target_abandon")
        )
        n = len(settings)
        self._live, self._gone = start.live, start.abandoned
        self._windows = start.windows
        self._row = np.repeat(np.arange(n), len(self._windows))
        live, gone, cap = np.array(self._windows or [(0.0, 0.0, 1.0)]).T[:, : len(self._windows)]
        self._before = np.tile(live, n), np.tile(gone, n)
        self._caps = np.tile(cap, n)

    def decide(self, given: PacingInput, seen: Seen) -> Decision:
        live, gone = given.live_answers, given.abandoned
        row = self._row
        given = replace(
            given,
            mode=self._mode,
            ratio=self._ratio,
            ratio_cap=self._cap,
            target_abandon=self._target,
            live_answers=live + self._live,
            abandoned=gone + self._gone,
            windows=replace(
                given.windows,
                row=row,
                live=live[row] + self._before[0],
                abandoned=gone[row] + self._before[1],
                cap=self._caps,
                seconds_left=np.full(len(row), inf),
            ),
        )
        return self._engine.decide(given, seen)


def forecast(
    campaign: Campaign,
    start: Start,
    settings: Sequence[Setting],
    *,
    past: Seen | None = None,
    seconds: float = 1800.0,
    runs: int = _RUNS,
    tick: float = 2.0,
    lines: float = inf,
    calls_per_second: float = inf,
    seed: int = 1,
) -> list[dict[str, Floats]]:
    """Each figure of `FIGURES` in each run, for each of `settings`. `past`: what was seen of this
    campaign (slot 0), which the engine learns from before it begins."""
    scenario = Scenario(
        name="forecast", agents=max(start.agents, 1), campaigns=(campaign,), warm_up=0.0,
        duration=seconds, tick=tick, endless=True, lines=lines,
        calls_per_second=calls_per_second,
    )  # fmt: skip
    seeds = [seed + i for i in range(runs)] * len(settings)
    world = World(scenario, seeds)
    begin(world, start)
    view = View(world)
    engine = Engine()
    if past is not None and len(past.kind):
        engine.learn(_everywhere(past, world.dialing.slot))
    policy = Planned([s for s in settings for _ in range(runs)], start, engine)
    seen = Seen()
    for _ in range(round(scenario.end / tick)):
        given, places = view.now()
        world.act(policy.decide(given, seen), places)
        seen = world.advance()
    figures = figures_of(world.results(), seconds, campaign.leads)
    return [
        {name: values[i * runs : (i + 1) * runs] for name, values in figures.items()}
        for i in range(len(settings))
    ]


def summary(values: Floats) -> Figure:
    """Mean and interval; a run that never gets there (inf) makes the upper end inf."""
    low, high = np.quantile(values, _INTERVAL, method="nearest")
    return Figure(float(values.mean()), float(low), float(high))


def future(figures: dict[str, Floats]) -> Future:
    """All figures of one setting."""
    return Future(**{name: summary(figures[name]) for name in FIGURES})


def difference(now: dict[str, Floats], then: dict[str, Floats]) -> Future:
    """What `then` brings over `now`, run by run."""
    both = {}
    for name in FIGURES:
        first, second = now[name], then[name]
        never = np.isinf(first) & np.isinf(second)
        with np.errstate(invalid="ignore"):
            both[name] = np.where(never, 0.0, second - first)
    return future(both)


def _everywhere(past: Seen, slots: Ints) -> Seen:
    """The same past for every slot, each event at all of them before the next one."""
    n = len(slots)
    return Seen(
        kind=np.repeat(past.kind, n),
        slot=np.tile(slots, len(past.kind)),
        seconds=np.repeat(past.seconds, n),
        signal=np.repeat(past.signal, n),
        became=np.repeat(past.became, n),
    )


def figures_of(results: Results, seconds: float, leads: float) -> dict[str, Floats]:
    live, connected = results.live.sum(1), results.connected.sum(1)
    calls = results.placed.sum(1).astype(np.float64)
    done = results.finished.max(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        pace = np.where(calls > 0, leads / calls * seconds, inf)
    return {
        "occupancy": results.occupancy,
        "idle": results.idle,
        "wait": results.waited / np.maximum(connected, 1),
        "answers": live.astype(np.float64),
        "abandoned": results.abandoned.sum(1).astype(np.float64),
        "abandon_rate": results.abandon_rate,
        "calls": calls,
        "given_up": results.cancelled.sum(1).astype(np.float64),
        "finish": np.where(np.isfinite(done), done, pace),
    }
