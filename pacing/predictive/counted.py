"""Views of few agents: every trial is counted, since an approximation would be too rough."""

from __future__ import annotations

import numpy as np

from pacing.predictive.outlook import Outlook
from pacing.predictive.pools import Pools
from pacing.predictive.ragged import each, ranks, stretches
from pacing.predictive.tail import Counts
from pacing.state import Flags, Floats, Ints, PacingInput

_MOST_AGENTS, _MOST_TRIALS = 6, 60


class CountedViews:
    """The views with few agents and calls, exactly.

    `views`: which ones; `rows`: which of `pools.rows` have an answer that may land there; `pairs`:
    which of the pools' pairs (see `Pools`) these are."""

    def __init__(
        self, look: Outlook, given: PacingInput, pools: Pools, *, weight: Floats, agents: Floats,
        calls: Floats, certain: Ints, joint: Flags,
    ) -> None:  # fmt: skip
        """`weight` (pairs, horizons); per view `agents` and `calls` (under way); per row of
        `pools.rows` `certain` (persons who are there) and `joint` (whose calls count)."""
        few = (agents <= _MOST_AGENTS) & (agents > 0) & (calls <= _MOST_TRIALS)
        self.views: Ints = np.flatnonzero(few)
        place = np.where(few, np.cumsum(few) - 1, -1)
        self._agents = agents[self.views].astype(np.int64)
        pair = np.flatnonzero(few[pools.pair_view])
        self.pairs: Ints = pair[np.argsort(pools.pair_at[pair], kind="stable")]
        self._at, self._share = pools.pair_at[self.pairs], weight[self.pairs]
        self._view = place[pools.pair_view[self.pairs]]
        self._begin = np.searchsorted(self._at, np.arange(len(pools.rows) + 1))
        self.rows: Ints = np.unique(self._at)
        self._fresh = look.fresh[pools.rows, 0]
        if not len(self.views):
            return
        horizons = self._fresh.shape[1]
        self._counts = Counts(len(self.views), horizons, int(self._agents.max()))
        at = np.full(given.rows, -1)
        at[pools.rows[joint]] = np.flatnonzero(joint)
        (ringing, rings, _), (analysing, told, _), (_, busy, _) = look.trials()
        self._land(at[ringing], rings)
        self._land(at[analysing], told)
        # Persons who are there already, and agents kept for others: nobody lands.
        _, pair = each(np.repeat(np.arange(len(certain)), certain), self._begin)
        self._add(self._view[pair], self._share[pair], landing=False)
        group = np.concatenate([given.sharing.talking, given.sharing.wrapping])
        mine = np.flatnonzero(few[pools.view_of])
        mine = mine[np.argsort(pools.view_group[mine], kind="stable")]
        begin = np.searchsorted(pools.view_group[mine], np.arange(len(given.sharing.free) + 1))
        who, entry = each(group, begin)
        self._add(place[pools.view_of[mine[entry]]], busy[who], landing=False)

    def tails(self) -> tuple[Floats, Floats]:
        """P(no agent is left), P(exactly one is): (views, horizons)."""
        return self._counts.at_least(self._agents), self._counts.exactly(self._agents - 1)

    def lost(self) -> Floats:
        """(views,): people expected to meet nobody."""
        return self._counts.lost(self._agents)

    def lost_with_one(self) -> Floats:
        """(pairs,): the same with a call more of the pair's row."""
        counts = self._counts.some(self._view)
        chance = self._fresh[self._at] * self._share
        counts.add(chance, stretches(chance))
        return counts.lost(self._agents[self._view])

    def add(self, more: Ints) -> None:
        """So many calls of each of `pools.rows` are placed."""
        at = np.repeat(self.rows, more[self.rows])
        self._land(at, self._fresh[at])

    def _land(self, at: Ints, chance: Floats) -> None:
        """Trials of rows (-1: of none here), in each view with the share that lands there."""
        trial, pair = each(at, self._begin)
        self._add(self._view[pair], chance[trial] * self._share[pair], landing=True)

    def _add(self, view: Ints, chance: Floats, *, landing: bool) -> None:
        if not len(view):
            return
        order = np.argsort(view, kind="stable")
        view, chance = view[order], chance[order]
        rank, _ = ranks(view)
        padded = np.zeros((int(rank.max()) + 1, len(self.views), chance.shape[1]))
        padded[rank, view] = chance
        for trial in padded:
            self._counts.add(trial, stretches(trial) if landing else None)
