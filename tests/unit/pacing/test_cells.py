"""Lists and routes of a campaign, campaigns of a site, hours of a day: what leans on what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacing.engine import Engine
from pacing.learning.grid import AGES
from pacing.learning.ring import RingModel
from pacing.learning.shrink import weight
from pacing.learning.site import Start, start
from pacing.seen import Kind, Seen
from pacing.state import Coming, PacingInput, Ragged
from tests.unit.pacing.test_engine import anything, rows

pytestmark = pytest.mark.unit


def calls(n: int, share: float, *, slot: int = 0, cell: int = -1, seed: int = 1) -> Seen:
    """`n` calls that ended: `share` answered after 12 s or so, the others rang 25 s."""
    rng = np.random.default_rng(seed)
    answered = rng.random(n) < share
    seconds = np.where(answered, np.minimum(rng.lognormal(2.4, 0.45, n), 24.0), 25.0)
    return Seen(
        kind=np.where(answered, int(Kind.ANSWERED), int(Kind.RANG_OUT)),
        slot=np.full(n, slot), seconds=seconds,
        cell=np.full(n, cell) if cell >= 0 else np.zeros(0, dtype=np.int64),
    )  # fmt: skip


def join(*seen: Seen) -> Seen:
    names = ("kind", "slot", "seconds", "signal", "became", "cell")
    return Seen(**{name: np.concatenate([getattr(s, name) for s in seen]) for name in names})


def answers(engine: Engine, place: int) -> float:
    """Of a call placed now."""
    return float(engine.brain.ring.lands[place, 0, 0, 0, -1])


def learnt(*seen: Seen, site: bool = False) -> Engine:
    engine = Engine(site=site)
    for each in seen:
        engine.learn(each)
    return engine


def test_a_list_of_which_nothing_is_known_is_like_its_campaign() -> None:
    few = calls(1, 0.0, cell=2)
    for share in (0.05, 0.6):
        engine = learnt(calls(1500, share, cell=1), few)
        assert answers(engine, 2) == pytest.approx(answers(engine, 0), rel=0.35)
        assert answers(engine, 2) > answers(engine, 0) * 0.95  # in doubt more people answer


def test_a_list_with_answers_of_its_own_is_itself() -> None:
    engine = learnt(calls(600, 0.5, cell=1), calls(600, 0.1, cell=2, seed=2), calls(1, 0.0, cell=1))
    assert answers(engine, 1) == pytest.approx(0.5, abs=0.06)
    assert answers(engine, 2) == pytest.approx(0.1, abs=0.03)
    assert answers(engine, 0) == pytest.approx(0.3, abs=0.06)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.05, 0.6), st.floats(0.05, 0.6), st.integers(0, 400))
def test_a_cell_lies_between_its_campaign_and_its_own(whole: float, own: float, n: int) -> None:
    engine = learnt(calls(2000, whole, cell=1), calls(n + 1, own, cell=2, seed=3))
    low, high = sorted((answers(engine, 1), own))
    noise = 3 * np.sqrt(0.25 / (n + 20))
    assert low - noise <= answers(engine, 2) <= high * 1.35 + noise


@settings(max_examples=10, deadline=None)
@given(anything(), anything())
def test_a_row_whose_cell_is_its_slot_is_decided_as_without(
    first: tuple[PacingInput, Seen], second: tuple[PacingInput, Seen]
) -> None:
    plain, told = Engine(), Engine()
    with np.errstate(all="ignore"):
        for given_, seen in (first, second):
            if not given_.rows:
                continue
            slot = given_.slot[given_.ringing.row]
            busy = (np.full(len(r.row), -1) for r in (given_.talking, given_.wrapping))
            one = plain.decide(given_, seen)
            two = told.decide(
                replace(given_, ringing_cell=slot, talking_agent=next(busy),
                        wrapping_agent=next(busy)),
                replace(seen, cell=np.full(len(seen.kind), -1)),
            )  # fmt: skip
            assert (one.calls == two.calls).all() and (one.cancel == two.cancel).all()


@settings(max_examples=10, deadline=None)
@given(anything(), st.lists(st.integers(-3, 30), min_size=40, max_size=40), st.integers(0, 5))
def test_any_cells_give_a_finite_decision(
    case: tuple[PacingInput, Seen], numbers: list[int], coming: int
) -> None:
    given_, seen = case
    if not given_.rows:
        return
    n = given_.rows
    cells = np.array(numbers)
    cells = np.where(cells < 0, cells, cells + n)  # above the slots
    engine = Engine(site=True)
    with np.errstate(all="ignore"):
        for _ in range(2):
            decision = engine.decide(
                replace(
                    given_, ringing_cell=cells[: len(given_.ringing.row)],
                    coming=Coming(np.arange(coming) % n, cells[:coming], np.linspace(0, 1, coming)),
                    talking_agent=cells[: len(given_.talking.row)],
                ),
                replace(seen, cell=cells[: len(seen.kind)], agent=cells[: len(seen.kind)]),
            )  # fmt: skip
    assert (decision.calls >= 0).all()
    if decision.forecast is None:  # nobody is predictive
        return
    assert np.isfinite(decision.forecast.answer_share).all()
    assert (decision.forecast.answer_share >= 0).all()
    assert (decision.forecast.answer_share <= 1).all()


def share_now(engine: Engine, **more: Any) -> float:
    decision = engine.decide(rows(1, agents_free=np.array([3]), **more))
    assert decision.forecast is not None
    return float(decision.forecast.answer_share[0])


def test_the_next_calls_are_of_the_lists_that_come() -> None:
    engine = learnt(calls(900, 0.5, cell=1), calls(900, 0.1, cell=2, seed=2))

    def of(*shares: float) -> float:
        n = len(shares)
        coming = Coming(np.zeros(n, dtype=np.int64), np.arange(1, n + 1), np.array(shares))
        return share_now(engine, coming=coming)

    good, bad, both = of(1.0), of(0.0, 1.0), of(0.5, 0.5)
    assert bad < 0.16 < 0.42 < good
    assert both == pytest.approx((good + bad) / 2, abs=0.02)


def test_arrays_that_do_not_fit_are_refused() -> None:
    ringing = Ragged(np.zeros(2, dtype=np.int64), np.ones(2))
    with pytest.raises(ValueError, match=r"ringing_cell: expected shape \(2,\)"):
        rows(1, ringing=ringing, ringing_cell=np.array([1]))
    with pytest.raises(ValueError, match=r"talking_agent: expected"):
        rows(1, talking=ringing, talking_agent=np.array([1, 2, 3]))
    with pytest.raises(ValueError, match=r"turn: expected shape \(1,\)"):
        rows(1, turn=np.ones(2))
    with pytest.raises(ValueError, match=r"share: expected shape \(1,\)"):
        Coming(np.array([0]), np.array([0]), np.ones(2))
    with pytest.raises(ValueError, match=r"agent: expected shape"):
        Seen(np.array([0]), np.array([0]), np.ones(1), agent=np.array([1, 2]))


# -- how much leans


@settings(max_examples=30, deadline=None)
@given(st.floats(0.02, 0.4), st.integers(0, 2**32 - 1))
def test_the_weight_is_one_over_the_spread_between_parts(variance: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    expected = rng.uniform(50, 300, 400)
    seen = rng.poisson(expected * rng.gamma(1 / variance, variance, 400)).astype(np.float64)
    assert weight(seen, expected, usual=8.0, parts=4.0) == pytest.approx(1 / variance, rel=0.4)


def test_parts_that_are_alike_lean_much_and_nothing_says_nothing() -> None:
    expected = np.full(400, 8.0)
    seen = np.random.default_rng(4).poisson(expected).astype(np.float64)
    assert weight(seen, expected, usual=8.0, parts=4.0) == 60.0
    assert weight(np.zeros(0), np.zeros(0), usual=8.0, parts=4.0) == 8.0


# -- the site


GENERAL = Start(np.full(AGES, 0.02, np.float32), np.full(AGES, 0.002, np.float32), 8.0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.1, 3.0), min_size=1, max_size=12), st.integers(30, 3000))
def test_a_site_starts_between_its_campaigns_and_what_is_assumed(
    levels: list[float], seconds: int
) -> None:
    risk = np.full((len(levels), AGES), float(seconds))
    answered = risk * GENERAL.answer * np.array(levels)[:, None]
    got = start(answered, answered / 10, risk, GENERAL)
    level = float(got.answer.mean() / GENERAL.answer.mean())
    assert 0 < got.weight < 20
    assert 0.99 <= level <= max(*levels, 1.0) * 1.1


def test_a_site_without_campaigns_is_what_is_assumed() -> None:
    nothing = np.zeros((0, AGES))
    assert start(nothing, nothing, nothing, GENERAL) is GENERAL


def test_a_new_campaign_starts_from_its_site_where_that_is_the_safe_side() -> None:
    def first(share: float, *, site: bool) -> float:
        others = [calls(800, share, slot=i, seed=i) for i in range(6)]
        return share_now(learnt(*others, site=site), slot=np.array([6]))

    usual = first(0.1, site=False)
    assert usual > 0.35
    assert first(0.1, site=True) == usual
    assert first(0.65, site=True) > usual + 0.1


def test_a_site_that_rings_long_makes_no_burst_where_calls_may_ring_for_seconds() -> None:
    def first(*, site: bool) -> float:
        others = [calls(800, 0.65, slot=i, seed=i) for i in range(6)]
        engine = learnt(*others, site=site)
        return share_now(engine, slot=np.array([6]), ring_timeout=np.array([7.0]))

    assert first(site=True) >= first(site=False) > 0.3


# -- hours


@pytest.mark.parametrize(("ratio", "now"), [(1.8, 1.6), (0.5, 1.0)])
def test_a_rise_is_believed_at_once_and_a_fall_is_not(ratio: float, now: float) -> None:
    coming = Coming(np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.int64), np.ones(1))
    for of_cell in ({"coming": coming}, {}):  # the list, and the campaign as a whole
        engine = learnt(calls(900, 0.2, cell=1))
        usual = share_now(engine, **of_cell)
        turned = share_now(engine, turn=np.array([ratio]), **of_cell)
        assert turned / usual == pytest.approx(now, abs=0.2)


def test_a_fall_that_was_expected_needs_less_evidence() -> None:
    taken = []
    for expected in (False, True):
        ring = RingModel()
        ring.grow(1)
        ring.counts.forget(ring.counts.note(calls(900, 0.4)))
        if expected:
            ring.expect(np.array([0]), np.array([0.6]))
        number = 0
        while not ring.notice(np.array([0.2]), np.array([1.0]))[0][0]:
            number += 1
        taken.append(number)
    assert taken[1] < 0.7 * taken[0]
