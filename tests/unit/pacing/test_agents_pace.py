"""Agents' own pace: who is quick and who is slow, and what that says of when they get free."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacing.engine import Engine
from pacing.learning.pace import USUAL, Pace
from pacing.learning.prior import lognormal_hazard
from pacing.learning.service import Hazard
from pacing.seen import Kind, Seen
from pacing.state import Ragged
from tests.unit.pacing.test_engine import rows

pytestmark = pytest.mark.unit


@settings(max_examples=30, deadline=None)
@given(st.floats(0.5, 2.0), st.integers(0, 400))
def test_a_pace_lies_between_the_usual_and_what_was_seen(factor: float, n: int) -> None:
    pace = Pace()
    pace.note(np.zeros(n, dtype=np.int64), np.full(n, 1 / factor))
    if not n:
        assert pace.classes(np.array([0, -1, 7])).tolist() == [USUAL] * 3
        return
    assert min(factor, 1.0) - 1e-9 <= pace.pace(np.array([0]))[0] <= max(factor, 1.0) + 1e-9
    if n > 200:
        assert pace.pace(np.array([0]))[0] == pytest.approx(factor, rel=0.25)


def test_agents_are_told_apart_in_three_classes() -> None:
    pace = Pace()
    for agent, factor in ((0, 0.5), (1, 1.0), (2, 2.0), (4, 1.0)):
        pace.note(np.full(200, agent), np.full(200, 1 / factor))
    assert pace.classes(np.array([0, 1, 2, 3, 4, -1, 99])).tolist() == [0, 1, 2, 1, 1, 1, 1]
    pace.note(np.array([-1, -2]), np.ones(2))  # nobody's


def test_hazards_summed_are_one_event_on_average() -> None:
    """Whatever lasts by a hazard has gone through one event's worth when it ends."""
    edges = np.array([0.0, 5.0, 20.0, 60.0, 3600.0])
    hazard = Hazard(edges, lognormal_hazard(edges, mean=30.0, cv=0.7))
    hazard.grow(1)
    rng = np.random.default_rng(3)
    seconds = rng.exponential(1.0, 20_000)  # of unit hazard, turned into ages
    upto = np.concatenate([[0.0], np.cumsum(hazard.rate[0] * hazard.widths)])
    ages = np.interp(seconds, upto, edges)
    passed = hazard.passed(np.zeros(len(ages), dtype=np.int64), ages)
    assert passed.mean() == pytest.approx(1.0, abs=0.03)


def free_soon(slow: bool) -> float:
    """Of eight agents after many talks half as long, or twice, as those of eight others."""
    engine, rng = Engine(), np.random.default_rng(6)
    agents = np.tile(np.arange(16), 40)
    talks = rng.lognormal(4.0, 0.6, len(agents)) * np.where((agents < 8) == slow, 2.0, 0.5)
    talking = Ragged(np.zeros(8, dtype=np.int64), np.linspace(20, 60, 8))
    forecast = None
    for part in np.array_split(np.arange(len(agents)), 40):
        seen = Seen(
            kind=np.full(len(part), int(Kind.TALK_ENDED)), slot=np.zeros(len(part), dtype=np.int64),
            seconds=talks[part], agent=agents[part],
        )  # fmt: skip
        given_ = rows(1, talking=talking, talking_agent=np.arange(8))
        forecast = engine.decide(given_, seen).forecast
    assert forecast is not None
    return float(forecast.free[0])


def test_the_records_tell_who_is_quick() -> None:
    rng = np.random.default_rng(2)
    agents = np.tile(np.arange(4), 100)
    engine = Engine()
    engine.learn(
        Seen(
            kind=np.full(400, int(Kind.TALK_ENDED)), slot=np.zeros(400, dtype=np.int64),
            seconds=rng.lognormal(4.0, 0.5, 400) * np.array([0.4, 1.0, 1.0, 2.2])[agents],
            agent=agents,
        )
    )  # fmt: skip
    assert engine.brain.pace.classes(np.arange(4)).tolist()[::3] == [2, 0]
    assert engine.brain.service.classes == 3


def test_quick_agents_are_expected_back_sooner() -> None:
    assert free_soon(slow=False) > 1.5 * free_soon(slow=True)
