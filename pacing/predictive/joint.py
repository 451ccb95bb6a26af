"""New calls of rows that share agents, chosen together.

A call is worth placing while what it costs is paid: its answer may rob people of any row of the
pool of an agent. Whoever finds no agent in a view is of a row whose agents are all there, and which
row's that will be is chance: so what a view may cost is the least that such a row can pay. A row
that can pay far less than the others would hold all of them back: it is taken for a frozen one,
which keeps agents and calls for them one by one. The next call goes to the row that is furthest
behind: whose conversations and expected answers are fewest for the agents who may serve it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pacing.predictive.choose import Choice
from pacing.predictive.crowd import landing, people_lost
from pacing.predictive.outlook import Outlook
from pacing.predictive.pooled import SharedCrowd
from pacing.predictive.pools import Pools, agents_of
from pacing.predictive.ragged import starts
from pacing.state import Flags, Floats, Ints, Mode, PacingInput

T = TypeVar("T", bound=np.generic)

_MOST = 1024  # new calls a row may be given in one decision
_CHUNK = 8  # at most one in so many of a pool's new calls is placed without looking again
_LEAST_THETA = 1e-6
_STAKE = 0.05  # answers expected
_POOR = 0.15  # of the largest theta of the pool
_HELD = 0.8  # of its own theta: a row that may not go so far is held back by others


@dataclass(frozen=True, slots=True)
class Joint:
    """Per row of `rows`."""

    rows: Ints  # that share agents
    planned: Flags  # ... and were decided here
    calls: Ints
    price: Floats  # of the first call that was not placed
    theta: Floats  # what it may cost, with what the others can afford
    held: Flags  # others hold it back
    full: Floats  # these three (rows, horizons), see `Choice`: of all the rows that share
    edge: Floats
    lands: Floats
    lost: Floats  # its own people expected to meet nobody, of the calls under way
    agents: Floats  # who may serve it
    shared: Floats  # ... and another row of the pool too
    busy: Floats  # (rows, horizons): of these, still busy then
    free: Floats  # of these, free now
    others: Ints  # rows that were decided with it
    own: Ints  # free agents for calls one by one: of those lent or due to it; 0 where planned

    def settle(self, choice: Choice) -> Choice:
        """What was chosen for rows that stand alone, and this for those that share."""
        full, edge, lands, lost = (
            values.copy() for values in (choice.full, choice.edge, choice.lands, choice.lost)
        )
        full[self.rows], edge[self.rows] = self.full, self.edge
        lands[self.rows], lost[self.rows] = self.lands, self.lost
        return Choice(
            calls=self.onto(choice.calls, self.calls), price=self.onto(choice.price, self.price),
            lost=lost, full=full, edge=edge, lands=lands,
        )  # fmt: skip

    def keeps(self, row: Ints) -> Flags:
        """Which of these are rows that keep agents for their calls."""
        return np.isin(row, self.rows[~self.planned])

    def one_each(self, free: Ints) -> Ints:
        """`free` agents of all rows, those whom a row may call for one by one."""
        values = free.copy()
        values[self.rows] = self.own
        return values

    def onto(self, whole: NDArray[T], part: NDArray[T]) -> NDArray[T]:
        """`whole` (of all rows) with `part` (of `rows`) for those decided here."""
        values = whole.copy()
        values[self.rows[self.planned]] = part[self.planned]
        return values


def choose_jointly(
    look: Outlook, given: PacingInput, pools: Pools, *, theta: Floats, most: Ints, frozen: Flags,
) -> Joint:  # fmt: skip
    """`theta`, `most` and `frozen` are of all rows."""
    rows, sharing = pools.rows, given.sharing
    predictive = given.mode[rows] == Mode.PREDICTIVE
    pays = np.where(predictive & ~frozen[rows], theta[rows], 0.0)
    richest = np.zeros(pools.pool[-1] + 1)
    np.maximum.at(richest, pools.pool, pays)
    joint = predictive & ~frozen[rows] & (pays >= _POOR * richest[pools.pool])
    agents = agents_of(sharing)
    mine, free = pools.of_rows(agents), pools.of_rows(sharing.free.astype(np.float64))
    coming = look.answers[rows, 0, -1] + look.sure[rows]
    ringing = look.under_way + np.bincount(given.analysing_since.row, minlength=given.rows)
    there = ringing[rows] + look.sure[rows]
    # Who plans ahead is given no agent of their own; who does not keeps those who are lent, and who
    # may not for a while a fair part of those who are free: lending would pass by them.
    lent = given.agents_free[rows]
    fair = np.floor(free * pools.fair(agents) / np.maximum(mine, 1) + 0.5).astype(np.int64)
    plain = np.bincount(pools.pool, weights=np.where(predictive, 0, lent))[pools.pool] > 0
    own = np.where(joint, 0, np.where(predictive & ~plain, fair, lent))
    kept = np.minimum(np.where(predictive, np.maximum(own, there), own), there + given.leads[rows])
    kept = np.maximum(kept, look.sure[rows])
    crowd = SharedCrowd(look, given, pools, agents, joint=joint, there=there, kept=kept)
    full, edge = (crowd.by_row(tails) for tails in crowd.tails())
    lands = crowd.lands[pools.own]
    at_stake = joint & ((most[rows] > 0) | (coming > _STAKE))
    scale = 1.0 / np.maximum(_paid(crowd, theta[rows], at_stake), _LEAST_THETA)
    chance = np.maximum(look.fresh[rows, 0, -1], 1e-9)
    able = np.where(joint & (mine > 0), np.clip(most[rows], 0, _MOST), 0)
    working = np.bincount(look.agent_row, minlength=given.rows)[rows]
    load = working + coming
    calls, cost = _fill(
        crowd, scale=scale, most=able, load=load, chance=chance, agents=np.maximum(mine, 1)
    )
    next_ = crowd.worst(crowd.one_more()) / chance
    pays = np.divide(next_, cost, out=1 / scale[pools.own], where=cost > 1e-9)
    by = look.answers[rows]
    links = np.bincount(sharing.group, minlength=len(agents))
    return Joint(
        rows=rows, planned=joint, calls=calls, price=next_, theta=pays,
        held=joint & (pays < _HELD * theta[rows]), full=full, edge=edge, lands=lands,
        lost=people_lost(*landing(by[:, 0], by[:, 0] - by[:, 1]), full, edge), agents=mine,
        shared=pools.of_rows(agents * (links > 1)), busy=crowd.busy[pools.own],
        free=free, own=own,
        others=np.bincount(pools.pool, weights=joint)[pools.pool].astype(np.int64) - joint,
    )  # fmt: skip


def _paid(crowd: SharedCrowd, theta: Floats, at_stake: Flags) -> Floats:
    """What a person who finds no agent in a view may cost: the least that any row `at_stake` there
    pays, of those whose agents are all in the view."""
    pools = crowd.pools
    bears = pools.inside & at_stake[pools.pair_at]
    least = np.full(pools.views, np.inf)
    np.minimum.at(least, pools.pair_view[bears], theta[pools.pair_at[bears]])
    return np.where(np.isfinite(least), least, 1.0)


def _fill(
    crowd: SharedCrowd, *, scale: Floats, most: Ints, load: Floats, chance: Floats, agents: Floats,
) -> tuple[Ints, Floats]:  # fmt: skip
    """Calls, and the cost of the next one in what may be paid for it, per row: every pool at once,
    one or some calls in each turn, to the row furthest behind of those whose next call is paid."""
    pool, view = crowd.pools.pool, crowd.pools.pair_view
    begin = starts(pool)
    calls, placed = np.zeros((2, len(pool)), dtype=np.int64)
    size = np.ones(len(begin), dtype=np.int64)
    growing = ~np.logical_or.reduceat(crowd.single, begin)

    def cost(more: Ints | None = None) -> Floats:
        return crowd.worst(crowd.one_more(more, of=going) * scale[view]) / chance

    going = np.ones(len(begin), dtype=bool)
    now = cost()
    open_ = (now <= 1) & (most > 0)
    while open_.any():
        going = np.logical_or.reduceat(open_, begin)
        behind = np.where(open_, (load + chance * calls) / agents, np.inf)
        least = np.minimum.reduceat(behind, begin)
        first = np.flatnonzero(open_ & (behind == least[pool]))
        first = first[starts(pool[first])]
        which = pool[first]
        chunk = np.minimum(size[which], most[first] - calls[first])
        if (chunk > 1).any():
            # Is the last of them still paid? If not, fewer, and no more of such leaps.
            ahead = np.zeros_like(calls)
            ahead[first] = chunk - 1
            fits = cost(ahead)[first] <= 1
            growing[which[~fits]] = False
            chunk = np.where(fits, chunk, 1)
        placed[:] = 0
        placed[first] = chunk
        calls += placed
        crowd.add(placed)
        total = np.add.reduceat(calls, begin)
        size = np.where(growing, np.minimum(np.maximum(total // _CHUNK, 1), 2 * size), 1)
        now = np.where(going[pool], cost(), now)
        open_ &= (now <= 1) & (calls < most)
    return calls, now
