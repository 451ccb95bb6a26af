"""Rows that share agents, as views of the same crowd.

A pool is rows that are linked by agents who serve several of them. Whether everybody who answers
finds an agent is a question of sets (Hall 1935): for some rows, whether their answers fit on all
the agents who serve any of them. A *view* is such a set of agents: those of one row, those of the
rows that one group of agents serves, and all of the pool. A row whose agents are all in a view
lands there with every answer; another one with the share that the view has of those who will be
free for it (the longest-idle of them gets the call).

With all agents serving all rows there is one view, and it is that of a single row of that size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pacing.state import Flags, Floats, Ints, Sharing

_MOST_JOINS = 100_000  # (view, row, group) of a pool; a larger one is lent, not decided jointly


@dataclass(frozen=True, slots=True)
class Pools:
    """Who shares with whom, without numbers of agents. `at` is a place in `rows`; views and `rows`
    are in order of their pools."""

    rows: Ints  # those that share
    pool: Ints  # of each of `rows`, from 0
    own: Ints  # the view of each one's own agents
    view_pool: Ints
    pair_view: Ints  # which row may land in which view, in order of views
    pair_at: Ints
    view_of: Ints  # which groups are in which view
    view_group: Ints
    row_of: Ints  # which groups serve which row (`at`)
    row_group: Ints
    join_pair: Ints  # which groups a pair's view and row have in common
    join_group: Ints

    @property
    def views(self) -> int:
        return len(self.view_pool)

    @property
    def view_begin(self) -> Ints:
        """The first pair of each view; there is one of every view."""
        return np.searchsorted(self.pair_view, np.arange(self.views))

    def alone(self, most: Ints) -> Ints:
        """`most` calls of all rows, none for those that share agents."""
        left = most.copy()
        left[self.rows] = 0
        return left

    def fair(self, agents: Floats) -> Floats:
        """Agents for each of `rows` when each group is divided equally among the rows it serves."""
        rows = np.bincount(self.row_group, minlength=len(agents))
        return self.of_rows(agents / np.maximum(rows, 1))

    def weights(self, free: Floats) -> Floats:
        """Share of each pair's answers that lands in its view: of those free, (groups, horizons),
        who serve the row. (pairs, horizons); 1 where all who serve it are in the view."""
        common = np.zeros((len(self.pair_at), free.shape[1]))
        np.add.at(common, self.join_pair, free[self.join_group])
        of_row = np.zeros((len(self.rows), free.shape[1]))
        np.add.at(of_row, self.row_of, free[self.row_group])
        whole = of_row[self.pair_at]
        share = np.divide(common, whole, out=np.ones(whole.shape), where=whole > 1e-9)
        share[self.inside] = 1.0
        return share

    @property
    def inside(self) -> Flags:
        """Pairs whose row is served from nowhere else than the view."""
        common = np.bincount(self.join_pair, minlength=len(self.pair_at))
        groups = np.bincount(self.row_of, minlength=len(self.rows))
        every: Flags = common == groups[self.pair_at]
        return every

    def of_rows(self, agents: Floats) -> Floats:
        """Agents who serve each of `rows`, given those of each group."""
        return np.bincount(
            self.row_of, weights=agents[self.row_group], minlength=len(self.rows)
        ).astype(np.float64)

    def of_views(self, agents: Floats) -> Floats:
        """The same for each view."""
        return np.bincount(
            self.view_of, weights=agents[self.view_group], minlength=self.views
        ).astype(np.float64)


def agents_of(sharing: Sharing) -> Floats:
    """Free and busy agents of each group."""
    busy = np.concatenate([sharing.talking, sharing.wrapping])
    counted = np.bincount(busy[busy >= 0], minlength=len(sharing.free))
    return (sharing.free + counted).astype(np.float64)


class Pooling:
    """Finds the pools; while nobody comes or goes they are those of before."""

    def __init__(self) -> None:
        self._key: tuple[bytes, bytes, bytes] | None = None
        self._pools: Pools | None = None

    def find(self, sharing: Sharing) -> Pools | None:
        """The pools, or None when no row shares agents; groups without agents link nobody."""
        row, group = sharing.row, sharing.group
        if not len(row):
            return None
        there = agents_of(sharing) > 0
        key = row.tobytes(), group.tobytes(), there.tobytes()
        if key != self._key:
            self._key, self._pools = key, _pools(row[there[group]], group[there[group]])
        return self._pools


def _pools(row: Ints, group: Ints) -> Pools | None:
    serving: dict[int, set[int]] = {}  # groups of a row
    for r, g in zip(row.tolist(), group.tolist(), strict=True):
        serving.setdefault(r, set()).add(g)
    rows, pool, own, view_pool = _Column(), _Column(), _Column(), _Column()
    pair_view, pair_at, view_of, view_group = _Column(), _Column(), _Column(), _Column()
    row_of, row_group, join_pair, join_group = _Column(), _Column(), _Column(), _Column()
    for number, mine in enumerate(_linked(serving)):
        views = _views(mine, serving)
        places = {r: len(rows) + i for i, r in enumerate(mine)}
        rows += mine
        pool += [number] * len(mine)
        for r, at in places.items():
            row_of += [at] * len(serving[r])
            row_group += sorted(serving[r])
            own.append(len(view_pool) + views.index(frozenset(serving[r])))
        for view in views:
            view_of += [len(view_pool)] * len(view)
            view_group += sorted(view)
            for r, at in places.items():
                if common := view & serving[r]:
                    join_pair += [len(pair_at)] * len(common)
                    join_group += sorted(common)
                    pair_view.append(len(view_pool))
                    pair_at.append(at)
            view_pool.append(number)
    if not rows:
        return None
    columns = (
        rows, pool, own, view_pool, pair_view, pair_at, view_of, view_group, row_of, row_group,
        join_pair, join_group,
    )  # fmt: skip
    return Pools(*(np.array(column, dtype=np.int64) for column in columns))


class _Column(list[int]):
    """Whole numbers that become an array."""


def _linked(serving: dict[int, set[int]]) -> Iterator[list[int]]:
    """Rows that are linked by groups, at least two together, in order; none that is too large."""
    served: dict[int, list[int]] = {}
    for r, groups in serving.items():
        for g in groups:
            served.setdefault(g, []).append(r)
    left = dict.fromkeys(sorted(serving))
    while left:
        found, todo = set(), [next(iter(left))]
        while todo:
            r = todo.pop()
            if r in left:
                del left[r]
                found.add(r)
                todo += [other for g in serving[r] for other in served[g]]
        if len(found) > 1 and _joins(sorted(found), serving) <= _MOST_JOINS:
            yield sorted(found)


def _joins(rows: Sequence[int], serving: dict[int, set[int]]) -> int:
    """At most so many (view, row, group) come of these rows."""
    if len({frozenset(serving[r]) for r in rows}) == 1:
        return len(rows) * len(serving[rows[0]])
    groups = len(set().union(*(serving[r] for r in rows)))
    return (len(rows) + groups + 1) * sum(len(serving[r]) for r in rows)


def _views(rows: Sequence[int], serving: dict[int, set[int]]) -> list[frozenset[int]]:
    """The sets of groups that are looked at, each once."""
    every = frozenset[int]().union(*(serving[r] for r in rows))
    found = {frozenset(serving[r]): None for r in rows}
    for g in sorted(every):
        found[frozenset[int]().union(*(serving[r] for r in rows if g in serving[r]))] = None
    found[every] = None
    return list(found)
