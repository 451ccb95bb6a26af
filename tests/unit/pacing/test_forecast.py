"""Forecasts: the same futures under each setting, from how things are, with what was seen."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacing.seen import Kind, Seen
from pacing.simulator.fit import fit
from pacing.simulator.forecast import FIGURES, Setting, difference, forecast, future
from pacing.simulator.scenario import Campaign, Scenario, Signals, Spread
from pacing.simulator.start import Start, begin
from pacing.simulator.world import World
from pacing.state import Mode, Signal

pytestmark = pytest.mark.unit


def past(calls: int, *, p: float, seed: int = 1, give_up: float = inf) -> Seen:
    """What a campaign's records say; calls are given up at `give_up` s."""
    rng = np.random.default_rng(seed)
    events: list[tuple[int, float]] = []
    for _ in range(calls):
        luck, ring = rng.random(), min(float(rng.lognormal(2.37, 0.47)), 24.9)
        kind, ends = (Kind.ANSWERED, ring) if luck < p else (Kind.RANG_OUT, 25.0)
        if luck > 0.95:
            kind, ends = Kind.FAILED, 4.0
        if ends > give_up:
            kind, ends = Kind.CANCELLED, give_up
        events.append((kind, ends))
        if kind is Kind.ANSWERED:
            events += [(Kind.PERSON, 0.0), (Kind.TALK_ENDED, float(rng.lognormal(3.8, 0.8)))]
            events.append((Kind.WRAP_ENDED, float(rng.lognormal(2.0, 0.5))))
    kinds, seconds = zip(*events, strict=True)
    return Seen(
        kind=np.array(kinds, dtype=np.int64),
        slot=np.zeros(len(kinds), dtype=np.int64),
        seconds=np.array(seconds),
    )


@pytest.mark.parametrize("give_up", [inf, 15.0])
def test_parameters_come_back_also_when_calls_are_given_up(give_up: float) -> None:
    found = fit(past(4000, p=0.25, give_up=give_up), timeout=25.0)
    # Who would have answered after 15 s is not seen any more; the others are counted right.
    expected = 0.25 if give_up == inf else 0.25 * 0.78
    assert found.p_now == pytest.approx(expected, abs=0.02)
    assert found.busy == pytest.approx(0.05, abs=0.01)
    assert found.talk_now == pytest.approx(np.exp(3.8 + 0.32), rel=0.1)
    assert found.wrap.mean == pytest.approx(np.exp(2.0 + 0.125), rel=0.1)
    assert found.machines is None


@given(
    ringing=st.floats(0.1, 5.0), media=st.integers(0, 60), silent=st.integers(0, 60),
    answered=st.integers(0, 200),
)  # fmt: skip
def test_what_the_network_said_comes_back(
    ringing: float, media: int, silent: int, answered: int
) -> None:
    """A hundred calls rang in vain, some as early media; of some more nothing was heard."""
    heard = 100 + answered
    kinds = [int(Kind.PROGRESS)] * heard + [int(Kind.ANSWERED)] * answered
    kinds += [int(Kind.RANG_OUT)] * (100 + silent)
    became = [int(Signal.EARLY_MEDIA)] * media + [int(Signal.RINGING)] * (heard - media)
    became += [0] * (answered + 100 + silent)
    signal = [0] * heard + [int(Signal.RINGING)] * (answered + 100) + [0] * silent
    seconds = [ringing] * heard + [12.0] * answered + [25.0] * (100 + silent)
    seen = Seen(
        kind=np.array(kinds), slot=np.zeros(len(kinds), dtype=np.int64),
        seconds=np.array(seconds), signal=np.array(signal), became=np.array(became),
    )  # fmt: skip
    found = fit(seen, timeout=25.0).signals
    assert found is not None
    assert found.ringback == pytest.approx(media / heard)
    assert found.silent == pytest.approx(silent / (100 + silent))
    assert min(ringing, 2.5) <= found.ringing.mean <= max(ringing, 2.5)
    assert abs(np.log(found.ringing.mean / ringing)) < 0.11 * abs(np.log(2.5 / ringing)) + 1e-6


def test_a_network_that_says_nothing_stays_silent() -> None:
    assert fit(past(200, p=0.3), timeout=25.0).signals is None


def test_calls_that_ring_already_have_been_heard() -> None:
    campaign = Campaign(signals=Signals(ringing=Spread(2.0, 0.1), silent=0.0, announced=0.0))
    world = World(Scenario(agents=2, campaigns=(campaign,)), range(3))
    begin(world, Start(free=2, ringing=(0.1, 10.0)))
    at = world.calls.ringing
    said = world.calls.signal(at, 0.0).reshape(3, 2)
    assert (said[:, 0] == int(Signal.TRYING)).all()
    assert (said[:, 1] >= int(Signal.RINGING)).all()


def test_without_records_the_usual_centre_is_assumed() -> None:
    found, usual = fit(Seen(), timeout=25.0), Campaign()
    assert (found.p, found.busy, found.talk, found.ring) == (
        usual.p, usual.busy, usual.talk, usual.ring,
    )  # fmt: skip


@given(
    st.lists(
        st.tuples(st.sampled_from(list(Kind)), st.floats(0, 1e5, allow_nan=False)), max_size=40
    )
)
@settings(max_examples=100, deadline=None)
def test_any_records_give_parameters_that_can_be_simulated(
    events: list[tuple[Kind, float]],
) -> None:
    seen = Seen(
        kind=np.array([int(k) for k, _ in events], dtype=np.int64),
        slot=np.zeros(len(events), dtype=np.int64),
        seconds=np.array([s for _, s in events], dtype=np.float64),
    )
    found = fit(seen, timeout=25.0)
    assert 0 <= found.p_now <= 1 and found.busy >= 0 and found.p_now + found.busy <= 1
    assert found.ring.mean < 25 and found.talk_now > 0


START = Start(
    free=1, talking=tuple(range(0, 120, 8)), wrapping=(1.0, 4.0), ringing=tuple(range(0, 24, 2)),
    live=300, abandoned=6, windows=((300.0, 6.0, 0.03),),
)  # fmt: skip


def test_a_world_begins_where_the_centre_is() -> None:
    campaign = Campaign(talk=60.0, wrap=Spread(8.0, 0.5))
    world = World(Scenario(agents=START.agents, campaigns=(campaign,), warm_up=0.0), [1, 2, 1])
    begin(world, START)
    state = world.state.reshape(3, -1)
    assert [(row == s).sum() for row in state for s in (0, 1, 2)] == [1, 15, 2] * 3
    assert [len(queue) for queue in world.floor.free] == [1, 1, 1]
    at_work = world.state > 0
    assert (world.wrap_ends[at_work] > 0).all()
    assert (world.talk_ends[world.state == 1] > 0).all()
    calls = world.calls
    assert len(calls.ringing) == 3 * len(START.ringing)
    assert (calls.ends[calls.ringing] > 0).all()
    ages = sorted(-calls.placed[calls.ringing][calls.row[calls.ringing] == 0])
    assert ages == list(START.ringing)
    same = [np.sort(calls.ends[calls.ringing][calls.row[calls.ringing] == r]) for r in range(3)]
    assert (same[0] == same[2]).all() and (same[0] != same[1]).any()


def test_equal_settings_have_equal_futures_and_a_smaller_budget_less_of_everything() -> None:
    campaign = fit(past(500, p=0.3), timeout=25.0, leads=5000.0)
    wide, narrow = Setting(target_abandon=0.03), Setting(target_abandon=0.005)
    slow = Setting(mode=Mode.PROGRESSIVE)
    found = forecast(
        campaign, START, [wide, wide, narrow, slow], past=past(500, p=0.3), seconds=600.0, runs=4
    )
    for name in FIGURES:
        assert (found[0][name] == found[1][name]).all(), name
    first, small, one = (future(found[i]) for i in (0, 2, 3))
    assert first.occupancy.mean > small.occupancy.mean > one.occupancy.mean > 0.4
    assert first.abandoned.mean > small.abandoned.mean >= 0
    assert first.finish.mean < one.finish.mean < inf
    change = difference(found[0], found[2])
    assert change.occupancy.high < 0.05 and change.occupancy.mean < 0
    assert change.occupancy.low <= change.occupancy.mean <= change.occupancy.high
    again = forecast(campaign, START, [wide], past=past(500, p=0.3), seconds=600.0, runs=4)
    assert all((again[0][name] == found[0][name]).all() for name in ("calls", "answers"))


def test_a_list_that_ends_in_time_says_when() -> None:
    campaign = fit(past(300, p=0.3), timeout=25.0, leads=100.0)
    (found,) = forecast(campaign, START, [Setting()], seconds=900.0, runs=3)
    assert (found["finish"] < 900).all() and (found["calls"] == 100).all()
