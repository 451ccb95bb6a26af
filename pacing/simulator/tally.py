"""What is counted, after the warm-up, and the results of a run as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pacing.simulator.scenario import Scenario
from pacing.state import Floats, Ints

HALF_HOUR = 1800.0  # s


@dataclass(frozen=True, slots=True)
class Results:
    """One entry per run. Counts and seconds after the warm-up; (runs, campaigns) unless said."""

    scenario: Scenario
    seeds: tuple[int, ...]
    talk: Floats  # agent-seconds, (runs,)
    wrap: Floats  # (runs,)
    ready: Floats  # (runs,)
    waited: Floats  # s that connected people had waited, (runs,)
    placed: Ints
    answered: Ints  # by a person or a machine
    failed: Ints
    rang_out: Ints
    cancelled: Ints
    answers_lost: Ints  # cancelled calls that would have been answered
    connected: Ints
    abandoned: Ints
    gave_up: Ints  # hung up before the window was over: not abandoned
    machines: Ints  # told by the analysis
    people_missed: Ints  # taken for machines, hung up on
    machines_missed: Ints  # machines that agents heard or that waited for one
    short_of_leads: Ints  # ticks in which fewer calls were placed than asked for
    short_of_lines: Ints
    short_of_rate: Ints
    live_by_half_hour: Ints  # (runs, campaigns, half hours)
    abandoned_by_half_hour: Ints
    left_over: Ints  # calls still ringing, in analysis or waiting at the end
    finished: Floats  # s at which the last lead was dialled; inf when some are left

    @property
    def live(self) -> Ints:
        """People connected or abandoned, (runs, campaigns)."""
        return np.asarray(self.connected + self.abandoned)

    @property
    def occupancy(self) -> Floats:
        """(talk + wrap-up) / (talk + wrap-up + ready), (runs,)."""
        busy = self.talk + self.wrap
        return _share(busy, busy + self.ready)

    @property
    def abandon_rate(self) -> Floats:
        """Abandoned / (abandoned + connected), all campaigns, (runs,)."""
        return _share(self.abandoned.sum(axis=1), self.live.sum(axis=1))

    @property
    def idle(self) -> Floats:
        """Ready seconds per connected call, (runs,)."""
        return np.asarray(self.ready / np.maximum(self.connected.sum(axis=1), 1))

    @property
    def over(self) -> float:
        """Share of the runs in which a campaign ended above the cap."""
        rate = _share(self.abandoned, self.live)
        return float((rate.max(axis=1) > self.scenario.cap + 1e-12).mean())

    def worst_half_hour(self, least: int = 100) -> Floats:
        """Highest abandon rate of a half hour with `least` live answers, (runs,); 0 without one."""
        live = self.live_by_half_hour
        rate = np.where(live >= least, _share(self.abandoned_by_half_hour, live), 0.0)
        return np.asarray(rate.reshape(len(self.seeds), -1).max(axis=1))

    def mean_occupancy(self) -> float:
        """Of all runs' agent time."""
        busy = float((self.talk + self.wrap).sum())
        return busy / max(busy + float(self.ready.sum()), 1e-9)

    def mean_abandon_rate(self) -> float:
        """Of all runs' live answers."""
        return float(self.abandoned.sum()) / max(float(self.live.sum()), 1.0)


def _share(part: Floats | Ints, whole: Floats | Ints) -> Floats:
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=np.asarray(whole) > 0)


_COUNTS = (
    "placed", "answered", "failed", "rang_out", "cancelled", "answers_lost", "connected",
    "abandoned", "gave_up", "machines", "people_missed", "machines_missed", "short_of_leads",
    "short_of_lines", "short_of_rate",
)  # fmt: skip


class Tally:
    """Counts while a world runs; `rows` are runs times campaigns."""

    def __init__(self, scenario: Scenario, runs: int) -> None:
        self._scenario = scenario
        self.rows, self.runs = runs * len(scenario.campaigns), runs
        self._counts = {name: np.zeros(self.rows, dtype=np.int64) for name in _COUNTS}
        self.talk, self.wrap, self.ready, self.waited = (np.zeros(runs) for _ in range(4))
        halves = int(np.ceil(scenario.duration / HALF_HOUR - 1e-9))
        self._live = np.zeros((halves, self.rows), dtype=np.int64)
        self._abandoned = np.zeros((halves, self.rows), dtype=np.int64)
        self.since_start = np.zeros((2, self.rows), dtype=np.int64)  # live, abandoned

    def count(self, name: str, rows: Ints, time: float) -> None:
        """One of each of `rows`, in the tick that begins at `time`."""
        if len(rows) == 0:
            return
        number = np.bincount(rows, minlength=self.rows)
        since = time - self._scenario.warm_up
        live, abandoned = name in ("connected", "abandoned"), name == "abandoned"
        if live:
            self.since_start[0] += number
            if abandoned:
                self.since_start[1] += number
        if since < -1e-9:
            return
        self._counts[name] += number
        if live:
            half = min(int(since / HALF_HOUR), len(self._live) - 1)
            self._live[half] += number
            if abandoned:
                self._abandoned[half] += number

    def wait(self, runs: Ints, start: Floats, end: Floats, closed: Floats) -> None:
        """Add ready time. `closed` (per run): the list is dialled, agents wait for nothing more."""
        self.spend(self.ready, runs, start, np.minimum(end, closed[runs]))

    def spend(self, of: Floats, runs: Ints, start: Floats, end: Floats) -> None:
        """Add the parts of the times from `start` to `end` that count to `of`."""
        scenario = self._scenario
        seconds = np.minimum(end, scenario.end) - np.maximum(start, scenario.warm_up)
        of += np.bincount(runs, weights=np.maximum(seconds, 0.0), minlength=self.runs)

    def window(self, time: float) -> tuple[Ints, Ints]:
        """(live, abandoned) per row in the window that applies at `time`."""
        if time < self._scenario.warm_up:
            return self.since_start[0], self.since_start[1]
        abandoned = self._counts["abandoned"]
        return self._counts["connected"] + abandoned, abandoned

    def results(self, seeds: tuple[int, ...], left_over: Ints, finished: Floats) -> Results:
        """All of it, by run."""
        shape = (self.runs, len(self._scenario.campaigns))
        halves = (len(self._live), *shape)
        counts = {name: count.reshape(shape) for name, count in self._counts.items()}
        return Results(
            scenario=self._scenario,
            seeds=seeds,
            talk=self.talk,
            wrap=self.wrap,
            ready=self.ready,
            waited=self.waited,
            live_by_half_hour=np.moveaxis(self._live.reshape(halves), 0, 2),
            abandoned_by_half_hour=np.moveaxis(self._abandoned.reshape(halves), 0, 2),
            left_over=left_over.reshape(shape),
            finished=finished.reshape(shape),
            **counts,
        )
