"""How many people who land will meet nobody, for the views of pools (see `crowd` and `pools`).

Sums of trials are kept as power sums (of the chances, their squares, their cubes): those of a row
whose answers land in a view with share w count w, w^2, w^3 times, and sums of rows are sums.
"""

from __future__ import annotations

import numpy as np

from pacing.predictive.counted import CountedViews
from pacing.predictive.crowd import Crowd, people_lost
from pacing.predictive.outlook import Outlook
from pacing.predictive.pools import Pools
from pacing.predictive.tail import tails_near
from pacing.state import Flags, Floats, Ints, PacingInput


def powers(moments: Floats) -> Floats:
    """Power sums (..., 3, horizons) of trials, from mean, variance and third central moment."""
    mean, variance, third = moments[..., 0, :], moments[..., 1, :], moments[..., 2, :]
    squares = mean - variance
    return np.stack([mean, squares, (third - mean + 3 * squares) / 2], axis=-2)


class SharedCrowd:
    """All views at once, with calls added row by row. `joint`: which of `pools.rows` plan ahead;
    the others keep some agents, whatever comes of their calls."""

    def __init__(
        self, look: Outlook, given: PacingInput, pools: Pools, agents: Floats, *, joint: Flags,
        there: Ints, kept: Ints,
    ) -> None:  # fmt: skip
        """`agents`: free and busy ones of each group; `there`: calls under way and persons who
        wait, `kept`: agents kept for the rows that are not joint, both by `pools.rows`."""
        rows, sharing, alone = pools.rows, given.sharing, Crowd(look)
        self.pools = pools
        self.agents = pools.of_views(agents)
        certain = np.where(joint, look.sure[rows], kept)
        busy = powers(
            look.busy_of(np.concatenate([sharing.talking, sharing.wrapping]), len(agents))
        )
        self.weight = pools.weights(np.maximum(agents[:, None] - busy[:, 0], 0.0))
        share = self.weight[:, None, :] ** np.arange(1, 4)[:, None]  # w, w^2, w^3
        at = pools.pair_at
        #: What each pair gains by a call of its row.
        self._fresh = powers(look.fresh[rows])[at] * share
        self._lands_one = alone.new_lands[rows][at] * share[:, 0]
        self._own_one = alone.new_own[rows][at] * share[:, 1]
        #: By view: answers and busy agents, who lands, what of it is the lander's own chance.
        ringing = powers(look.answers[rows]) * joint[:, None, None] + certain[:, None, None]
        self._sums = self._by_view(ringing[at] * share)
        np.add.at(self._sums, pools.view_of, busy[pools.view_group])
        lands, own = alone.lands[rows] * joint[:, None], alone.own[rows] * joint[:, None]
        self.lands = self._by_view(lands[at] * share[:, 0])
        self._own = self._by_view(own[at] * share[:, 1])
        #: Calls that could take an agent of a view each, and the free ones there.
        called = np.where(joint, there, kept).astype(np.float64)
        self._calls = self._by_view(called[at])
        self._free = pools.of_views(sharing.free.astype(np.float64))
        self._counted = CountedViews(
            look, given, pools, weight=self.weight, agents=self.agents, calls=self._calls,
            certain=certain, joint=joint,
        )  # fmt: skip
        #: Rows whose calls have to be added one after the other.
        self.single = np.isin(np.arange(len(rows)), self._counted.rows)
        self.busy = np.zeros(self.lands.shape)
        np.add.at(self.busy, pools.view_of, busy[pools.view_group, 0])

    def tails(self) -> tuple[Floats, Floats]:
        """P(no agent of a view is left), P(exactly one is): (views, horizons) each."""
        full, edge = _tails(self._sums, self.agents)
        few = self._counted
        if len(few.views):
            full[few.views], edge[few.views] = few.tails()
        # While everybody called has an agent of their own, nobody is left without.
        crowded = (self._calls > self._free)[:, None]
        return full * crowded, edge * crowded

    def one_more(self, more: Ints | None = None, *, of: Flags | None = None) -> Floats:
        """By pair: what a call of its row adds to the people of its view who meet nobody. `more`:
        after so many calls of each row, none of them `single`; `of`: only in these pools, 0 for
        others."""
        sums, lands, own, calls = self._sums, self.lands, self._own, self._calls
        if more is not None:
            sums, lands, own, calls = self._with(more)
        pools, view = self.pools, self.pools.pair_view
        mine = np.ones(len(self.agents), dtype=np.bool_) if of is None else of[pools.view_pool]
        some, pair = np.flatnonzero(mine), np.flatnonzero(mine[view])
        its = view[pair]
        now, then = np.zeros(len(self.agents)), np.zeros(len(view))
        now[some] = _lost(sums[some], lands[some], own[some], self.agents[some])
        then[pair] = _lost(
            sums[its] + self._fresh[pair], lands[its] + self._lands_one[pair],
            own[its] + self._own_one[pair], self.agents[its],
        )  # fmt: skip
        few = self._counted
        if mine[few.views].any():
            now[few.views], then[few.pairs] = few.lost(), few.lost_with_one()
        now *= calls > self._free
        then *= calls[view] + 1 > self._free[view]
        return np.maximum(then - now[view], 0.0)

    def add(self, more: Ints) -> None:
        """So many calls of each row are placed."""
        self._sums, self.lands, self._own, self._calls = self._with(more)
        if len(self._counted.views):
            self._counted.add(more)

    def by_row(self, of_views: Floats) -> Floats:
        """The worst of the views that a row's answers land in, times the share that does."""
        return self.worst(self.weight * of_views[self.pools.pair_view])

    def worst(self, of_pairs: Floats) -> Floats:
        """The largest value of each row."""
        out = np.zeros((len(self.pools.rows), *of_pairs.shape[1:]))
        np.maximum.at(out, self.pools.pair_at, of_pairs)
        return out

    def _with(self, more: Ints) -> tuple[Floats, Floats, Floats, Floats]:
        number = more[self.pools.pair_at].astype(np.float64)
        wide = number[:, None]
        return (
            self._sums + self._by_view(number[:, None, None] * self._fresh),
            self.lands + self._by_view(wide * self._lands_one),
            self._own + self._by_view(wide * self._own_one),
            self._calls + self._by_view(number),
        )

    def _by_view(self, of_pairs: Floats) -> Floats:
        """Sums by view."""
        out: Floats = np.add.reduceat(of_pairs, self.pools.view_begin, axis=0)
        return out


def _tails(sums: Floats, agents: Floats) -> tuple[Floats, Floats]:
    one, two, three = sums[:, 0], sums[:, 1], sums[:, 2]
    moments = one, one - two, one - 3 * two + 2 * three
    return tails_near(*moments, agents[:, None])


def _lost(sums: Floats, lands: Floats, own: Floats, agents: Floats) -> Floats:
    return people_lost(lands, own, *_tails(sums, agents))
