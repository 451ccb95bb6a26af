"""The policy to beat: as many calls as the marginal expected abandon per answer allows, with a
budget that needs no model (pacing.md of the project; after Samuelson 1999 and Korolik et al.).

J(k) is the expected number of abandoned people among those who ring now and k more calls. Calls are
placed while J(k + 1) - J(k) is at most theta times the chance of an answer; theta moves with every
live answer: log theta += eta * (target * live - abandoned).

Ring, talk and wrap-up times are given in advance, as shapes; the share of answers and the mean talk
are measured from calls that are over, as dialers do. A baseline: what it lacks is what an engine
can win (a cold start counts only finished calls, of which too few are answers).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pacing.decision import Decision
from pacing.seen import Kind, Seen
from pacing.simulator import odds
from pacing.simulator.baselines import Rows, placing
from pacing.simulator.scenario import Campaign
from pacing.state import Floats, Ints, PacingInput

_P_STEP, _TALK_STEP = 1.10, 1.25  # levels that tables are made for
_MEMORY = 400.0  # finished calls, and talks, that the measured figures look back on


@dataclass(slots=True)
class Marginal:
    """`campaign`: shapes, and what is believed before the first call is over. `known`: the true
    share of answers is told, not measured."""

    campaign: Campaign = field(default_factory=Campaign)
    target: float = 0.03
    eta: float = 0.05
    theta: float = 0.03  # to begin with
    known: bool = False
    believed: float = 4.0  # finished calls that the first belief about p weighs
    _log_theta: Floats = field(init=False)
    _finished: Floats = field(init=False)
    _landed: Floats = field(init=False)
    _talks: Floats = field(init=False)
    _talked: Floats = field(init=False)
    _tables: _Tables | None = field(init=False, default=None)
    _rows: Rows = field(init=False, default_factory=Rows)

    def decide(self, given: PacingInput, seen: Seen) -> Decision:
        if self._tables is None:
            self._begin(given)
        self._learn(given, seen)
        agents = given.agents_free + given.agents_busy
        tables = self._tables
        if tables is None or int(agents.max(initial=0)) > tables.agents:
            tables = self._tables = _Tables(self.campaign, int(agents.max(initial=1)))
        p = np.clip(self._landed / self._finished, 0.01, 0.95)
        talk = self._talked / self._talks
        marginal = tables.marginal(given, p, talk)
        above = marginal > np.exp(self._log_theta)[:, None]
        calls = np.where(above.any(axis=1), np.argmax(above, axis=1), marginal.shape[1])
        return placing(given, np.where(agents > 0, calls, 0))

    def _begin(self, given: PacingInput) -> None:
        n = given.rows
        p, talk = self.campaign.p, self.campaign.talk
        self._log_theta = np.full(n, np.log(self.theta))
        self._finished = np.full(n, self.believed)
        self._landed = self._finished * _first(p)
        self._talks = np.full(n, self.believed)
        self._talked = self._talks * _first(talk)

    def _learn(self, given: PacingInput, seen: Seen) -> None:
        counts = self._rows.count(given, seen)
        live = counts[Kind.CONNECTED] + counts[Kind.ABANDONED]
        self._log_theta += self.eta * (self.target * live - counts[Kind.ABANDONED])
        np.clip(self._log_theta, np.log(1e-4), 0.0, out=self._log_theta)
        ended = seen.kind == Kind.TALK_ENDED
        row = self._rows.of(given, seen)[ended]
        self._talks += counts[Kind.TALK_ENDED]
        self._talked += np.bincount(row, weights=seen.seconds[ended], minlength=given.rows)
        forget = np.minimum(_MEMORY / self._talks, 1.0)
        self._talks *= forget
        self._talked *= forget
        if self.known:
            return
        landed = counts[Kind.PERSON]
        self._finished += landed + counts[[Kind.MACHINE, Kind.FAILED, Kind.RANG_OUT]].sum(axis=0)
        self._landed += landed
        forget = np.minimum(_MEMORY / self._finished, 1.0)
        self._finished *= forget
        self._landed *= forget


def _first(value: object) -> float:
    points = getattr(value, "points", None)
    return float(points[0][1]) if points else float(value)  # type: ignore[arg-type]


class _Tables:
    """J for pools of up to `agents`; tables are made when a level is first met."""

    def __init__(self, campaign: Campaign, agents: int) -> None:
        machines = campaign.machines
        analysis = machines.analysis if machines else None
        self.agents, self._campaign = agents, campaign
        self._delay = analysis.delay.mean if analysis else 0.0
        self._people = (
            (1 - machines.share) * (1 - analysis.person_missed)
            + machines.share * analysis.machine_missed
            if machines and analysis
            else 1.0
        )
        self._grid = odds.grid(agents, campaign.timeout + self._delay)
        self.most = max(12, agents)  # calls per decision
        self._answers = max(8, int(agents * 0.6))
        self._ringing: dict[int, tuple[odds.Ringing, odds.Waves, odds.Waves]] = {}
        self._talk_ages = np.concatenate(([0.0, 2.0], np.geomspace(4.0, 3600.0, 40)))
        self._wrap_ages = np.concatenate(([0.0, 2.0], np.geomspace(4.0, 300.0, 16)))
        self._talking: dict[int, odds.Waves] = {}
        self._wrapping = odds.wrapping(campaign, self._wrap_ages, self._grid)
        self._analysing = odds.analysing(self._people, self._grid)

    def marginal(self, given: PacingInput, p: Floats, talk: Floats) -> Floats:
        """(rows, most): abandons per answer that the next call, the one after it ... brings."""
        n, places = given.rows, self._grid
        oldest = int(self._campaign.timeout)
        rings = _ages(given.ringing.row, np.minimum(given.ringing.seconds, oldest), n, oldest + 1)
        talks = _binned(given.talking.row, given.talking.seconds, n, self._talk_ages)
        wraps = _binned(given.wrapping.row, given.wrapping.seconds, n, self._wrap_ages)
        level = np.rint(np.log(p) / np.log(_P_STEP)).astype(np.int64)
        length = np.rint(np.log(talk) / np.log(_TALK_STEP)).astype(np.int64)
        analysing = given.analysing.astype(np.float32)[:, None]
        logs = wraps @ self._wrapping + analysing @ self._analysing[0]
        landing = analysing @ self._analysing[1]
        for each in np.unique(length).tolist():
            mine = length == each
            logs[mine] += talks[mine] @ self._talk_table(each)
        levels = np.unique(level).tolist()
        for each in levels:
            mine = level == each
            logs[mine] += rings[mine] @ self._ring_table(each)[0].logs
            landing[mine] += rings[mine] @ self._ring_table(each)[0].landing
        cells, waves = len(places.middles), places.size // 2 + 1
        size, turn = np.exp(logs[:, ::2]), logs[:, 1::2]  # quicker than exp of complex numbers
        whole = np.empty((n, cells, waves), dtype=np.complex64)
        whole.real = (size * np.cos(turn)).reshape(whole.shape)
        whole.imag = (size * np.sin(turn)).reshape(whole.shape)
        lands = landing.view(np.complex64).reshape(n, cells, waves) * whole
        agents = given.agents_free + given.agents_busy - given.waiting
        full = self._tails(whole, agents)
        others = self._tails(lands, agents)
        expected = np.zeros((n, self.most + 1))
        for each in levels:
            mine = level == each
            _, of_others, of_own = self._ring_table(each)
            expected[mine] = others[mine] @ of_others + full[mine] @ of_own
        return np.asarray(np.diff(expected, axis=1) / _P_STEP ** level[:, None])

    def _tails(self, waves: NDArray[np.complex64], agents: Ints) -> Floats:
        """P(X >= agents - m) for m = 0.. new answers: (rows, cells * answers)."""
        size = self._grid.size
        mass = np.fft.irfft(waves, n=size, axis=2)
        tails = np.cumsum(mass[:, :, ::-1], axis=2)[:, :, ::-1]
        at = np.clip(agents[:, None] - np.arange(self._answers), 0, size - 1)
        return np.take_along_axis(tails, at[:, None, :], axis=2).reshape(len(agents), -1)

    def _ring_table(self, level: int) -> tuple[odds.Ringing, odds.Waves, odds.Waves]:
        if level not in self._ringing:
            p = min(_P_STEP**level, 0.95)
            made = odds.Ringing(self._campaign, p, self._grid, self._delay, self._people)
            self._ringing[level] = (made, *odds.choices(made, self.most, self._answers))
        return self._ringing[level]

    def _talk_table(self, level: int) -> odds.Waves:
        if level not in self._talking:
            mean = _TALK_STEP**level
            self._talking[level] = odds.talking(self._campaign, mean, self._talk_ages, self._grid)
        return self._talking[level]


def _ages(row: Ints, age: Floats, rows: int, ages: int) -> NDArray[np.float32]:
    at = row * ages + (age + 1e-6).astype(np.int64)
    counts = np.bincount(at, minlength=rows * ages)
    return counts.reshape(rows, ages).astype(np.float32)


def _binned(row: Ints, age: Floats, rows: int, ages: Floats) -> NDArray[np.float32]:
    return _ages(
        row, (np.searchsorted(ages, age, side="right") - 1).astype(np.float64), rows, len(ages)
    )
