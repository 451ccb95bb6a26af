"""The crowd that a pool's views have in common: who will have answered, who will still be busy.

Sums of trials are kept as power sums (of the chances, their squares, their cubes): those of a row
whose answers land in a view with share w count w, w^2, w^3 times, and sums of rows are sums.
"""

from __future__ import annotations

import numpy as np

from pacing.predictive.counted import CountedViews
from pacing.predictive.outlook import Outlook
from pacing.predictive.pools import Pools
from pacing.predictive.tail import tail_near
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
        rows, sharing = pools.rows, given.sharing
        self.pools = pools
        self.weight = pools.weights(agents)
        self.agents = pools.of_views(agents)
        self._spread = self.weight[:, None] ** np.arange(1, 4)  # w, w^2, w^3
        certain = np.where(joint, look.sure[rows], kept).astype(np.float64)
        ringing = powers(look.answers[rows]) * joint[:, None, None]
        busy = powers(look.busy_of(np.concatenate([sharing.talking, sharing.wrapping]),
                                   len(agents)))  # fmt: skip
        self._fresh = powers(look.fresh[rows])
        self._sums = self._by_view(ringing + certain[:, None, None])
        np.add.at(self._sums, pools.view_of, busy[pools.view_group])
        #: Calls that could take an agent of a view each, and the free ones there.
        self._calls = self._any(np.where(joint, there, kept).astype(np.float64))
        self._free = pools.of_views(sharing.free.astype(np.float64))
        self._counted = CountedViews(
            look, given, pools, weight=self.weight, agents=self.agents, calls=self._calls,
            certain=certain.astype(np.int64), joint=joint,
        )  # fmt: skip
        #: Rows whose calls have to be added one after the other.
        self.single = np.isin(np.arange(len(rows)), self._counted.rows)
        self.busy = np.zeros((pools.views, self._sums.shape[-1]))
        np.add.at(self.busy, pools.view_of, busy[pools.view_group, 0])

    def tight(self, more: Ints | None = None) -> Floats:
        """P(no agent of a view is left), (views, horizons); with `more` calls of each row, none of
        them `single`."""
        sums, calls = self._sums, self._calls
        if more is not None:
            sums, calls = self._with(more)
        one, two, three = sums[:, 0], sums[:, 1], sums[:, 2]
        value = tail_near(one, one - two, one - 3 * two + 2 * three, self.agents[:, None])
        if len(self._counted.views):
            value[self._counted.views] = self._counted.tight()
        # While everybody called has an agent of their own, nobody is left without.
        return value * (calls >= self._free)[:, None]

    def add(self, more: Ints) -> None:
        """So many calls of each row are placed."""
        self._sums, self._calls = self._with(more)
        if len(self._counted.views):
            self._counted.add(more)

    def by_row(self, of_views: Floats) -> Floats:
        """The worst of the views that a row's answers land in, times the share that does."""
        pools = self.pools
        each = self.weight[:, None] * of_views[pools.pair_view]
        out = np.zeros((len(pools.rows), each.shape[1]))
        np.maximum.at(out, pools.pair_at, each)
        return out

    def _with(self, more: Ints) -> tuple[Floats, Floats]:
        number = more.astype(np.float64)
        return (
            self._sums + self._by_view(number[:, None, None] * self._fresh),
            self._calls + self._any(number),
        )

    def _by_view(self, of_rows: Floats) -> Floats:
        """Sums by view of power sums by row."""
        pools = self.pools
        out = np.zeros((pools.views, *of_rows.shape[1:]))
        np.add.at(out, pools.pair_view, of_rows[pools.pair_at] * self._spread[:, :, None])
        return out

    def _any(self, of_rows: Floats) -> Floats:
        """Sums by view, each row with all it has."""
        pools = self.pools
        return np.bincount(
            pools.pair_view, weights=of_rows[pools.pair_at], minlength=pools.views
        ).astype(np.float64)
