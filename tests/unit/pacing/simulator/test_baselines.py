"""The rules to compare with do what their descriptions say."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from pacing.seen import Kind, Seen
from pacing.simulator import Campaign, Ratio, Scenario, run
from pacing.simulator.clairvoyant import Clairvoyant
from pacing.simulator.marginal import Marginal
from pacing.simulator.odds import Ringing, grid
from pacing.simulator.vicidial import Vicidial
from pacing.state import PacingInput, Ragged
from tests.unit.pacing.test_pace import rows

pytestmark = pytest.mark.unit

SHORT = Scenario(agents=10, warm_up=300.0, duration=1800.0)


def test_more_calls_per_agent_mean_less_waiting_and_more_abandons() -> None:
    few, many = (run(replace(SHORT, cap=1.0), Ratio(r), seeds=range(3)) for r in (1.2, 3.0))
    assert many.mean_occupancy() > few.mean_occupancy() + 0.1
    assert many.mean_abandon_rate() > few.mean_abandon_rate()


def exhaustive(agents: int, lands: list[float], share: list[float]) -> float:
    """Chance-weighted number of landings that find no agent, by trying every combination.
    `lands`: chance of each call to have landed; `share`: to land just then."""
    lost = 0.0
    for i, now in enumerate(share):
        others = lands[:i] + lands[i + 1 :]
        for luck in itertools.product((0, 1), repeat=len(others)):
            chance = np.prod([p if x else 1 - p for p, x in zip(others, luck, strict=True)])
            lost += now * float(chance) * (sum(luck) >= agents)
    return lost


def test_the_marginal_abandon_is_that_of_trying_every_combination() -> None:
    policy, campaign = Marginal(known=True), Campaign()
    given = rows(1, mode=[4], agents_free=[2], in_flight=[3])
    ages = [3.0, 7.0, 12.0]
    given = replace(given, ringing=Ragged(np.zeros(3, dtype=np.int64), np.array(ages)))
    policy.decide(given, Seen())
    tables = policy._tables
    assert tables is not None
    found = tables.marginal(given, np.array([0.3]), np.array([120.0]))[0]
    level = float(np.rint(np.log(0.3) / np.log(1.10)))
    p = 1.10**level
    odds = Ringing(campaign, p, grid(2, 25.0), 0.0, 1.0)

    def expected(new: int) -> float:
        which = [int(age) for age in ages] + [0] * new
        return sum(
            exhaustive(2, odds.by[which, h].tolist(), odds.within[which, h].tolist())
            for h in range(odds.by.shape[1])
        )

    wanted = [(expected(k + 1) - expected(k)) / p for k in range(3)]
    assert found[:3] == pytest.approx(wanted, rel=1e-3, abs=1e-5)


def test_the_marginal_policy_beats_the_ratio_within_the_cap() -> None:
    centre = replace(SHORT, agents=20)
    done = run(centre, Marginal(), seeds=range(2))
    assert done.mean_occupancy() > 0.83
    assert done.mean_abandon_rate() < 0.05


def test_its_budget_moves_theta_with_every_answer() -> None:
    policy = Marginal()
    given = rows(2, mode=[4, 4], agents_free=[1, 1])
    policy.decide(given, Seen())
    before = policy._log_theta.copy()
    kinds = np.array([Kind.CONNECTED, Kind.ABANDONED])
    policy.decide(given, Seen(kinds, np.array([0, 1]), np.zeros(2), np.zeros(2, dtype=np.int64)))
    moved = policy._log_theta - before
    assert moved == pytest.approx([0.05 * 0.03, 0.05 * (0.03 - 1)])


def ready(n: int) -> PacingInput:
    return rows(1, mode=[4], agents_free=[n])


def test_vicidial_raises_its_level_while_agents_wait_and_stops_at_its_limit() -> None:
    policy = Vicidial()
    placed = [int(policy.decide(ready(4), Seen()).calls[0]) for _ in range(121)]
    assert max(placed[:14]) == 4
    assert placed[1:5].count(0) >= 2  # every 2.5 s only
    assert max(placed) == 12


def test_vicidial_falls_back_to_one_over_the_cap() -> None:
    policy = Vicidial()
    for _ in range(60):
        policy.decide(ready(4), Seen())
    kinds = np.array([Kind.PLACED] * 60 + [Kind.CONNECTED] * 15 + [Kind.ABANDONED])
    zeros = np.zeros(len(kinds), dtype=np.int64)
    policy.decide(ready(4), Seen(kinds, zeros, zeros.astype(np.float64), zeros))
    placed = [int(policy.decide(ready(4), Seen()).calls[0]) for _ in range(40)]
    assert max(placed[20:]) == 4


def test_who_knows_the_future_wastes_none_of_it() -> None:
    done = run(replace(SHORT, duration=900.0), Clairvoyant(), seeds=range(2))
    assert done.mean_occupancy() > 0.985
    assert done.abandoned.sum() == 0
