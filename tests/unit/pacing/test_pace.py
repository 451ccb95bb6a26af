"""Pacing's promises for any input, and the plain cases by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacing.decision import Binding
from pacing.engine import pace
from pacing.interval import wilson
from pacing.state import Mode, PacingInput, Trunks

pytestmark = pytest.mark.unit


def rows(n: int, **changes: Any) -> PacingInput:
    base: dict[str, Any] = {
        "mode": [Mode.PROGRESSIVE] * n,
        "ratio": [1.0] * n,
        "ratio_cap": [3.0] * n,
        "target_abandon": [0.03] * n,
        "connect_window": [2.0] * n,
        "agents_free": [0] * n,
        "agents_busy": [0] * n,
        "in_flight": [0] * n,
        "analysing": [0] * n,
        "waiting": [0] * n,
        "live_answers": [0] * n,
        "abandoned": [0] * n,
        "leads": [1000] * n,
    }
    base.update(changes)
    floats = {"ratio", "ratio_cap", "target_abandon", "connect_window"}
    arrays = {
        k: np.array(v, dtype=np.float64 if k in floats else np.int64)
        for k, v in base.items()
        if k != "trunks"
    }
    trunks = base.get("trunks") or Trunks(
        np.array([1e6]), np.array([1e6]), np.arange(n), np.zeros(n, dtype=np.int64)
    )
    return PacingInput(trunks=trunks, **arrays)


def test_progressive_places_one_call_per_free_agent_less_those_under_way() -> None:
    decision = pace(rows(3, agents_free=[5, 5, 0], in_flight=[0, 3, 0], waiting=[0, 1, 0]))
    assert decision.calls.tolist() == [5, 1, 0]
    assert Binding(int(decision.binding[2])) is Binding.NO_AGENTS


def test_ratio_is_capped_and_falls_back_when_the_budget_is_spent() -> None:
    decision = pace(
        rows(
            3,
            mode=[Mode.RATIO] * 3,
            ratio=[2.5, 9.0, 2.0],
            agents_free=[4, 4, 4],
            live_answers=[0, 0, 100],
            abandoned=[0, 0, 4],
        )
    )
    assert decision.calls.tolist() == [10, 12, 4]
    assert "abandoned" in decision.explain(2).sentence


def test_preview_and_manual_are_started_by_agents() -> None:
    decision = pace(rows(2, mode=[Mode.PREVIEW, Mode.MANUAL], agents_free=[3, 3]))
    assert decision.calls.tolist() == [0, 0]


def test_predictive_without_memory_is_progressive() -> None:
    assert pace(rows(1, mode=[Mode.PREDICTIVE], agents_free=[3])).calls.tolist() == [3]


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="expected modes"):
        pace(rows(1, mode=[9]))


def test_a_shared_trunk_is_divided_fairly() -> None:
    trunks = Trunks(np.array([10.0]), np.array([100.0]), np.array([0, 1]), np.array([0, 0]))
    decision = pace(rows(2, agents_free=[10, 10], trunks=trunks))
    assert decision.calls.tolist() == [5, 5]
    assert Binding(int(decision.binding[0])) is Binding.LINES


counts = st.integers(-5, 300)
shares = st.floats(allow_nan=True, allow_infinity=True)


@given(st.data(), st.integers(0, 8))
def test_never_negative_never_above_any_limit_whatever_comes(data: st.DataObject, n: int) -> None:
    def ints() -> list[int]:
        return data.draw(st.lists(counts, min_size=n, max_size=n))

    modes = data.draw(st.lists(st.sampled_from([0, 1, 2, 3]), min_size=n, max_size=n))
    t = data.draw(st.integers(1, 3))
    lines = np.array(data.draw(st.lists(shares, min_size=t, max_size=t)))
    tokens = np.array(data.draw(st.lists(shares, min_size=t, max_size=t)))
    pairs = data.draw(
        st.lists(st.tuples(st.integers(0, max(n - 1, 0)), st.integers(0, t - 1)), unique=True)
        if n
        else st.just([])
    )
    trunks = Trunks(
        lines,
        tokens,
        np.array([p[0] for p in pairs], dtype=np.int64),
        np.array([p[1] for p in pairs], dtype=np.int64),
    )
    given_input = rows(
        n,
        mode=modes,
        ratio=data.draw(st.lists(shares, min_size=n, max_size=n)),
        ratio_cap=data.draw(st.lists(shares, min_size=n, max_size=n)),
        target_abandon=data.draw(st.lists(shares, min_size=n, max_size=n)),
        agents_free=ints(),
        in_flight=ints(),
        waiting=ints(),
        live_answers=ints(),
        abandoned=ints(),
        leads=ints(),
        trunks=trunks,
    )
    decision = pace(given_input)
    again = pace(given_input)
    assert decision.calls.tolist() == again.calls.tolist()
    for row in range(n):
        calls = int(decision.calls[row])
        assert calls >= 0
        if calls:
            assert given_input.agents_free[row] > 0
            assert calls <= given_input.leads[row]
        decision.explain(row)
    room = np.floor(np.clip(np.nan_to_num(np.fmin(lines, tokens), nan=0.0), 0, 1e9))
    used = sorted({p[1] for p in pairs})
    assert decision.calls.sum() <= room[used].sum()


def test_wilson() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    low, high = wilson(3, 100)
    assert low == pytest.approx(0.0103, abs=1e-3)
    assert high == pytest.approx(0.0845, abs=1e-3)
    with pytest.raises(ValueError, match="expected"):
        wilson(2, 1)
