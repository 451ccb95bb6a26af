"""What happens to call number i of a run, whatever the policy does: common random numbers.

Every (seed, campaign, block of calls) has a counter-based generator of its own, so that two
policies that place the same call, however late, meet the same person.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from pacing.simulator.scenario import Analysis, Campaign, Signals, Spread
from pacing.state import Floats, Ints

_BLOCK = 512  # calls drawn at a time


class Fate(IntEnum):
    """Columns of what is drawn for a call."""

    ANSWER = 0  # uniform: answered when below p, busy when above 1 - busy
    RING = 1  # s to the answer, if it is one
    FAIL = 2  # s to the failure, if it is one
    TALK = 3  # of mean 1
    WRAP = 4  # s
    # from here on only for campaigns that need them
    MACHINE = 5  # uniform
    VERDICT = 6  # s of analysis
    MISTAKE = 7  # uniform
    LISTEN = 8  # s an agent listens to a machine
    PATIENCE = 9  # of mean 1
    SIGNAL = 10  # uniform: which signal
    RINGING = 11  # s to 180
    ANNOUNCED = 12  # s to an announcement
    CELL = 13  # uniform: which list over which route


_BASE = 5


def generator(seed: int, stream: int, part: int) -> np.random.Generator:
    """Independent for each (seed, stream, part), the same for the same."""
    return np.random.Generator(np.random.Philox(key=[seed, stream], counter=[0, 0, part, 0]))


class Fates:
    """Draws of all rows, handed out by call number. Rows are runs times campaigns."""

    def __init__(self, seeds: Sequence[int], campaigns: Sequence[Campaign]) -> None:
        self._keys = [(seed, c) for seed in seeds for c in range(len(campaigns))]
        self._campaigns = campaigns
        self.full = any(
            c.machines or c.signals or c.cells or np.isfinite(c.patience) for c in campaigns
        )
        self.columns = len(Fate) if self.full else _BASE
        n = len(self._keys)
        self._drawn: NDArray[np.float64] = np.empty((n, 2 * _BLOCK, self.columns))
        self._at: Ints = np.zeros(n, dtype=np.int64)  # next call, within what is drawn
        self._block = [0] * n  # the second half's number
        for row in range(n):
            self._draw(row, 0, self._drawn[row, :_BLOCK])
            self._draw(row, 1, self._drawn[row, _BLOCK:])
            self._block[row] = 1

    def take(self, counts: Ints) -> tuple[Ints, Floats]:
        """The next `counts` calls of each row: (row of each call, columns by `Fate`)."""
        if int(counts.max(initial=0)) > _BLOCK:
            first_rows, first = self.take(np.minimum(counts, _BLOCK))
            rows, rest = self.take(counts - np.minimum(counts, _BLOCK))
            return np.concatenate((first_rows, rows)), np.concatenate((first, rest))
        rows = np.repeat(np.arange(len(counts)), counts)
        begin = np.cumsum(counts) - counts
        index = np.arange(len(rows)) + np.repeat(self._at - begin, counts)
        fates = self._drawn[rows, index]
        self._at += counts
        for row in np.flatnonzero(self._at >= _BLOCK).tolist():
            drawn = self._drawn[row]
            drawn[:_BLOCK] = drawn[_BLOCK:]
            self._block[row] += 1
            self._draw(row, self._block[row], drawn[_BLOCK:])
            self._at[row] -= _BLOCK
        return rows, fates

    def peek(self, row: int, count: int) -> Floats:
        """The next `count` calls of a row (at most a block) without taking them."""
        start = int(self._at[row])
        return self._drawn[row, start : start + min(count, _BLOCK)]

    def _draw(self, row: int, block: int, into: Floats) -> None:
        seed, number = self._keys[row]
        campaign = self._campaigns[number]
        g = generator(seed, 2 * number, block)
        into[:, Fate.ANSWER] = g.random(_BLOCK)
        into[:, Fate.RING] = _below(g, campaign.ring, campaign.timeout)
        into[:, Fate.FAIL] = _below(g, campaign.failing, campaign.timeout)
        into[:, Fate.TALK] = _lognormal(g, Spread(1.0, campaign.talk_cv))
        into[:, Fate.WRAP] = _lognormal(g, campaign.wrap)
        if not self.full:
            return
        g = generator(seed, 2 * number + 1, block)
        machines, signals = campaign.machines, campaign.signals or Signals()
        analysis = (machines.analysis if machines else None) or Analysis()
        into[:, Fate.MACHINE] = g.random(_BLOCK)
        into[:, Fate.VERDICT] = _lognormal(g, analysis.delay)
        into[:, Fate.MISTAKE] = g.random(_BLOCK)
        into[:, Fate.LISTEN] = _lognormal(g, machines.talk if machines else Spread(8.0, 0.4))
        into[:, Fate.PATIENCE] = g.standard_exponential(_BLOCK)
        into[:, Fate.SIGNAL] = g.random(_BLOCK)
        into[:, Fate.RINGING] = _lognormal(g, signals.ringing)
        into[:, Fate.ANNOUNCED] = _lognormal(g, signals.announcement)
        into[:, Fate.CELL] = g.random(_BLOCK)


def _lognormal(g: np.random.Generator, spread: Spread) -> Floats:
    mean, sd = spread.log
    return np.exp(mean + sd * g.standard_normal(_BLOCK))


def _below(g: np.random.Generator, spread: Spread, most: float) -> Floats:
    """Lognormal, given that it is below `most`; uniform for the hopeless rest."""
    drawn = _lognormal(g, spread)
    for _ in range(30):
        if not (above := drawn >= most).any():
            return drawn
        drawn = np.where(above, _lognormal(g, spread), drawn)
    return np.where(drawn >= most, most * g.random(_BLOCK), drawn)
