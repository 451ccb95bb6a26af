"""Who may serve what in a world of several campaigns, as pacing is told: groups of like skills."""

from __future__ import annotations

import numpy as np

from pacing.simulator.roster import skills
from pacing.simulator.world import World
from pacing.state import Ints, Sharing


class Groups:
    """The agents of each run by the campaigns they serve; runs share nothing."""

    def __init__(self, world: World) -> None:
        self._world = world
        theirs = skills(world.scenario)
        kinds = sorted(set(theirs), key=sorted)
        runs = np.arange(world.runs)
        kind = np.array([kinds.index(s) for s in theirs], dtype=np.int64)
        self._groups = world.runs * len(kinds)
        #: Group of each agent of all runs.
        self._of: Ints = np.ravel(runs[:, None] * len(kinds) + kind[None, :])
        pairs = np.array([(c, k) for k, mine in enumerate(kinds) for c in sorted(mine)])
        self._row: Ints = np.ravel(runs[:, None] * world.per_run + pairs[None, :, 0])
        self._group: Ints = np.ravel(runs[:, None] * len(kinds) + pairs[None, :, 1])

    def now(self, talking: Ints, wrapping: Ints) -> Sharing:
        """`talking`, `wrapping`: numbers of the agents who do; who leaves after the call is not
        counted on."""
        floor = self._world.floor
        free = np.array([a for queue in floor.free for a in queue], dtype=np.int64)
        staying = np.array(floor.staying, dtype=np.bool_)
        return Sharing(
            row=self._row,
            group=self._group,
            free=np.bincount(self._of[free], minlength=self._groups),
            talking=np.where(staying[talking], self._of[talking], -1),
            wrapping=np.where(staying[wrapping], self._of[wrapping], -1),
        )
