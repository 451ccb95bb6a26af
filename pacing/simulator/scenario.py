"""What is simulated, as data: one centre, its campaigns, its people and its network.

Everything is seconds and shares. A value that changes during the run is a `Curve`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

import numpy as np

from pacing.state import Floats


@dataclass(frozen=True, slots=True)
class Curve:
    """A value over time: `points` are (s since the start, value), in order; the first holds before
    it, the last for ever. Steps, or straight lines between the points."""

    points: tuple[tuple[float, float], ...]
    straight: bool = False

    def __post_init__(self) -> None:
        times = [t for t, _ in self.points]
        if not times or times != sorted(times):
            raise ValueError(f"expected points in order of time, got {self.points}")

    def at(self, times: Floats) -> Floats:
        """The value at each of `times`."""
        when = np.array([t for t, _ in self.points])
        values = np.array([v for _, v in self.points])
        if self.straight:
            return np.asarray(np.interp(times, when, values))
        return np.asarray(values[np.maximum(np.searchsorted(when, times, side="right") - 1, 0)])


def at(value: float | Curve, times: Floats) -> Floats:
    """A value or curve at each of `times`."""
    return value.at(times) if isinstance(value, Curve) else np.full(len(times), float(value))


@dataclass(frozen=True, slots=True)
class Spread:
    """A lognormal time: mean s, cv standard deviation over mean."""

    mean: float
    cv: float

    def __post_init__(self) -> None:
        if not (self.mean > 0 and self.cv >= 0):
            raise ValueError(f"expected mean > 0 and cv >= 0, got {self.mean}, {self.cv}")

    @property
    def log(self) -> tuple[float, float]:
        """Mean and standard deviation of the logarithm."""
        variance = float(np.log1p(self.cv**2))
        return float(np.log(self.mean)) - variance / 2, variance**0.5


@dataclass(frozen=True, slots=True)
class Signals:
    """What the network says while it rings. 100 comes at once; then 180 (`ringing` after dial), for
    `ringback` of the calls that ring as early media instead (183 with a ring tone). Busies come
    before either. `announced` of the calls that nobody answers get an announcement as early media
    instead of ringing, after `announcement`; `silent` of them get no signal after 100. Who answers
    has rung at least once: the signal comes within `latest` of their ring time.
    """

    ringing: Spread = Spread(2.5, 0.4)
    ringback: float = 0.1
    announced: float = 0.2
    announcement: Spread = Spread(2.5, 0.4)
    silent: float = 0.05
    latest: float = 0.9


@dataclass(frozen=True, slots=True)
class Analysis:
    """Telling people from machines after the answer: how long it takes, how often it is wrong."""

    delay: Spread = Spread(1.2, 0.5)
    person_missed: float = 0.0  # share of people taken for a machine, and hung up on
    machine_missed: float = 0.0  # share of machines taken for a person, and given to an agent


@dataclass(frozen=True, slots=True)
class Machines:
    """Machines that answer. Without `analysis` an agent hears each of them."""

    share: float  # of the answers
    analysis: Analysis | None = None
    talk: Spread = Spread(8.0, 0.4)  # until the agent has noticed and hung up


@dataclass(frozen=True, slots=True)
class Retries:
    """Leads that were not reached come back `after` s, `most` times, with p times `factor`."""

    after: float
    most: int = 2
    factor: float = 0.8


@dataclass(frozen=True, slots=True)
class Cell:
    """A list over a route: what `share` of the leads dialed come from it (beside those of the
    campaign's other cells), how much better than `p` they answer, how much later it rings (s)."""

    factor: float = 1.0
    share: float | Curve = 1.0
    later: float = 0.0


@dataclass(frozen=True, slots=True)
class Campaign:
    """Calls of one campaign. `p` is the share of calls truly answered before the timeout."""

    p: float | Curve = 0.30
    busy: float = 0.05  # share of calls that fail at once
    failing: Spread = Spread(4.0, 0.5)  # dial to failure
    ring: Spread = Spread(12.0, 0.5)  # dial to answer, of the answers before the timeout
    timeout: float = 25.0
    talk: float | Curve = 120.0  # mean
    talk_cv: float = 1.0
    wrap: Spread = Spread(15.0, 0.5)
    window: float = 2.0  # an answered person waits so long for an agent, then is abandoned
    patience: float = inf  # mean s after which a waiting person hangs up
    cancel_after: float = inf  # s a call must have rung before it may be given up
    leads: float = inf
    lists: tuple[
        tuple[float, float], ...
    ] = ()  # (s since the start, p times this): a new slot each
    cells: tuple[Cell, ...] = ()  # all of one slot
    hours: tuple[float, ...] = ()  # p times this in each hour after the warm-up; the last stays
    signals: Signals | None = None
    machines: Machines | None = None
    retries: Retries | None = None

    @property
    def p_now(self) -> float:
        """`p` at the start of the run."""
        return float(at(self.p, np.zeros(1))[0])

    @property
    def talk_now(self) -> float:
        """`talk` at the start of the run, s."""
        return float(at(self.talk, np.zeros(1))[0])


@dataclass(frozen=True, slots=True)
class Scenario:
    """A centre whose agents serve all `campaigns`, or some of them (`skills`)."""

    name: str = "common"
    agents: int = 20
    campaigns: tuple[Campaign, ...] = (Campaign(),)
    skills: tuple[tuple[float, tuple[int, ...]], ...] = ()  # (share of the agents, campaigns)
    roster: Curve | None = None  # agents present; the last ones leave first, after their call
    breaks: tuple[tuple[float, float, int], ...] = ()  # (from, length, groups, one after the other)
    pace_cv: float = 0.0  # of agents' own factor on talk and wrap-up
    shock: float = 0.0  # sd of the logarithm of a factor on p, drawn anew every minute
    lines: float = inf
    calls_per_second: float = inf
    tick: float = 1.0
    warm_up: float = 900.0  # not counted
    duration: float = 14_400.0  # counted, after the warm-up
    cap: float = 0.03  # share of live answers that may be abandoned
    endless: bool = False  # the abandon window does not close with the run
    tells: tuple[str, ...] = ()  # what the policy is told besides: "cells", "agents", "hours"
    notes: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if unknown := set(self.tells) - {"cells", "agents", "hours"}:
            raise ValueError(f"expected cells, agents or hours, got {sorted(unknown)}")
        if any(c.lists and c.cells for c in self.campaigns):
            raise ValueError("expected lists (a slot each) or cells (of one slot), got both")
        if self.agents < 1 or not self.campaigns:
            raise ValueError(f"expected agents and campaigns, got {self.agents}")
        if self.tick <= 0 or self.warm_up < 0 or self.duration <= 0:
            raise ValueError("expected tick and duration above 0, warm_up not below")

    @property
    def ticks(self) -> Floats:
        """s of each tick, and of one after the last."""
        return np.arange(round(self.end / self.tick) + 2).astype(np.float64) * self.tick

    @property
    def end(self) -> float:
        """s from the start to the end of what is counted."""
        return self.warm_up + self.duration
