"""The largest number of new calls whose last one is worth its price.

A person who lands at moment t takes an agent. Somebody meets nobody because of it exactly when, at
t or later, all agents are spoken for without it: P(A(h) + B(h) >= agents) for the worst h >= t. So
the price of one more answer counts the others it robs of an agent, not only its own risk.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pacing.predictive.outlook import Outlook
from pacing.predictive.ragged import ranks
from pacing.predictive.tail import Counts, tail_near
from pacing.state import Floats, Ints

_EXACT_AGENTS = 6  # up to here each trial is counted
_EXACT_TRIALS = 60
_MOST = 512  # new calls a row may be given in one decision


@dataclass(frozen=True, slots=True)
class Choice:
    """Per row."""

    calls: Ints
    price: Floats  # abandoned calls per answer, of the first call that was not placed
    tight: Floats  # (rows, horizons): P(all agents spoken for) with the calls under way


class Crowd:
    """P(all agents are spoken for at h) with k more calls, for all rows."""

    def __init__(self, look: Outlook) -> None:
        self.look, self.rows = look, len(look.agents)
        self._have = look.answers + look.busy
        self._have[:, 0] += look.sure[:, None]
        self._agents = look.agents[:, None].astype(np.float64)

    def tight(self, rows: Ints, calls: Floats) -> Floats:
        """For these rows, with so many more calls: (rows, horizons)."""
        sums = self._have[rows] + calls[:, None, None] * self.look.fresh[rows]
        return tail_near(sums[:, 0], sums[:, 1], sums[:, 2], self._agents[rows])


def worst_later(tight: Floats) -> Floats:
    """The largest value at a horizon or after it."""
    return np.maximum.accumulate(tight[..., ::-1], axis=-1)[..., ::-1]


def price(tight: Floats, lands: Floats) -> Floats:
    """Abandoned calls caused by an answer that lands like this."""
    cost: Floats = (worst_later(tight) * lands).sum(-1)
    return cost


def choose(look: Outlook, theta: Floats, most: Ints) -> Choice:
    """`theta`: the price not to be passed, per row; `most`: calls that could be placed at all."""
    most = np.clip(most, 0, _MOST)
    crowd = Crowd(look)
    everyone = np.arange(crowd.rows)
    tight = crowd.tight(everyone, np.zeros(crowd.rows))
    small = (look.agents <= _EXACT_AGENTS) & (look.under_way <= _EXACT_TRIALS) & (look.agents > 0)
    calls = np.zeros(crowd.rows, dtype=np.int64)
    prices = price(tight, look.landing)
    large = everyone[~small & (look.agents > 0) & (most > 0)]
    calls[large] = _largest(crowd, large, theta[large], most[large], prices)
    exact = everyone[small]
    if len(exact):
        _exactly(look, exact, theta, most, calls, prices, tight)
    return Choice(calls, prices, tight)


def _largest(crowd: Crowd, rows: Ints, theta: Floats, most: Ints, prices: Floats) -> Ints:
    """By doubling, then halving: the largest k whose k-th call costs at most theta."""
    lands = crowd.look.landing
    low, high = np.zeros(len(rows), dtype=np.int64), most.copy()  # low: fits; high: the bound
    if not len(rows):
        return low
    step = np.ones(len(rows), dtype=np.int64)
    open_ = prices[rows] <= theta  # the first call fits
    high[~open_] = 0
    low[open_] = 1
    growing = open_ & (low < most)
    while growing.any():
        at = np.flatnonzero(growing)
        try_ = np.minimum(low[at] + step[at], most[at])
        cost = price(crowd.tight(rows[at], (try_ - 1).astype(np.float64)), lands[rows[at]])
        fits = cost <= theta[at]
        low[at[fits]] = try_[fits]
        high[at[~fits]] = try_[~fits] - 1
        step[at] *= 2
        growing[at] = fits & (try_ < most[at])
    while (gap := low < high).any():
        at = np.flatnonzero(gap)
        try_ = (low[at] + high[at] + 1) // 2
        cost = price(crowd.tight(rows[at], (try_ - 1).astype(np.float64)), lands[rows[at]])
        fits = cost <= theta[at]
        low[at[fits]] = try_[fits]
        high[at[~fits]] = try_[~fits] - 1
    return low


def _exactly(
    look: Outlook,
    rows: Ints,
    theta: Floats,
    most: Ints,
    calls: Ints,
    prices: Floats,
    tight: Floats,
) -> None:
    """The same for small pools, each trial counted; fills `calls`, `prices`, `tight`."""
    place = np.full(len(look.agents), -1)
    place[rows] = np.arange(len(rows))
    fresh = look.fresh[rows, 0]
    counts = Counts(len(rows), fresh.shape[1], int(look.agents[rows].max()))
    for row, chance in look.trials():
        for padded in _by_rank(place[row], chance, len(rows)):
            counts.add(padded)
    for turn in range(int(look.sure[rows].max(initial=0))):
        there = np.zeros(fresh.shape)
        there[look.sure[rows] > turn] = 1.0
        counts.add(there)
    lands, limit, bound = look.landing[rows], theta[rows], most[rows]
    placed = np.zeros(len(rows), dtype=np.int64)
    going = np.ones(len(rows), dtype=bool)
    tight[rows] = now = counts.at_least(look.agents[rows])
    cost = price(now, lands)
    while True:
        prices[rows[going]] = cost[going]
        going = going & (cost <= limit) & (placed < bound)
        if not going.any():
            break
        placed[going] += 1
        counts.add(fresh * going[:, None])
        cost = price(counts.at_least(look.agents[rows]), lands)
    calls[rows] = placed


def _by_rank(place: Ints, chance: Floats, rows: int) -> list[Floats]:
    """The first trial of each row, the second, ...: (rows, horizons) each, zero where none."""
    mine = np.flatnonzero(place >= 0)
    order = mine[np.argsort(place[mine], kind="stable")]
    at = place[order]
    if not len(at):
        return []
    rank, _ = ranks(at)
    out = np.zeros((int(rank.max()) + 1, rows, chance.shape[1]))
    out[rank, at] = chance[order]
    return list(out)
