"""The predictive engine: what must hold for any input, and what it is for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacing.decision import Binding
from pacing.engine import Engine
from pacing.predictive.tail import Counts, normal_cdf, tail_near
from pacing.seen import Kind, Seen
from pacing.simulator import Campaign, Scenario, Spread, run
from pacing.state import Mode, PacingInput, Ragged, Trunks, Windows


def rows(n: int, **fields: Any) -> PacingInput:
    """n predictive rows with nothing under way, many leads, wide trunks."""
    whole: dict[str, Any] = {
        "mode": np.full(n, int(Mode.PREDICTIVE)), "ratio": np.ones(n), "ratio_cap": np.ones(n),
        "target_abandon": np.full(n, 0.03), "connect_window": np.full(n, 2.0),
        "trunks": Trunks(
            np.array([1e6]), np.array([1e6]), np.arange(n), np.zeros(n, dtype=np.int64)
        ),
    }  # fmt: skip
    for name, value in (
        ("agents_free", 0), ("agents_busy", 0), ("in_flight", 0), ("analysing", 0), ("waiting", 0),
        ("live_answers", 200), ("abandoned", 2), ("leads", 100_000),
    ):  # fmt: skip
        whole[name] = np.full(n, value)
    return PacingInput(**{**whole, **fields})


numbers = st.integers(-(10**9), 10**9)
odd = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def anything(draw: st.DrawFn) -> tuple[PacingInput, Seen]:
    n = draw(st.integers(0, 4))

    def ints() -> np.ndarray[Any, Any]:
        return np.array(draw(st.lists(numbers, min_size=n, max_size=n)), dtype=np.int64)

    def floats() -> np.ndarray[Any, Any]:
        return np.array(draw(st.lists(odd, min_size=n, max_size=n)), dtype=np.float64)

    def ragged() -> Ragged:
        if not n:
            return Ragged()
        pairs = draw(st.lists(st.tuples(st.integers(0, n - 1), odd), max_size=12))
        return Ragged(
            np.array([r for r, _ in pairs], dtype=np.int64),
            np.array([s for _, s in pairs], dtype=np.float64),
        )

    ringing = ragged()
    modes = draw(st.lists(st.sampled_from(list(Mode)), min_size=n, max_size=n))
    windows = ragged()
    size = len(windows.row)
    more = [
        np.array(draw(st.lists(odd, min_size=size, max_size=size)), dtype=np.float64)
        for _ in range(3)
    ]
    pairs = draw(st.lists(st.tuples(st.sampled_from(list(Kind)), odd), max_size=12))
    seen = Seen(
        kind=np.array([int(k) for k, _ in pairs], dtype=np.int64),
        slot=np.array([i % max(n, 1) for i in range(len(pairs))], dtype=np.int64),
        seconds=np.array([s for _, s in pairs], dtype=np.float64),
    )
    return (
        PacingInput(
            mode=np.array([int(m) for m in modes], dtype=np.int64), ratio=floats(),
            ratio_cap=floats(), target_abandon=floats(), connect_window=floats(),
            agents_free=ints(), agents_busy=ints(), in_flight=ints(), analysing=ints(),
            waiting=ints(), live_answers=ints(), abandoned=ints(), leads=ints(),
            trunks=Trunks(floats(), floats(), np.arange(n), np.arange(n)),
            ringing=ringing,
            ringing_signal=np.array(
                draw(st.lists(numbers, min_size=len(ringing.row), max_size=len(ringing.row))),
                dtype=np.int64,
            ),
            analysing_since=ragged(), talking=ragged(), wrapping=ragged(),
            windows=Windows(windows.row, windows.seconds, *more),
            ring_timeout=floats(), cancel_after=floats(), tick=draw(odd),
        ),
        seen,
    )  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(anything(), anything())
def test_any_input_gives_a_finite_and_safe_decision(
    first: tuple[PacingInput, Seen], second: tuple[PacingInput, Seen]
) -> None:
    engine = Engine()
    with np.errstate(all="ignore"):
        for given_, seen in (first, second):
            decision = engine.decide(given_, seen)
            calls = decision.calls
            assert calls.dtype == np.int64 and (calls >= 0).all()
            assert (calls <= np.maximum(given_.leads, 0)).all()
            lines = np.nan_to_num(given_.trunks.lines, nan=0.0)
            tokens = np.nan_to_num(given_.trunks.tokens, nan=0.0)
            assert (calls <= np.maximum(np.minimum(lines, tokens), 0)).all()
            if decision.forecast is not None:
                assert np.isfinite(decision.forecast.theta).all()
                assert np.isfinite(decision.forecast.price).all()
            assert len(decision.cancel) == len(given_.ringing.row)
            for row in range(given_.rows):
                assert decision.explain(row).sentence


@settings(max_examples=25, deadline=None)
@given(anything())
def test_equal_inputs_give_equal_decisions(case: tuple[PacingInput, Seen]) -> None:
    with np.errstate(all="ignore"):
        one, two = Engine().decide(*case), Engine().decide(*case)
    assert (one.calls == two.calls).all() and (one.cancel == two.cancel).all()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 40), st.integers(0, 60), st.floats(0.0, 25.0), st.floats(0.001, 0.05),
    st.floats(1.0, 4.0), st.integers(0, 2000), st.floats(0, 0.05),
)  # fmt: skip
def test_more_budget_for_a_lone_campaign_never_means_fewer_calls(
    free: int, ringing: int, age: float, target: float, more: float, live: int, gone: float
) -> None:
    abandoned = np.array([int(live * gone)])
    calls = []
    for goal in (target, target * more):
        decision = Engine().decide(
            rows(
                1, agents_free=np.array([free]), target_abandon=np.array([goal]),
                live_answers=np.array([live]), abandoned=abandoned,
                ringing=Ragged(np.zeros(ringing, dtype=np.int64), np.full(ringing, age)),
                ringing_signal=np.ones(ringing, dtype=np.int64),
                windows=Windows(np.array([0]), np.array([live * 1.0]), abandoned * 1.0,
                                np.array([goal]), np.array([np.inf])),
            )
        )  # fmt: skip
        calls.append(int(decision.calls[0]))
    assert calls[0] <= calls[1]


@pytest.mark.parametrize("agents", [0, 5])
def test_no_calls_without_agents(agents: int) -> None:
    decision = Engine().decide(rows(1, agents_free=np.array([agents])))
    assert (decision.calls[0] > 0) == (agents > 0)
    if not agents:
        assert Binding(int(decision.binding[0])) is Binding.NO_AGENTS


def test_it_dials_ahead_of_agents_who_are_about_to_get_free() -> None:
    engine, n = Engine(), 60
    talks = np.random.default_rng(2).exponential(100, 300)
    seen = Seen(
        kind=np.full(300, int(Kind.TALK_ENDED)), slot=np.zeros(300, dtype=np.int64), seconds=talks
    )
    talking = Ragged(np.zeros(n, dtype=np.int64), np.linspace(5, 200, n))
    wrapping = Ragged(np.zeros(8, dtype=np.int64), np.linspace(2, 12, 8))
    assert engine.decide(rows(1, talking=talking, wrapping=wrapping), seen).calls[0] > 0


@settings(max_examples=20, deadline=None)
@given(timeout=st.integers(1, 120), agents=st.integers(1, 100))
def test_the_first_calls_are_few_however_short_they_may_ring(timeout: int, agents: int) -> None:
    """Nothing is known yet: people are taken to answer within the time they have."""
    free = np.array([agents])
    given = rows(1, agents_free=free, ring_timeout=np.array([float(timeout)]))
    assert agents <= int(Engine().decide(given).calls[0]) <= 3 * agents


def test_a_brisk_campaign_begins_without_a_burst() -> None:
    brisk = Campaign(p=0.35, ring=Spread(3.0, 0.5), timeout=7.0, talk=60.0)
    start = Scenario(agents=20, campaigns=(brisk,), warm_up=0.0, duration=120.0, endless=True)
    results = run(start, Engine(), seeds=range(12))
    assert results.abandoned.mean() < 5
    assert results.mean_occupancy() > 0.75


def test_a_spent_budget_freezes_to_one_call_per_free_agent() -> None:
    window = Windows(
        np.array([0]), np.array([100.0]), np.array([3.0]), np.array([0.03]), np.array([np.inf])
    )
    decision = Engine().decide(rows(1, agents_free=np.array([4]), windows=window))
    assert decision.calls[0] == 4
    assert Binding(int(decision.binding[0])) is Binding.BUDGET


def test_rows_do_not_disturb_each_other() -> None:
    """A campaign is decided alike whether it stands alone or among others."""
    rng = np.random.default_rng(5)
    ringing = Ragged(np.repeat(np.arange(3), 9), rng.uniform(0, 25, 27))
    talking = Ragged(np.repeat(np.arange(3), 12), rng.exponential(90, 36))
    free = np.array([2, 0, 5])
    together = Engine().decide(
        rows(3, agents_free=free, ringing=ringing, ringing_signal=np.ones(27, dtype=np.int64),
             talking=talking)
    )  # fmt: skip
    for row in range(3):
        mine, theirs = ringing.row == row, talking.row == row
        alone = Engine().decide(
            rows(
                1, agents_free=free[row : row + 1],
                ringing=Ragged(np.zeros(9, dtype=np.int64), ringing.seconds[mine]),
                ringing_signal=np.ones(9, dtype=np.int64),
                talking=Ragged(np.zeros(12, dtype=np.int64), talking.seconds[theirs]),
            )
        )  # fmt: skip
        assert alone.calls[0] == together.calls[row]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.02, 0.98), min_size=12, max_size=60), st.integers(1, 30))
def test_the_fast_tail_is_near_the_exact_one(chances: list[float], least: int) -> None:
    p = np.array(chances)[None, :]
    counts = Counts(1, 1, 31)
    for chance in chances:
        counts.add(np.array([[chance]]))
    exact = counts.at_least(np.array([least]))[0, 0]
    spread = p * (1 - p)
    near = tail_near(
        p.sum(1), spread.sum(1), (spread * (1 - 2 * p)).sum(1), np.array([float(least)])
    )[0]
    assert near == pytest.approx(exact, abs=0.01 + 0.1 / spread.sum())


def test_the_normal_table() -> None:
    assert normal_cdf(np.array([-9.0, 0.0, 1.6448536, 9.0])) == pytest.approx(
        [0.0, 0.5, 0.95, 1.0], abs=1e-6
    )


@pytest.mark.parametrize("free", [1, 0])
def test_a_call_with_an_agent_of_its_own_is_never_given_up(free: int) -> None:
    decision = Engine().decide(
        rows(
            1, agents_free=np.array([free]), target_abandon=np.array([0.002]),
            ringing=Ragged(np.zeros(1, dtype=np.int64), np.array([16.0])),
            ringing_signal=np.full(1, 2), cancel_after=np.array([15.0]),
            talking=Ragged(np.zeros(1 - free, dtype=np.int64), np.full(1 - free, 5.0)),
        )
    )  # fmt: skip
    assert decision.cancel.tolist() == [free == 0]
