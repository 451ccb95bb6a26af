"""Run a scenario under a policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from pacing.decision import Decision
from pacing.seen import Seen
from pacing.simulator.scenario import Scenario
from pacing.simulator.tally import Results
from pacing.simulator.view import View
from pacing.simulator.world import World
from pacing.state import PacingInput


class Policy(Protocol):
    """Decides for all rows at once. May remember: a run needs a new one."""

    def decide(self, given: PacingInput, seen: Seen) -> Decision:
        """`seen`: what happened since the last decision."""
        ...


@runtime_checkable
class Privileged(Protocol):
    """A policy that may look into the world, for bounds that no real engine can reach."""

    def enter(self, world: World) -> None:
        """Called once, before the first decision."""
        ...


def run(scenario: Scenario, policy: Policy, seeds: Sequence[int] = range(200)) -> Results:
    """All seeds side by side, to the end of the scenario."""
    world = World(scenario, seeds)
    view = View(world)
    if isinstance(policy, Privileged):
        policy.enter(world)
    seen = Seen()
    for _ in range(round(scenario.end / scenario.tick)):
        given, places = view.now()
        world.act(policy.decide(given, seen), places)
        seen = world.advance()
    return world.results()
