"""Rows that share agents: decided together, safe for anything, as before where nobody shares."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacing.decision import Decision
from pacing.engine import Engine
from pacing.state import Mode, PacingInput, Ragged, Sharing, Trunks, Windows

Pool = tuple[PacingInput, list[frozenset[int]]]


def pool(
    free: list[int], skills: list[frozenset[int]], *, rows: int,
    talking: list[tuple[int, int, float]] | None = None,
    ringing: list[tuple[int, float]] | None = None, shared: bool = True, **fields: Any,
) -> PacingInput:  # fmt: skip
    """Predictive rows. `free`: of each group, which serves the rows of `skills`; `talking`: (row,
    group, s); `ringing`: (row, s). Free agents are lent to the first row of theirs."""
    talking, ringing = talking or [], ringing or []
    lent = np.zeros(rows, dtype=np.int64)
    for number, serves in zip(free, skills, strict=True):
        if serves:
            lent[min(serves)] += number
    pairs = [(r, g) for g, serves in enumerate(skills) for r in sorted(serves)]
    flight = np.bincount([r for r, _ in ringing], minlength=rows).astype(np.int64)
    whole: dict[str, Any] = {
        "mode": np.full(rows, int(Mode.PREDICTIVE)), "ratio": np.ones(rows),
        "ratio_cap": np.ones(rows), "target_abandon": np.full(rows, 0.03),
        "connect_window": np.full(rows, 2.0), "agents_free": lent, "in_flight": flight,
        "trunks": Trunks(
            np.array([1e6]), np.array([1e6]), np.arange(rows), np.zeros(rows, dtype=np.int64)
        ),
        "ringing": Ragged(_ints(r for r, _ in ringing), _floats(s for _, s in ringing)),
        "ringing_signal": np.ones(len(ringing), dtype=np.int64),
        "talking": Ragged(_ints(r for r, _, _ in talking), _floats(s for _, _, s in talking)),
    }  # fmt: skip
    for name, value in (
        ("agents_busy", 0), ("analysing", 0), ("waiting", 0), ("live_answers", 200),
        ("abandoned", 2), ("leads", 100_000),
    ):  # fmt: skip
        whole[name] = np.full(rows, value)
    if shared:
        whole["sharing"] = Sharing(
            row=_ints(r for r, _ in pairs), group=_ints(g for _, g in pairs),
            free=_ints(free), talking=_ints(g for _, g, _ in talking),
            wrapping=np.zeros(0, dtype=np.int64),
        )  # fmt: skip
    return PacingInput(**{**whole, **fields})


def _ints(values: Any) -> Any:
    return np.array(list(values), dtype=np.int64)


def _floats(values: Any) -> Any:
    return np.array(list(values), dtype=np.float64)


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    """Up to five rows, groups of agents of any skills, modes, limits and budgets of any kind."""
    n = draw(st.integers(1, 5))
    skills = draw(st.lists(st.frozensets(st.integers(0, n - 1)), min_size=1, max_size=5))
    free = draw(
        st.lists(st.sampled_from([0, 0, 1, 3, 12]), min_size=len(skills), max_size=len(skills))
    )
    talking = draw(
        st.lists(
            st.tuples(
                st.integers(0, n - 1), st.integers(-1, len(skills) - 1), st.floats(0.0, 400.0)
            ),
            max_size=25,
        )
    )
    ringing = draw(st.lists(st.tuples(st.integers(0, n - 1), st.floats(0.0, 25.0)), max_size=25))

    def counts(*values: int) -> Any:
        return _ints(draw(st.lists(st.sampled_from(values), min_size=n, max_size=n)))

    live = counts(0, 100, 1000)
    lines = _floats([draw(st.sampled_from([0.0, 3.0, 1e6]))])
    tokens = _floats([draw(st.sampled_from([0.0, 5.0, 1e6]))])
    one = np.zeros(n, dtype=np.int64)
    made = pool(
        free, skills, rows=n, talking=talking, ringing=ringing,
        mode=counts(*(int(m) for m in Mode), *[int(Mode.PREDICTIVE)] * 8),
        leads=counts(0, 1, 7, 100_000), waiting=counts(0, 0, 1), live_answers=live,
        trunks=Trunks(lines, tokens, np.arange(n), one),
        windows=Windows(
            np.arange(n), live.astype(np.float64), counts(0, 2, 40).astype(np.float64),
            np.full(n, 0.03), np.full(n, draw(st.sampled_from([np.inf, 3000.0]))),
        ),
        cancel_after=np.full(n, draw(st.sampled_from([np.inf, 15.0]))),
    )  # fmt: skip
    return made, skills


@settings(max_examples=150, deadline=None)
@given(pools())
def test_within_leads_lines_and_rate_and_never_without_agents(case: Pool) -> None:
    given_, skills = case
    decision = Engine().decide(given_)
    calls, sharing = decision.calls, given_.sharing
    assert calls.dtype == np.int64 and (calls >= 0).all() and (calls <= given_.leads).all()
    assert calls.sum() <= min(given_.trunks.lines[0], given_.trunks.tokens[0])
    agents = sharing.free + np.bincount(
        sharing.talking[sharing.talking >= 0], minlength=len(sharing.free)
    )
    theirs = np.bincount(given_.talking.row, minlength=given_.rows)  # of rows that stand alone
    for row in np.flatnonzero(calls):
        assert any(agents[g] for g, serves in enumerate(skills) if row in serves) or theirs[row]
    forecast = decision.forecast
    if forecast is not None:
        for values in (forecast.theta, forecast.price, forecast.answers, forecast.free):
            assert np.isfinite(values).all()
        assert (forecast.price >= -1e-9).all()


@settings(max_examples=40, deadline=None)
@given(pools())
def test_equal_inputs_give_equal_decisions(case: Pool) -> None:
    _same(Engine().decide(case[0]), Engine().decide(case[0]))


@settings(max_examples=60, deadline=None)
@given(pools(), st.integers(0, 3))
def test_where_nothing_is_shared_it_is_as_without_saying_so(case: Pool, seed: int) -> None:
    given_, _ = case
    n = given_.rows
    rng = np.random.default_rng(seed)
    alone = Sharing(
        row=np.arange(n), group=np.arange(n), free=given_.agents_free,
        talking=given_.talking.row, wrapping=given_.wrapping.row,
    )  # fmt: skip
    # Groups that serve nobody, and groups that nobody is in, are no sharing either.
    more = Sharing(
        row=np.concatenate([alone.row, np.zeros(n, dtype=np.int64), np.arange(n)]),
        group=np.concatenate([alone.group, np.full(n, n), np.full(n, n)]),
        free=np.concatenate([alone.free, [0], rng.integers(0, 9, 1)]),
        talking=alone.talking, wrapping=alone.wrapping,
    )  # fmt: skip
    plain = Engine().decide(replace(given_, sharing=Sharing()))
    _same(plain, Engine().decide(replace(given_, sharing=alone)))
    _same(plain, Engine().decide(replace(given_, sharing=more)))


def _same(one: Decision, two: Decision) -> None:
    for name in ("calls", "cancel", "binding", "wanted"):
        assert (getattr(one, name) == getattr(two, name)).all(), name
    if one.forecast is None or two.forecast is None:
        assert one.forecast is two.forecast
        return
    for name in ("theta", "price", "goal", "budget_left", "answers", "free", "answer_share"):
        assert getattr(one.forecast, name).tolist() == getattr(two.forecast, name).tolist(), name


BOTH = frozenset({0, 1})


@pytest.mark.parametrize("agents", [4, 30])
def test_two_rows_with_all_agents_in_common_dial_as_much_as_one(agents: int) -> None:
    talks = [(i % 2, 0, 5.0 + 7 * i) for i in range(agents - agents // 4)]
    rings = [(i % 2, 1.0 + i) for i in range(agents // 4)]
    two = pool([agents // 4], [BOTH], rows=2, talking=talks, ringing=rings)
    one = pool(
        [agents // 4], [frozenset({0})], rows=1, talking=[(0, g, s) for _, g, s in talks],
        ringing=[(0, s) for _, s in rings],
    )  # fmt: skip
    apart, merged = Engine().decide(two), Engine().decide(one)
    assert merged.calls[0] > 0 or agents == 4
    assert apart.calls.sum() == pytest.approx(merged.calls[0], abs=1)


@pytest.mark.parametrize("agents", [4, 30])
def test_with_all_agents_in_common_a_call_costs_what_it_would_in_one_campaign(agents: int) -> None:
    talks = [(i % 2, 0, 5.0 + 7 * i) for i in range(agents - agents // 4)]
    rings = [(i % 2, 0.5 + i) for i in range(agents // 4 + 5)]
    none = {"leads": np.zeros(2, dtype=np.int64), "waiting": _ints([1, 0])}
    two = pool(  # learning alike: at the same slot
        [agents // 4], [BOTH], rows=2, talking=talks, ringing=rings, slot=_ints([0, 0]), **none
    )
    one = pool(
        [agents // 4], [frozenset({0})], rows=1, talking=[(0, g, s) for _, g, s in talks],
        ringing=[(0, s) for _, s in rings], **{k: v[:1] for k, v in none.items()},
    )  # fmt: skip
    together, merged = Engine().decide(two).forecast, Engine().decide(one).forecast
    assert together is not None and merged is not None
    assert merged.price[0] > 0.001
    assert together.price == pytest.approx(np.repeat(merged.price, 2), rel=1e-6)


def test_an_agent_who_serves_both_is_worth_less_than_one_for_each_and_more_than_none() -> None:
    """10 and 10 agents and 10 who serve both: between 10 and 20 for either campaign."""
    rings = [(r, float(s)) for r in (0, 1) for s in range(12)]
    one, two = frozenset({0}), frozenset({1})
    calls = {
        name: Engine().decide(pool(free, skills, rows=2, ringing=rings)).calls.sum()
        for name, free, skills in (
            ("none", [10, 10], [one, two]),
            ("both", [10, 10, 10], [one, BOTH, two]),
            ("each", [20, 20], [one, two]),
        )
    }  # fmt: skip
    assert calls["none"] < calls["both"] < calls["each"]


def test_no_agent_counts_twice() -> None:
    """Free agents whom several rows could use are used up once, whoever dials first."""
    for rows in (1, 2, 4):
        skills = [frozenset(range(rows))]
        together = Engine().decide(pool([30], skills, rows=rows))
        assert together.calls.sum() <= Engine().decide(pool([30], [frozenset({0})], rows=1)).calls[
            0
        ] * 1.1 + 1  # fmt: skip


def test_a_ringing_call_of_one_row_holds_the_other_back() -> None:
    calls = [
        Engine().decide(
            pool([6], [BOTH], rows=2, ringing=[(0, 10.0)] * n, leads=_ints([0, 1000]))
        ).calls[1]
        for n in (0, 8, 30)
    ]  # fmt: skip
    assert calls[0] > calls[1] > calls[2]


def test_a_row_that_is_behind_is_given_the_calls() -> None:
    talking = [(0, 0, 60.0)] * 16
    decision = Engine().decide(pool([8], [BOTH], rows=2, talking=talking))
    assert decision.calls[1] > 0
    assert decision.calls[0] == 0


def test_a_row_without_leads_leaves_all_to_the_other() -> None:
    decision = Engine().decide(pool([20], [BOTH], rows=2, leads=_ints([0, 100_000])))
    whole = Engine().decide(pool([20], [frozenset({0})], rows=1))
    assert decision.calls.tolist() == [0, pytest.approx(whole.calls[0], abs=1)]


@pytest.mark.parametrize("poor", [0.01, 0.003])  # the second one keeps agents instead
def test_a_row_that_can_afford_little_holds_back_those_who_would_rob_it(poor: float) -> None:
    def calls(target: float, skills: list[frozenset[int]]) -> int:
        ringing = [(1, 3.0)] * 10
        made = pool(
            [20] * len(skills), skills, rows=2, ringing=ringing,
            target_abandon=np.array([0.03, target]), abandoned=_ints([2, 0]),
        )  # fmt: skip
        return int(Engine().decide(made).calls[0])

    apart = [frozenset({0}), frozenset({1})]
    assert calls(poor, [BOTH]) < calls(0.03, [BOTH])
    assert calls(poor, apart) == calls(0.03, apart)


def test_a_frozen_row_keeps_the_agents_it_was_lent() -> None:
    windows = Windows(
        np.arange(2), np.full(2, 100.0), np.array([0.0, 3.0]), np.full(2, 0.03), np.full(2, np.inf)
    )
    lent = pool([20], [BOTH], rows=2, windows=windows, agents_free=_ints([10, 10]))
    decision = Engine().decide(lent)
    alone = Engine().decide(pool([10], [frozenset({0})], rows=1, windows=replace(
        windows, row=windows.row[:1], live=windows.live[:1], abandoned=windows.abandoned[:1],
        cap=windows.cap[:1], seconds_left=windows.seconds_left[:1])))  # fmt: skip
    assert decision.calls[1] == 10
    assert decision.calls[0] == pytest.approx(alone.calls[0], abs=1)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"group": _ints([0])}, "group"),
        ({"row": _ints([0, 2])}, "row"),
        ({"talking": _ints([5])}, "talking"),
        ({"talking": _ints([])}, "talking"),
        ({"group": _ints([0, 1])}, "group"),
    ],
)
def test_sharing_that_does_not_fit_is_refused(changes: dict[str, Any], what: str) -> None:
    good = pool([3], [BOTH], rows=2, talking=[(0, 0, 5.0)])
    with pytest.raises(ValueError, match=f"sharing.{what}: expected"):
        replace(good, sharing=replace(good.sharing, **changes))
