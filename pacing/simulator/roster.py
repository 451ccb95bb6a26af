"""Who is there when: the roster and the breaks, as moments at which agents come and go."""

from __future__ import annotations

import numpy as np

from pacing.simulator.scenario import Scenario
from pacing.state import Flags


def present(scenario: Scenario, time: float) -> Flags:
    """Which agents should be there at `time`."""
    agents = np.arange(scenario.agents)
    if scenario.roster is None:
        here = np.ones(scenario.agents, dtype=np.bool_)
    else:
        here = agents < np.rint(scenario.roster.at(np.array([time]))[0])
    for start, length, groups in scenario.breaks:
        turn = int((time - start) // length)
        if 0 <= turn < groups:
            here = here & (agents % groups != turn)
    return here


def changes(scenario: Scenario) -> list[tuple[float, int, bool]]:
    """(s, agent, comes), in order of time, after those of the start; a roster in straight lines
    moves once a minute."""
    moments: set[float] = set()
    if scenario.roster is not None:
        moments |= {time for time, _ in scenario.roster.points}
        if scenario.roster.straight:
            moments |= set(np.arange(0.0, scenario.end, 60.0).tolist())
    for start, length, groups in scenario.breaks:
        moments |= {start + length * turn for turn in range(groups + 1)}
    found: list[tuple[float, int, bool]] = []
    before = present(scenario, 0.0)
    for time in sorted(m for m in moments if 0 < m < scenario.end):
        after = present(scenario, time)
        found += [(time, int(a), bool(after[a])) for a in np.flatnonzero(after != before)]
        before = after
    return found


def skills(scenario: Scenario) -> list[frozenset[int]]:
    """The campaigns each agent serves; without `skills` all of them."""
    every = frozenset(range(len(scenario.campaigns)))
    if not scenario.skills:
        return [every] * scenario.agents
    bounds = np.cumsum([share for share, _ in scenario.skills])
    kinds = [frozenset(campaigns) for _, campaigns in scenario.skills]
    # Spread evenly over the numbers, so that leaving agents are of every kind.
    places = (np.arange(scenario.agents) * 0.618034) % 1.0 * bounds[-1]
    return [kinds[int(i)] for i in np.minimum(np.searchsorted(bounds, places), len(kinds) - 1)]
