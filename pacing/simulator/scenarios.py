"""Centres by name: the common cells, the hard ones an engine has to pass, and others to hold out.

Figures that are nobody's law are typical of consumer calling; each scenario says in `notes` what it
is there for.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np

from pacing.simulator.scenario import (
    Analysis,
    Campaign,
    Cell,
    Curve,
    Machines,
    Retries,
    Scenario,
    Signals,
    Spread,
)

HOUR = 3600.0
CANCEL_AFTER = 15.0  # s: the legal minimum ring where there is one
LONG = 24 * HOUR
CELLS = (1, 2, 3, 5, 10, 20, 50, 100)  # agents


def common(agents: int, *, cancel: bool = False, long: bool = False) -> Scenario:
    """The parameters that published figures are for: 4 hours, or a day whose window rolls on."""
    campaign = Campaign(cancel_after=CANCEL_AFTER if cancel else inf)
    name = f"common {agents}" + (" cancel" if cancel else "") + (" long" if long else "")
    return Scenario(
        name=name,
        agents=agents,
        campaigns=(campaign,),
        duration=LONG if long else 4 * HOUR,
        endless=long,
    )


def common_with_signals(agents: int, *, cancel: bool = False) -> Scenario:
    """The same calls, and a network that says what it knows."""
    plain = common(agents, cancel=cancel)
    campaign = replace(plain.campaigns[0], signals=Signals())
    return replace(plain, name=plain.name + " signals", campaigns=(campaign,))


def cold(p: float, agents: int = 20) -> Scenario:
    """The first half hour of a new campaign: nothing is known, everything counts."""
    return Scenario(
        name=f"cold start {p:.2f}" + ("" if agents == 20 else f" {agents}"),
        agents=agents,
        campaigns=(Campaign(p=p),),
        warm_up=0.0,
        duration=1800.0,
        notes="no history: the answer share, the ring times, the talk times",
    )


def _with(name: str, notes: str = "", *, agents: int = 20, **changes: object) -> Scenario:
    """The common centre with other calls (fields of Campaign) or another house (of Scenario)."""
    calls = {k: v for k, v in changes.items() if k in Campaign.__dataclass_fields__}
    house = {k: v for k, v in changes.items() if k not in calls}
    campaign = Campaign(**calls)  # type: ignore[arg-type]
    return Scenario(name=name, agents=agents, campaigns=(campaign,), notes=notes, **house)  # type: ignore[arg-type]


def _steps(*points: tuple[float, float]) -> Curve:
    """Hours after the warm-up, values."""
    return Curve(tuple((900.0 + h * HOUR if h else 0.0, v) for h, v in points))


def _spikes(base: float, peak: float, *, every: float, length: float) -> Curve:
    """s: a peak of `length` every `every`, from the end of the warm-up on."""
    points = [(0.0, base)]
    for number in range(int(5 * HOUR / every)):
        start = 900.0 + every / 2 + number * every
        points += [(start, peak), (start + length, base)]
    return Curve(tuple(points))


def _by_turns(first: float, then: float, *, every: float = 1200.0) -> Curve:
    """s: one value, then the other, over and over."""
    times = np.arange(0.0, 5 * HOUR, every).tolist()
    return Curve(tuple((t, then if i % 2 else first) for i, t in enumerate(times)))


_SLOW = Machines(0.35, Analysis(Spread(3.0, 0.5), person_missed=0.05, machine_missed=0.10))
_JUMP = _steps((0, 0.15), (1.25, 0.45), (2.75, 0.15))

HARD: dict[str, Scenario] = {
    s.name: s
    for s in (
        _with("answer rate jumps", "0.15 to 0.45 and back", p=_JUMP),
        _with(
            "answer rate spikes",
            "three times as many answers for two minutes, every twenty",
            p=_spikes(0.20, 0.60, every=1200.0, length=120.0),
        ),
        _with(
            "half leave at once",
            "at two hours, after their call; back an hour later",
            agents=40,
            roster=_steps((0, 40), (2, 20), (3, 40)),
        ),
        _with("talk changes", "120 to 45 to 200 s", talk=_steps((0, 120), (1.25, 45), (2.75, 200))),
        cold(0.30),
        cold(0.10),
        _with("list runs out", "about three hours' worth of leads", leads=4800.0),
        _with("trunk cap", "fewer lines than the agents could use", lines=24.0),
        _with("rate cap", "fewer calls per second than the agents could use", calls_per_second=0.4),
        _with("slow analysis", "3 s, wrong both ways", p=0.40, machines=_SLOW),
        _with("talk 400 s", talk=400.0),
        _with("talk 30 s", talk=30.0),
        Scenario(
            name="all at once",
            agents=40,
            campaigns=(
                Campaign(
                    p=_steps((0, 0.2), (1, 0.5), (2, 0.25), (3, 0.4)),
                    talk=_steps((0, 120), (1.5, 45), (2.5, 200)),
                    patience=8.0,
                    signals=Signals(),
                    machines=_SLOW,
                ),
            ),
            roster=_steps((0, 40), (1.75, 20), (2.75, 40)),
            pace_cv=0.2,
            shock=0.15,
            lines=60.0,
            calls_per_second=2.5,
            notes="all of the above within four hours",
        ),
    )
}

LONG_TALK = replace(
    HARD["talk 400 s"], name="talk 400 s long", duration=LONG, endless=True,
    notes="slow learning of what a call costs: at least 2.4 % of the budget has to be spent",
)  # fmt: skip

WIDER: dict[str, Scenario] = {
    s.name: s
    for s in (
        _with(
            "two lists",
            "a list that answers half as often, in turn with the first, every 30 min",
            p=0.4,
            lists=tuple(
                (900.0 + 1800.0 * i if i else 0.0, 0.5 if i % 2 else 1.0) for i in range(9)
            ),
        ),
        _with(
            "lists in turn",
            "of one campaign, which is told: one answers 0.4 times as often, every 20 min",
            cells=(Cell(1.0, _by_turns(1.0, 0.0)), Cell(0.4, _by_turns(0.0, 1.0))),
            tells=("cells",),
        ),
        _with("lists mixed", cells=(Cell(1.7), Cell(1.0), Cell(0.3)), tells=("cells",)),
        _with(
            "two routes", "one rings 7 s longer", cells=(Cell(), Cell(later=7.0)), tells=("cells",)
        ),
        _with("hours", "as on other days", hours=(1.0, 1.6, 0.8, 1.3), tells=("hours",)),
        _with("agents differ and are known", pace_cv=0.4, tells=("agents",)),
        _with("signals", "180, 183 and announcements", signals=Signals()),
        _with("callers hang up", "after 3 s on average", patience=3.0, window=4.0),
        _with("agents differ", pace_cv=0.4),
        _with("correlated answers", "a common factor, new every minute", shock=0.35),
        _with(
            "retries",
            "those who were not reached come back, answering less",
            leads=4200.0,
            retries=Retries(after=1200.0, most=3, factor=0.7),
        ),
        _with("breaks in turn", agents=30, breaks=((900 + 1.5 * HOUR, 900.0, 5),)),
        _with("break together", "20 minutes", agents=30, breaks=((900 + 2 * HOUR, 1200.0, 1),)),
        _with(
            "morning",
            "from 4 agents to 30 within an hour",
            agents=30,
            roster=Curve(((0.0, 4.0), (3600.0, 30.0)), straight=True),
            warm_up=0.0,
        ),
        _with("few answers", p=0.06, agents=30),
        _with("many answers", p=0.65, busy=0.1),
        _with("quick answers", ring=Spread(6.0, 0.5)),
        _with("slow route", ring=Spread(17.0, 0.4), timeout=40.0),
        _with("answers fade", p=Curve(((0.0, 0.45), (15300.0, 0.15)), straight=True)),
        _with("machines heard", "no analysis: agents hear them", machines=Machines(0.3)),
        _with("machines told quickly", p=0.5, machines=Machines(0.5, Analysis(Spread(0.8, 0.3)))),
        Scenario(
            name="blended",
            agents=30,
            campaigns=(Campaign(), Campaign(p=0.15, talk=200.0)),
            skills=((0.4, (0,)), (0.3, (1,)), (0.3, (0, 1))),
            notes="two campaigns; some agents serve both",
        ),
    )
}

EVERY: dict[str, Scenario] = {**HARD, LONG_TALK.name: LONG_TALK, **WIDER}
