"""What could be had if everything were known: a bound, not an engine.

It knows who of the list will answer and when, and when every agent will be free. It keeps the
list's order: the next person who will answer is called as soon as they and all who are under way
find an agent within the window; those who will not answer are called with them.
"""

from __future__ import annotations

from bisect import insort

import numpy as np

from pacing.decision import Decision
from pacing.seen import Seen
from pacing.simulator.baselines import placing
from pacing.simulator.fates import Fate
from pacing.simulator.network import ANSWERED
from pacing.simulator.world import World
from pacing.state import Floats, Ints, PacingInput

_AHEAD = 400  # calls looked through for the next answer


class Clairvoyant:
    """For scenarios of one campaign without machines or retries."""

    def __init__(self) -> None:
        self._world: World | None = None
        self._next: list[tuple[int, float]] = []  # calls up to the next answer, s it rings
        self._p: Floats = np.zeros(0)

    def enter(self, world: World) -> None:
        """Look at the world that is to be run."""
        campaign = world.scenario.campaigns[0]
        if world.per_run > 1 or campaign.machines or campaign.retries:
            raise ValueError("expected one campaign without machines and retries")
        self._world = world
        self._next = [(0, 0.0)] * world.rows
        self._p = np.full(world.rows, -1.0)

    def decide(self, given: PacingInput, seen: Seen) -> Decision:
        world = self._world
        if world is None:
            raise ValueError("expected to have entered a world")
        p = world.dialing.answer_rate(world.time)
        for row in np.flatnonzero(p != self._p).tolist():
            self._look(world, row, p[row], 0)
        self._p = p
        frees, landings = self._frees(world), self._landings(world)
        window, calls = given.connect_window, np.zeros(given.rows, dtype=np.int64)
        for row, (free, landing) in enumerate(zip(frees, landings, strict=True)):
            while len(landing) < len(free):
                count, rings = self._next[row]
                if rings == np.inf:  # nobody answers as far as one can look: past them all
                    calls[row] += count
                    self._look(world, row, p[row], int(calls[row]))
                    break
                trial = landing.copy()
                insort(trial, world.time + rings)
                late = zip(trial, free, strict=False)
                if any(ready > lands + window[row] for lands, ready in late):
                    break
                landing[:] = trial
                calls[row] += count
                self._look(world, row, p[row], int(calls[row]))
        return placing(given, calls)

    def _look(self, world: World, row: int, p: float, skip: int) -> None:
        """Find the next answer after `skip` calls."""
        fates = world.dialing.fates.peek(row, _AHEAD)[skip:]
        answers = np.flatnonzero(fates[:, Fate.ANSWER] < p)
        if len(answers):
            first = int(answers[0])
            self._next[row] = (first + 1, float(fates[first, Fate.RING]))
        else:
            self._next[row] = (len(fates), np.inf)

    @staticmethod
    def _frees(world: World) -> list[list[float]]:
        """When each agent who stays will be free, in order, per run."""
        ends = np.where(world.state > 0, world.wrap_ends, np.inf)
        free: Ints = np.array([a for queue in world.floor.free for a in queue], dtype=np.int64)
        ends[free] = world.time
        staying = np.array(world.floor.staying)
        ends = np.where(staying, ends, np.inf).reshape(world.runs, -1)
        ends.sort(axis=1)
        return [[end for end in run if end < np.inf] for run in ends.tolist()]

    @staticmethod
    def _landings(world: World) -> list[list[float]]:
        """When people who are called, or wait, need an agent, in order, per run."""
        calls = world.calls
        at = calls.ringing[calls.outcome[calls.ringing] == ANSWERED]
        landings: list[list[float]] = [[] for _ in range(world.runs)]
        for row, ends in zip(calls.row[at].tolist(), calls.ends[at].tolist(), strict=True):
            landings[row].append(ends)
        for row, waiting in enumerate(world.floor.waiting):
            landings[row] += [world.time] * waiting
        return [sorted(each) for each in landings]
