"""What the policy sees of a world: the same `PacingInput` that production makes.

Nothing of what is drawn already (who will answer, when an agent gets free) is in it.
"""

from __future__ import annotations

import numpy as np

from pacing.simulator.dialing import hours
from pacing.simulator.sharing import Groups
from pacing.simulator.world import World
from pacing.state import Coming, Floats, Ints, Mode, PacingInput, Ragged, Sharing, Trunks, Windows


class View:
    """Makes the input of each tick; keeps what does not change."""

    def __init__(self, world: World) -> None:
        scenario, n = world.scenario, world.rows
        self._world = world
        self._mode = np.full(n, int(Mode.PREDICTIVE), dtype=np.int64)
        self._ones = np.ones(n)
        self._ratio_cap = np.full(n, 10.0)
        self._cap = np.full(n, scenario.cap)
        self._window = np.tile([c.window for c in scenario.campaigns], world.runs)
        self._timeout = np.tile([c.timeout for c in scenario.campaigns], world.runs)
        self._row = np.arange(n)
        self._cells, self._agents = ("cells" in scenario.tells, "agents" in scenario.tells)
        self._none: Ints = np.zeros(0, dtype=np.int64)
        self._trunk = self._row // world.per_run
        self._groups = Groups(world) if world.per_run > 1 else None

    def _turn(self, time: float) -> Floats:
        """By what ratio answer rates change with the hour that begins now; 1 within the hour."""
        scenario, world = self._world.scenario, self._world
        if "hours" not in scenario.tells:
            return self._ones
        both = np.array([time - scenario.tick, time])
        steps = [
            factors[1] / factors[0]
            for c in scenario.campaigns
            for factors in (hours(c, scenario, both),)
        ]
        return np.tile(steps, world.runs)

    def now(self) -> tuple[PacingInput, Ints]:
        """The input, and the places of its ringing calls, for `World.act`."""
        world, time = self._world, self._world.time
        scenario, calls, dialing = world.scenario, world.calls, world.dialing
        ringing = calls.ringing
        row = calls.row[ringing]
        talking, wrapping = np.flatnonzero(world.state == 1), np.flatnonzero(world.state == 2)
        talk = Ragged(world.row[talking], time - world.began[talking])
        wrap = Ragged(world.row[wrapping], time - world.talk_ends[wrapping])
        n = world.rows
        flight, busy = np.bincount(row, minlength=n), np.bincount(talk.row, minlength=n)
        waiting = np.array(world.floor.waiting, dtype=np.int64)
        analysis = calls.analysing
        analysing = np.bincount(calls.row[analysis], minlength=n)
        if self._groups is None:
            free = np.array([len(queue) for queue in world.floor.free], dtype=np.int64)
        else:
            free = _lent(world, flight + analysing + waiting, dialing.leads)
        lines = flight + analysing + waiting + busy
        live, abandoned = world.tally.window(time)
        left = np.inf if scenario.endless else max(scenario.end - time, 0.0)
        given = PacingInput(
            mode=self._mode,
            ratio=self._ones,
            ratio_cap=self._ratio_cap,
            target_abandon=self._cap,
            connect_window=self._window,
            agents_free=free,
            agents_busy=busy + np.bincount(wrap.row, minlength=n),
            in_flight=flight,
            analysing=analysing,
            waiting=waiting,
            live_answers=live.copy(),
            abandoned=abandoned.copy(),
            leads=dialing.leads,
            trunks=Trunks(
                lines=dialing.free_lines(np.bincount(self._trunk, weights=lines).astype(np.int64)),
                tokens=np.floor(dialing.tokens + 1e-9),
                row=self._row,
                trunk=self._trunk,
            ),
            ringing=Ragged(row, time - calls.placed[ringing]),
            ringing_signal=(
                calls.signal(ringing, time)
                if world.network.has_signals
                else np.zeros(len(ringing), dtype=np.int64)
            ),
            analysing_since=Ragged(calls.row[analysis], time - calls.ends[analysis]),
            talking=talk,
            wrapping=wrap,
            windows=Windows(
                row=self._row,
                live=live.astype(np.float64),
                abandoned=abandoned.astype(np.float64),
                cap=self._cap,
                seconds_left=np.full(n, left),
            ),
            slot=dialing.slot,
            ring_timeout=self._timeout,
            cancel_after=dialing.cancel_after,
            turn=self._turn(time),
            ringing_cell=calls.cell[ringing] if self._cells else self._none,
            coming=dialing.coming() if self._cells else Coming(),
            talking_agent=talking if self._agents else self._none,
            wrapping_agent=wrapping if self._agents else self._none,
            tick=scenario.tick,
            sharing=self._groups.now(talking, wrapping) if self._groups is not None else Sharing(),
        )
        return given, ringing


def _lent(world: World, under_way: Ints, leads: Ints) -> Ints:
    """Each free agent to one campaign, as production lends them: those that calls under way were
    placed for first, agents with the fewest campaigns first; the others to the first campaign of
    theirs that has leads."""
    floor, per_run, agents = world.floor, world.per_run, world.scenario.agents
    free = [0] * world.rows
    needs = under_way.tolist()
    everything = frozenset(range(per_run))
    for run, queue in enumerate(floor.free):
        first = run * per_run
        skilled = [
            (floor.skills[a % agents] if floor.skills is not None else everything) for a in queue
        ]
        for mine in sorted(skilled, key=len):
            wanted = next((first + c for c in sorted(mine) if needs[first + c] > 0), None)
            if wanted is None:
                wanted = next((first + c for c in sorted(mine) if leads[first + c] > 0), None)
            else:
                needs[wanted] -= 1
            free[wanted if wanted is not None else first + min(mine)] += 1
    return np.array(free, dtype=np.int64)
