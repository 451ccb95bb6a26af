"""The largest number of new calls whose last one is worth its price.

The price of a call is what it adds to the expected number of people who meet nobody, J (see
`crowd`), per answer it is expected to bring: its own risk and whom it robs of an agent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pacing.numbers import between, whole_between
from pacing.predictive.crowd import Crowd
from pacing.predictive.outlook import Outlook
from pacing.predictive.ragged import ranks, stretches
from pacing.predictive.tail import Counts
from pacing.state import Floats, Ints

_EXACT_AGENTS = 6  # up to here each trial is counted
_EXACT_TRIALS = 60
# Agents from which on the worst moment alone counts, in part and wholly: summed over all later
# stretches, one call would rob several people in a large pool, but only one of them meets nobody.
_SIZES = 30.0, 80.0
_ALIKE = 2.3  # times that price is as high as the other
_MOST = 512  # new calls a row may be given in one decision
_AT_ONCE, _FEWEST = 64, 3  # numbers of new calls tried together, all rows; in one row


@dataclass(frozen=True, slots=True)
class Choice:
    """Per row."""

    calls: Ints
    price: Floats  # people who meet nobody per answer, of the first call that was not placed
    lost: Floats  # people expected to meet nobody, of the calls under way
    full: Floats  # (rows, horizons): P(all agents are spoken for) with the calls under way
    edge: Floats  # (rows, horizons): P(exactly one is not)
    lands: Floats  # (rows, horizons): people who land there, of the calls under way


def choose(look: Outlook, theta: Floats, most: Ints) -> Choice:
    """`theta`: the price not to be passed, per row; `most`: calls that could be placed at all."""
    most = np.where(look.agents > 0, whole_between(most, 0, _MOST), 0)
    rows = len(look.agents)
    small = (look.agents <= _EXACT_AGENTS) & (look.under_way <= _EXACT_TRIALS) & (look.agents > 0)
    small &= look.sure <= _EXACT_TRIALS  # a count that makes no sense must not cost minutes
    crowd = Crowd(look)
    price, lost, full, edge = (np.zeros(shape) for shape in (rows, rows, *[crowd.lands.shape] * 2))
    found = Choice(np.zeros(rows, dtype=np.int64), price, lost, full, edge, crowd.lands)
    _nearly(crowd, look, np.flatnonzero(~small), theta, most, found)
    if small.any():
        _exactly(look, np.flatnonzero(small), theta, most, found)
    return found


def _nearly(
    crowd: Crowd, look: Outlook, rows: Ints, theta: Floats, most: Ints, found: Choice
) -> None:
    """By sums over the pool, some numbers of calls at once."""
    chance = np.maximum(look.fresh[:, 0, -1], 1e-9)
    small, big = _SIZES
    part = between((crowd.agents - small) / (big - small), 0.0, 1.0)
    first = True
    while len(rows):
        wide = max(_AT_ONCE // len(rows), _FEWEST)
        tried = found.calls[rows][:, None] + np.arange(wide + 1)
        lost, full, edge = crowd.lost(rows, tried.astype(np.float64))
        if first:
            found.lost[rows], found.full[rows] = lost[:, 0], full[:, 0]
            found.edge[rows], first = edge[:, 0], False
        price = (lost[:, 1:] - lost[:, :-1]) / chance[rows][:, None]
        large = np.flatnonzero(part[rows] > 0)
        if len(large):
            worst = crowd.worst(rows[large], full[large, :-1])
            weight = part[rows[large]][:, None]
            price[large] = (
                np.maximum(price[large], 0.0) ** (1 - weight) * (_ALIKE * worst) ** weight
            )
        over = (price > theta[rows][:, None]) | (tried[:, :-1] >= most[rows][:, None])
        stop = over.any(1)
        more = np.where(stop, np.argmax(over, axis=1), wide)
        found.calls[rows] += more
        found.price[rows] = price[np.arange(len(rows)), np.minimum(more, wide - 1)]
        rows = rows[~stop]


def _exactly(look: Outlook, rows: Ints, theta: Floats, most: Ints, found: Choice) -> None:
    """The same for small pools, each trial counted."""
    place = np.full(len(look.agents), -1)
    place[rows] = np.arange(len(rows))
    agents, limit, bound = look.agents[rows], theta[rows], most[rows]
    fresh = look.fresh[rows, 0]
    lands = stretches(fresh)
    chance = np.maximum(fresh[:, -1], 1e-9)
    counts = Counts(len(rows), fresh.shape[1], int(agents.max()))
    for row, by, landing in look.trials():
        for each in _by_rank(place[row], by, len(rows)):
            counts.add(each, stretches(each) if landing else None)
    for turn in range(int(look.sure[rows].max(initial=0))):
        there = np.zeros(fresh.shape)
        there[look.sure[rows] > turn] = 1.0
        counts.add(there)
    found.full[rows], found.edge[rows] = counts.at_least(agents), counts.exactly(agents - 1)
    found.lost[rows] = lost = counts.lost(agents)
    placed = np.zeros(len(rows), dtype=np.int64)
    going = np.ones(len(rows), dtype=bool)
    while True:
        mine = going[:, None].astype(np.float64)
        counts.add(fresh * mine, lands * mine)
        now = counts.lost(agents)
        price = (now - lost) / chance
        found.price[rows[going]] = price[going]
        going = going & (price <= limit) & (placed < bound)
        if not going.any():
            break
        placed[going] += 1
        lost = now
    found.calls[rows] = placed


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
