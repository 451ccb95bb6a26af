"""The same campaign in the simulator: the same people drawn, the same engine, many seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pacing.decision import Decision
from pacing.engine import Engine
from pacing.seen import Seen
from pacing.simulator import Campaign, Results, Scenario, run
from pacing.simulator.world import World
from pacing.state import Floats, PacingInput

_NO_CAP = 1.0  # of the laboratory's rules: the campaign's target is what holds it back


class AsInProduction:
    """The engine with the abandon window that production has: it rolls, and counts everything
    since the start."""

    def __init__(self) -> None:
        self._engine = Engine()

    def enter(self, world: World) -> None:
        self._world = world

    def decide(self, given: PacingInput, seen: Seen) -> Decision:
        """See `pacing.simulator.Policy`."""
        live, gone = self._world.tally.since_start
        windows = replace(
            given.windows, live=live.astype(np.float64), abandoned=gone.astype(np.float64),
            cap=np.full(given.rows, _NO_CAP),
        )  # fmt: skip
        given = replace(given, live_answers=live.copy(), abandoned=gone.copy(), windows=windows)
        return self._engine.decide(given, seen)


@dataclass(frozen=True, slots=True)
class Simulated:
    """One entry per seed."""

    occupancy: Floats
    abandon_rate: Floats
    idle: Floats
    answers: Floats
    calls: Floats
    waited: Floats


def simulate(
    campaign: Campaign, *, agents: int, cap: float, tick: float, warm_up: float, seconds: float,
    seeds: Sequence[int],
) -> Simulated:  # fmt: skip
    """`seconds` counted after `warm_up`, from an empty room and nothing learnt."""
    scenario = Scenario(
        name="as played", agents=agents, campaigns=(campaign,), tick=tick, cap=cap, endless=True,
        warm_up=round(warm_up / tick) * tick, duration=round(seconds / tick) * tick,
    )  # fmt: skip
    results: Results = run(scenario, AsInProduction(), seeds)
    connected = np.maximum(results.connected.sum(1), 1)
    return Simulated(
        occupancy=results.occupancy, abandon_rate=results.abandon_rate, idle=results.idle,
        answers=results.live.sum(1).astype(np.float64),
        calls=results.placed.sum(1).astype(np.float64), waited=results.waited / connected,
    )  # fmt: skip
