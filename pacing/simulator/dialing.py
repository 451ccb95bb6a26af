"""What limits dialing and who is dialled: leads, retries, lists, lines, rates, answer shares.

A centre's runs share nothing; the campaigns of a run share its lines and its calls per second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from pacing.simulator.fates import Fate, Fates, generator
from pacing.simulator.network import Calls, Network
from pacing.simulator.scenario import Campaign, Scenario, at
from pacing.state import Coming, Floats, Ints

_SHOCK = (1 << 20) + 1  # stream of the factors on p
_MINUTE = 60.0
_MANY = 1_000_000.0  # lines, calls per second, leads when there is no limit
_LEAST_FAILED = 0.001  # p and busy leave so much for calls that ring out


class Draws(Protocol):
    """What becomes of calls, by number."""

    def take(self, counts: Ints) -> tuple[Ints, Floats]:
        """The next `counts` calls of each row: (row of each call, columns by `Fate`)."""
        ...

    def peek(self, row: int, count: int) -> Floats:
        """The next `count` calls of a row without taking them."""
        ...


class Dialing:
    """Rows are runs times campaigns."""

    def __init__(self, scenario: Scenario, seeds: Sequence[int]) -> None:
        campaigns, self._scenario = scenario.campaigns, scenario
        self._runs, self._per_run = len(seeds), len(campaigns)
        rows = self._runs * self._per_run
        self.fates: Draws = Fates(seeds, campaigns)
        ticks = scenario.ticks
        self._p = np.array(
            [at(c.p, ticks) * _factors(c, ticks) * hours(c, scenario, ticks) for c in campaigns]
        )
        self._talk = np.array([at(c.talk, ticks) for c in campaigns])
        busy = np.tile([c.busy for c in campaigns], self._runs)
        self._most = 1.0 - busy - _LEAST_FAILED
        self._shocks = self._drawn_shocks(seeds)
        self.cancel_after = np.tile([c.cancel_after for c in campaigns], self._runs)
        # Slots: one per row; more of them where a campaign has several lists, one per list.
        self._timeout = np.tile([c.timeout for c in campaigns], self._runs)
        self._begins = [np.array([t for t, _ in c.lists]) for c in campaigns]
        self.lists = max(max(len(c.lists), 1 + len(c.cells)) for c in campaigns)
        #: Per campaign with cells: shares added up (cells, ticks), factors, delays.
        self._cells = [_cells(c, ticks) if c.cells else None for c in campaigns]
        self.slot: Ints = np.arange(rows) * self.lists
        self._fresh: Floats = np.tile([min(c.leads, _MANY * 1e6) for c in campaigns], self._runs)
        self.finished = np.full(rows, np.inf)
        self._retries = [c.retries for c in campaigns]
        most = max((r.most for r in self._retries if r), default=0)
        self._again: Ints = np.zeros((rows, most + 1), dtype=np.int64)  # due now, by attempts made
        self._later: dict[int, Ints] = {}  # the same by tick
        factors = [
            [(r.factor if r else 1.0) ** tries for tries in range(most + 1)] for r in self._retries
        ]
        self._weaker: Floats = np.tile(np.array(factors), (self._runs, 1))
        self.tokens: Floats = np.zeros(self._runs)
        self.limited = bool(np.isfinite([scenario.lines, scenario.calls_per_second]).any())
        self._number = 0
        self.tick(0.0)

    def tick(self, time: float) -> None:
        """A tick begins at `time`."""
        scenario = self._scenario
        self._number = round(time / scenario.tick)
        if np.isfinite(scenario.calls_per_second):
            # An idle trunk saves up one call at most: ticks do not burst.
            leave = scenario.calls_per_second * scenario.tick
            self.tokens = np.minimum(self.tokens + leave, leave + 1.0)
        else:
            self.tokens = np.full(self._runs, _MANY)
        if self.lists > 1:
            now = [
                max(int(np.searchsorted(begins, time, side="right")) - 1, 0)
                for begins in self._begins
            ]
            rows = np.arange(self._runs * self._per_run)
            self.slot = rows * self.lists + np.tile(now, self._runs)
        due = self._later.pop(self._number, None)
        if due is not None:
            self._again += due

    @property
    def leads(self) -> Ints:
        """Leads due per row."""
        due = self._fresh + self._again.sum(axis=1) if self._later_at_all else self._fresh
        return np.asarray(np.minimum(due, _MANY), dtype=np.int64)

    @property
    def closed(self) -> Floats:
        """s at which the last call of a run can have rung out; inf while there are leads."""
        last = self.finished + self._timeout
        return np.asarray(last.reshape(self._runs, self._per_run).max(axis=1))

    def free_lines(self, in_use: Ints) -> Floats:
        """Per run."""
        return np.asarray(np.maximum(min(self._scenario.lines, _MANY) - in_use, 0.0))

    def grant(self, calls: Ints, in_use: Ints) -> tuple[Ints, dict[str, Ints]]:
        """How many of the calls asked for are placed, per row, and the rows cut by each limit."""
        wanted = np.maximum(calls, 0)
        leads = np.minimum(wanted, self.leads)
        lines = self.free_lines(in_use).astype(np.int64)
        rate = np.floor(self.tokens + 1e-9).astype(np.int64)
        if not self.limited and not (leads < wanted).any():
            return wanted, {}
        granted = np.zeros_like(leads).reshape(self._runs, self._per_run)
        asked = leads.reshape(granted.shape)
        room = np.minimum(lines, rate)
        for campaign in range(self._per_run):
            granted[:, campaign] = np.minimum(asked[:, campaign], room)
            room = room - granted[:, campaign]
        cut = (granted < asked).any(axis=1)
        first = np.arange(self._runs) * self._per_run
        return granted.ravel(), {
            "short_of_leads": np.flatnonzero(leads < wanted),
            "short_of_lines": first[cut & (lines <= rate)],
            "short_of_rate": first[cut & (rate < lines)],
        }

    def dial(self, granted: Ints, calls: Calls, network: Network, time: float) -> tuple[Ints, Ints]:
        """Place them: (row, place) of each call."""
        rows, fates = self.fates.take(granted)
        number = rows % self._per_run
        p = self.answer_rate(time)[rows]
        tries: Ints | None = None
        if self._later_at_all:
            tries = self._attempts(granted)
            p = p * self._weaker[rows, tries]
        cell, better, later = self._cell_of(number, fates)
        p = np.minimum(p * better, self._most[rows])
        talk = self._talk[number, self._number]
        places = network.dial(calls, rows, fates, time=time, p=p, talk=talk, later=later)
        calls.slot[places] = self.slot[rows]
        calls.cell[places] = self.slot[rows] + cell
        if tries is None:
            self._fresh -= granted
        else:
            calls.tries[places] = tries
        if np.isfinite(self._fresh).any():
            empty = (self._fresh <= 0) & (granted > 0)
            self.finished[empty] = time  # the last of them counts: retries may follow
        self.tokens -= granted.reshape(self._runs, self._per_run).sum(axis=1)
        return rows, places

    def coming(self) -> Coming:
        """In what shares the next calls of each row are of its cells."""
        rows = np.arange(self._runs * self._per_run)
        row, cell, share = [], [], []
        for number, cells in enumerate(self._cells):
            if cells is not None:
                mine = rows[number :: self._per_run]
                each = np.diff(cells[0][:, self._number], prepend=0.0)
                row.append(np.repeat(mine, len(each)))
                cell.append((self.slot[mine][:, None] + 1 + np.arange(len(each))).ravel())
                share.append(np.tile(each, len(mine)))
        if not row:
            return Coming()
        return Coming(np.concatenate(row), np.concatenate(cell), np.concatenate(share))

    def _cell_of(self, number: Ints, fates: Floats) -> tuple[Ints, Floats, Floats]:
        """Per call, `number` its campaign: its cell (from 1; 0: none), p times what, s later."""
        cell = np.zeros(len(number), dtype=np.int64)
        better, later = np.ones(len(number)), np.zeros(len(number))
        for campaign, cells in enumerate(self._cells):
            if cells is None:
                continue
            mine = np.flatnonzero(number == campaign)
            upto, factors, delays = cells
            which = np.searchsorted(upto[:-1, self._number], fates[mine, Fate.CELL], side="right")
            cell[mine], better[mine], later[mine] = which + 1, factors[which], delays[which]
        return cell, better, later

    def placed_before(self, granted: Ints) -> None:
        """So many of the calls of each row were placed before the run: they cost it no lead, and
        nothing of its lines' rate."""
        self._fresh += granted
        self.tokens += granted.reshape(self._runs, self._per_run).sum(axis=1)
        self.finished[granted > 0] = np.where(self._fresh[granted > 0] > 0, np.inf, 0.0)

    def answer_rate(self, time: float) -> Floats:
        """The share of first attempts placed at `time` that will be answered, per row."""
        p = np.tile(self._p[:, self._number], self._runs)
        if self._shocks is not None:
            p = p * np.repeat(self._shocks[:, int(time / _MINUTE)], self._per_run)
        return np.asarray(np.minimum(p, self._most))

    def unreached(self, calls: Calls, places: Ints, time: float) -> None:
        """These calls reached nobody: those with attempts left come back later."""
        if not self._later_at_all or len(places) == 0:
            return
        rows, tries = calls.row[places], calls.tries[places]
        for campaign, retries in enumerate(self._retries):
            if retries is None:
                continue
            which = (rows % self._per_run == campaign) & (tries < retries.most)
            due = round((time + retries.after) / self._scenario.tick)
            counts = self._later.setdefault(max(due, self._number + 1), np.zeros_like(self._again))
            np.add.at(counts, (rows[which], tries[which] + 1), 1)

    @property
    def _later_at_all(self) -> bool:
        return bool(self._again.shape[1] > 1)

    def _attempts(self, granted: Ints) -> Ints:
        """Attempts made before for each call to place, those that wait longest first."""
        most = self._again.shape[1]
        left, counts = granted.copy(), np.zeros_like(self._again)
        for tries in range(most - 1, 0, -1):
            counts[:, tries] = np.minimum(left, self._again[:, tries])
            left -= counts[:, tries]
        counts[:, 0] = left
        self._again -= counts
        self._again[:, 0] = 0
        self._fresh -= left
        return np.repeat(np.tile(np.arange(most), len(granted)), counts.ravel())

    def _drawn_shocks(self, seeds: Sequence[int]) -> Floats | None:
        sd = self._scenario.shock
        if sd == 0:
            return None
        minutes = int(self._scenario.end / _MINUTE) + 2
        drawn = np.array([generator(s, _SHOCK, 0).standard_normal(minutes) for s in seeds])
        return np.asarray(np.exp(sd * drawn - sd**2 / 2))


def _cells(campaign: Campaign, ticks: Floats) -> tuple[Floats, Floats, Floats]:
    shares = np.array([at(c.share, ticks) for c in campaign.cells])
    upto = np.cumsum(shares, axis=0) / shares.sum(0)
    factors, delays = (
        np.array([getattr(c, f) for c in campaign.cells]) for f in ("factor", "later")
    )
    return upto, factors, delays


def hours(campaign: Campaign, scenario: Scenario, ticks: Floats) -> Floats:
    """The hour's factor on p at each tick."""
    if not campaign.hours:
        return np.ones(len(ticks))
    hour = np.floor((ticks - scenario.warm_up) / 3600.0).astype(np.int64)
    return np.array(campaign.hours)[np.clip(hour, 0, len(campaign.hours) - 1)]


def _factors(campaign: Campaign, ticks: Floats) -> Floats:
    """The list's factor on p at each tick."""
    if not campaign.lists:
        return np.ones(len(ticks))
    begins = np.array([t for t, _ in campaign.lists])
    factor = np.array([f for _, f in campaign.lists])
    return np.asarray(factor[np.maximum(np.searchsorted(begins, ticks, side="right") - 1, 0)])
