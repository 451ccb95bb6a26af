"""Answers to come and agents still busy, on a grid of moments ahead, for all rows at once.

At each moment h: A(h), who will have answered by then; B(h), which of the busy agents will still be
busy a connect window later. Person number A(h) meets nobody when A(h) + B(h) exceeds the agents.
"""

from __future__ import annotations

import numpy as np

from pacing.learning.analysis import Analysis
from pacing.learning.counts import PHASE_OF
from pacing.learning.grid import AGES, HORIZONS, MIDDLES, PHASES
from pacing.learning.landing import moments
from pacing.learning.pace import Pace
from pacing.learning.ring import RingModel
from pacing.learning.service import STAGES, TALK_BINS, ServiceModel
from pacing.numbers import between
from pacing.predictive.ragged import starts
from pacing.state import Array, Floats, Ints, PacingInput


class Outlook:
    """Sums by row of the moments (mean, variance, third) of A(h) and B(h); single chances where
    they are asked for. Every array of moments is (rows, 3, horizons)."""

    def __init__(
        self,
        given: PacingInput,
        ring: RingModel,
        service: ServiceModel,
        analysis: Analysis,
        pace: Pace,
    ) -> None:
        slot, n = given.slot, given.rows
        self._given, self._share = given, analysis.share
        self._ring = ring.lands.reshape(-1, 3, HORIZONS)
        self._busy = service.busy.reshape(-1, 3, HORIZONS)
        ages = between(given.ringing.seconds, 0, AGES - 1).astype(np.int64)
        phase = PHASE_OF[given.ringing_signal]
        self._calls = (given.ringing_places * PHASES + phase) * AGES + ages
        talk = service.talk.bins(given.talking.seconds)
        wrap = service.wrap.bins(given.wrapping.seconds) + TALK_BINS
        self.agent_row = np.concatenate([given.talking.row, given.wrapping.row])
        of = slot[self.agent_row] * service.classes
        if service.classes > 1:
            of += np.concatenate([
                pace.classes(_or_unknown(given.talking_agent, talk)),
                pace.classes(_or_unknown(given.wrapping_agent, wrap)),
            ])  # fmt: skip
        self._stages = of * STAGES + np.concatenate([talk, wrap])
        self.fresh = _fresh(given, ring)
        self.answers = _sum(given.ringing.row, self._ring, self._calls, n)
        self._soon = self._analysing(analysis.delay)
        if len(self._soon):
            self.answers += _sum(given.analysing_since.row, moments(self._soon), None, n)
        self.busy = _sum(self.agent_row, self._busy, self._stages, n)
        self.sure = given.waiting  # persons who wait already
        self.agents = given.agents_free + np.bincount(self.agent_row, minlength=n)
        self.under_way = np.bincount(given.ringing.row, minlength=n)

    def _analysing(self, delay: Floats) -> Floats:
        """P(a call in analysis turns out a person within h)."""
        analysing = self._given.analysing_since
        of = self._given.slot[analysing.row]
        left = np.maximum(delay[of] - analysing.seconds, 0.0)
        known = (MIDDLES[None, :] >= left[:, None]).astype(np.float64)
        chance: Floats = known * self._share[of][:, None]
        return chance

    def busy_of(self, group: Ints, groups: int) -> Floats:
        """(groups, 3, horizons): the sums of B(h) by the agents' group (one for each of those who
        talk, then of those who wrap up; -1: of none) instead of by row."""
        some = np.flatnonzero(group >= 0)
        return _sum(group[some], self._busy, self._stages[some], groups)

    def call(self, at: Ints) -> Floats:
        """(calls, horizons): these ringing calls are answered by then."""
        chance: Floats = self._ring[self._calls[at], 0].astype(np.float64)
        return chance

    def trials(self) -> list[tuple[Ints, Floats, bool]]:
        """Every single chance with its row, and whether somebody lands: ringing calls, calls in
        analysis, busy agents."""
        given = self._given
        return [
            (given.ringing.row, self._ring[self._calls, 0].astype(np.float64), True),
            (given.analysing_since.row, self._soon, True),
            (self.agent_row, self._busy[self._stages, 0].astype(np.float64), False),
        ]


def _fresh(given: PacingInput, ring: RingModel) -> Floats:
    """(rows, 3, horizons) of a call placed now: of the cells that come next in their shares."""
    fresh: Floats = ring.lands[given.slot, 0, 0].astype(np.float64)
    coming = given.coming
    if not len(coming.row):
        return fresh
    whole = np.bincount(coming.row, weights=coming.share, minlength=given.rows)
    mixed = np.zeros((given.rows, HORIZONS))
    chance = ring.lands[given.coming_places, 0, 0, 0].astype(np.float64)
    np.add.at(mixed, coming.row, chance * coming.share[:, None])
    told = whole > 0
    fresh[told] = moments(mixed[told] / whole[told, None])
    return fresh


def _or_unknown(agents: Ints, busy: Ints) -> Ints:
    return agents if len(agents) else np.full(len(busy), -1)


def _sum(row: Ints, table: Array, at: Ints | None, rows: int) -> Floats:
    """Sums by row of `table[at]` (of `table` itself without `at`)."""
    out = np.zeros((rows, *table.shape[1:]))
    if not len(row):
        return out
    if np.any(row[1:] < row[:-1]):
        # Short integers are sorted by radix, several times faster.
        order = np.argsort(row.astype(np.uint16) if rows < 65_536 else row, kind="stable")
        row, at = row[order], order if at is None else at[order]
    begin = starts(row)
    out[row[begin]] = np.add.reduceat(table if at is None else table[at], begin, axis=0)
    return out
