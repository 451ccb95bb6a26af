"""What a centre does besides calling: limits, breaks, signals, machines, lists, any mix of it."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacing.decision import Decision
from pacing.engine import Engine
from pacing.seen import Kind, Seen
from pacing.simulator import (
    Analysis,
    Campaign,
    Curve,
    Machines,
    PerFreeAgent,
    Retries,
    Scenario,
    Signals,
    Spread,
    run,
)
from pacing.simulator.roster import changes, present
from pacing.simulator.scenarios import EVERY
from pacing.state import PacingInput, Signal
from tests.unit.pacing.simulator.test_world import Recorder

pytestmark = pytest.mark.unit

SHORT = Scenario(agents=10, warm_up=0.0, duration=1200.0)


def of(**changes: object) -> Scenario:
    return replace(SHORT, campaigns=(Campaign(**changes),))  # type: ignore[arg-type]


class GivesUp:
    """Twice as many calls as free agents; gives up whatever may be given up."""

    def decide(self, given: PacingInput, seen: Seen) -> Decision:
        decision = PerFreeAgent(2.0).decide(given, seen)
        may = given.ringing.seconds >= given.cancel_after[given.ringing.row]
        return replace(decision, cancel=may)


def test_calls_given_up_never_answer() -> None:
    done = run(of(cancel_after=15.0), GivesUp(), seeds=range(3))
    assert done.cancelled.min() > 0
    assert done.rang_out.sum() == 0
    assert 0 < done.answers_lost.sum() < done.cancelled.sum()
    ended = done.failed + done.cancelled + done.connected + done.abandoned + done.left_over
    assert np.array_equal(done.placed, ended)


def test_no_call_may_be_given_up_before_its_time() -> None:
    class Hasty(GivesUp):
        def decide(self, given: PacingInput, seen: Seen) -> Decision:
            decision = super().decide(given, seen)
            return replace(decision, cancel=np.ones(len(given.ringing.row), dtype=np.bool_))

    with pytest.raises(ValueError, match="expected calls that rang"):
        run(of(cancel_after=15.0), Hasty(), seeds=[1])


def test_lines_and_rate_hold() -> None:
    policy = Recorder(PerFreeAgent(9.0))
    done = run(replace(SHORT, lines=12.0, calls_per_second=0.5), policy, seeds=range(3))
    assert done.short_of_rate.sum() > 0
    for each in policy.inputs:
        assert (each.in_flight + each.waiting <= 12).all()
    assert done.placed.max() <= 0.5 * 1200 + 1


def test_the_list_runs_out_and_waiting_ends_with_it() -> None:
    done = run(of(leads=90.0), PerFreeAgent(2.0), seeds=range(3))
    assert (done.placed == 90).all()
    assert (done.finished < 700).all()
    assert (done.ready < 10 * (done.finished[:, 0] + 30)).all()


def test_those_not_reached_come_back() -> None:
    again = of(leads=60.0, retries=Retries(after=120.0, most=2, factor=0.5))
    done = run(again, PerFreeAgent(2.0), seeds=range(3))
    once = run(of(leads=60.0), PerFreeAgent(2.0), seeds=range(3))
    assert (done.placed > 110).all()
    assert (done.placed <= 180).all()
    assert (done.connected > once.connected).all()


def test_agents_leave_after_their_call_and_come_back() -> None:
    policy = Recorder(PerFreeAgent(1.0))
    roster = Curve(((0.0, 10.0), (400.0, 5.0), (800.0, 10.0)))
    done = run(replace(SHORT, roster=roster), policy, seeds=range(3))
    there = np.array([(each.agents_free + each.agents_busy).mean() for each in policy.inputs])
    assert (there[:400] == 10).all()
    assert there[700:790].mean() == pytest.approx(5, abs=1.0)
    assert (there[802:] == 10).all()
    total = done.talk + done.wrap + done.ready
    assert (total >= 1200 * 10 - 400 * 5 - 1e-6).all()
    assert (total < 1200 * 10).all()


def test_breaks_take_turns() -> None:
    centre = replace(SHORT, breaks=((300.0, 100.0, 5),))
    assert present(centre, 299.0).all()
    away = [np.flatnonzero(~present(centre, 350.0 + 100 * turn)).tolist() for turn in range(5)]
    assert sorted(a for group in away for a in group) == list(range(10))
    moves = changes(centre)
    assert sum(comes for _, _, comes in moves) == sum(not comes for _, _, comes in moves) == 10


def test_signals_tell_who_answers() -> None:
    policy = Recorder(PerFreeAgent(3.0))
    run(of(signals=Signals(announced=0.4)), policy, seeds=range(4))
    kind = np.concatenate([seen.kind for seen in policy.seen])
    signal = np.concatenate([seen.signal for seen in policy.seen])
    answered, failed = signal[kind == Kind.ANSWERED], signal[kind == Kind.FAILED]
    rang_out = signal[kind == Kind.RANG_OUT]
    assert (answered >= Signal.RINGING).all()
    assert (failed == Signal.TRYING).all()
    media = Signal.EARLY_MEDIA
    assert (rang_out == media).mean() > 3 * (answered == media).mean()
    assert (kind == Kind.PROGRESS).sum() > (kind == Kind.PLACED).sum()


def test_analysis_takes_its_time_and_errs() -> None:
    machines = Machines(0.5, Analysis(Spread(3.0, 0.2), person_missed=0.2, machine_missed=0.2))
    policy = Recorder(PerFreeAgent(3.0))
    done = run(of(machines=machines, p=0.6), policy, seeds=range(4))
    assert done.people_missed.sum() / done.answered.sum() == pytest.approx(0.1, abs=0.03)
    assert done.machines_missed.sum() / done.answered.sum() == pytest.approx(0.1, abs=0.03)
    assert max(int(each.analysing.max()) for each in policy.inputs) > 0
    lost = done.machines + done.connected + done.abandoned + done.gave_up
    assert (done.answered - lost >= 0).all()


def test_people_hang_up_while_they_wait() -> None:
    done = run(of(patience=1.0, p=0.8), PerFreeAgent(4.0), seeds=range(3))
    assert done.gave_up.sum() > done.abandoned.sum() > 0


def test_each_list_has_a_slot_and_its_own_answers() -> None:
    policy = Recorder(PerFreeAgent(2.0))
    run(of(p=0.5, lists=((0.0, 1.0), (600.0, 0.2))), policy, seeds=range(4))
    kind = np.concatenate([seen.kind for seen in policy.seen])
    slot = np.concatenate([seen.slot for seen in policy.seen])
    assert set(slot.tolist()) == set(range(8))
    assert policy.inputs[0].slot.tolist() == [0, 2, 4, 6]
    assert policy.inputs[-1].slot.tolist() == [1, 3, 5, 7]
    first, second = (
        (kind[slot % 2 == which] == Kind.ANSWERED).sum()
        / (kind[slot % 2 == which] == Kind.PLACED).sum()
        for which in (0, 1)
    )
    assert first == pytest.approx(0.5, abs=0.06)
    assert second == pytest.approx(0.1, abs=0.06)
    # Talks belong to the list that the call was placed from, also those that end after it.
    for each in (0, 1):
        met, ended = (
            ((kind == k) & (slot % 2 == each)).sum() for k in (Kind.CONNECTED, Kind.TALK_ENDED)
        )
        assert 0 <= met - ended <= 40


def test_every_named_scenario_has_its_own_name() -> None:
    assert all(name == scenario.name for name, scenario in EVERY.items())


spreads = st.builds(Spread, st.floats(0.2, 60.0), st.floats(0.0, 2.0))
machines = st.builds(
    Machines,
    st.floats(0.0, 1.0),
    st.none() | st.builds(Analysis, spreads, st.floats(0.0, 1.0), st.floats(0.0, 1.0)),
    spreads,
)
campaigns = st.builds(
    Campaign,
    p=st.floats(0.0, 1.0),
    busy=st.floats(0.0, 0.9),
    failing=spreads,
    ring=spreads,
    timeout=st.floats(1.0, 60.0),
    talk=st.floats(0.5, 500.0),
    wrap=spreads,
    window=st.floats(0.0, 6.0),
    patience=st.just(inf) | st.floats(0.5, 20.0),
    leads=st.just(inf) | st.integers(0, 200).map(float),
    lists=st.just(()) | st.just(((0.0, 1.0), (30.0, 0.5))),
    signals=st.none() | st.just(Signals()),
    machines=st.none() | machines,
    retries=st.none() | st.builds(Retries, st.floats(0.0, 60.0), st.integers(1, 3)),
)


@settings(max_examples=25, deadline=None)
@given(
    centre=st.builds(
        Scenario,
        agents=st.integers(1, 12),
        campaigns=st.lists(campaigns, min_size=1, max_size=3).map(tuple),
        roster=st.none() | st.just(Curve(((0.0, 12.0), (40.0, 0.0), (80.0, 6.0)))),
        breaks=st.just(()) | st.just(((20.0, 15.0, 3),)),
        pace_cv=st.floats(0.0, 1.0),
        shock=st.floats(0.0, 1.0),
        lines=st.just(inf) | st.floats(0.0, 20.0),
        calls_per_second=st.just(inf) | st.floats(0.0, 5.0),
        tick=st.sampled_from([0.5, 1.0, 2.5]),
        warm_up=st.sampled_from([0.0, 30.0]),
        duration=st.just(120.0),
    ),
    ratio=st.floats(0.0, 8.0),
)
def test_any_centre_runs_and_loses_nothing(centre: Scenario, ratio: float) -> None:
    policy = Recorder(PerFreeAgent(ratio))
    run(centre, policy, seeds=[1, 2])
    for each in policy.inputs:
        for name in ("agents_free", "agents_busy", "in_flight", "analysing", "waiting", "leads"):
            assert (getattr(each, name) >= 0).all(), name
        for ages in (each.ringing, each.talking, each.wrapping, each.analysing_since):
            assert (ages.seconds >= 0).all()
        there = each.agents_free + each.agents_busy
        assert there.reshape(2, -1).sum(axis=1).max() <= centre.agents
        assert (each.ringing.seconds < each.ring_timeout[each.ringing.row]).all()
    whole = run(replace(centre, warm_up=0.0), PerFreeAgent(ratio), seeds=[1, 2])
    ends = whole.failed + whole.rang_out + whole.machines + whole.connected
    ends = ends + whole.abandoned + whole.gave_up + whole.left_over
    assert np.array_equal(whole.placed, ends)
    assert (whole.abandoned <= whole.live).all()


def test_the_engine_hears_what_the_network_says() -> None:
    """Each call that begins to ring is seen to, so that hazards after 180 have their exposure."""
    engine = Engine()
    result = run(replace(of(signals=Signals()), duration=300.0), engine, seeds=range(2))
    ring = engine.brain.ring
    assert ring.counts.entered[:, 1].sum() > 0.4 * result.placed.sum()
    assert ring.counts.entered[:, 2].sum() > 0
