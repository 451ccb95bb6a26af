"""Centres whose campaigns share agents: what policies are told, and what joint pacing is for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pacing.decision import Decision
from pacing.engine import Engine
from pacing.seen import Seen
from pacing.simulator import Campaign, Progressive, Scenario, run
from pacing.simulator.roster import skills
from pacing.simulator.shared import SHARED, Lent, merged
from pacing.state import PacingInput

pytestmark = pytest.mark.unit

PARTLY = replace(SHARED["partly shared"], duration=900.0)


class Watch:
    """Passes decisions on, and looks at what they were made of."""

    def __init__(self) -> None:
        self.engine, self.inputs = Engine(), list[PacingInput]()

    def decide(self, given: PacingInput, seen: Seen) -> Decision:
        self.inputs.append(given)
        return self.engine.decide(given, seen)


def test_every_agent_is_in_one_group_that_serves_what_they_serve() -> None:
    watch = Watch()
    run(PARTLY, watch, seeds=[1, 2])
    theirs = skills(PARTLY)
    count = np.tile([theirs.count(frozenset(s)) for s in ({0}, {0, 1}, {1})], 2)
    assert (np.abs(count - 10) <= 1).all()
    for given in watch.inputs[::100]:
        sharing = given.sharing
        pairs = set(zip(sharing.row.tolist(), sharing.group.tolist(), strict=True))
        assert pairs == {
            (2 * r + c, 3 * r + g) for r in (0, 1) for c, g in ((0, 0), (0, 1), (1, 1), (1, 2))
        }
        busy = np.concatenate([sharing.talking, sharing.wrapping])
        assert (sharing.free + np.bincount(busy, minlength=6) == count).all()
        assert sharing.free.sum() == given.agents_free.sum()  # each is lent once


def test_who_leaves_after_the_call_comes_back_to_no_group() -> None:
    from pacing.simulator import Curve

    leaving = replace(PARTLY, roster=Curve(((0.0, 30.0), (600.0, 6.0))))
    watch = Watch()
    run(leaving, watch, seeds=[1])
    after = watch.inputs[601].sharing
    assert (after.talking == -1).any()
    assert after.free.sum() + (after.talking >= 0).sum() + (after.wrapping >= 0).sum() == 6


def test_the_same_seed_gives_the_same_run_whatever_runs_beside_it() -> None:
    one = run(PARTLY, Engine(), seeds=[7])
    two = run(PARTLY, Engine(), seeds=[3, 7])
    for name in ("talk", "ready", "placed", "connected", "abandoned"):
        assert np.array_equal(getattr(one, name)[0], getattr(two, name)[1]), name


def test_a_policy_that_knows_nothing_of_sharing_is_as_if_it_was_not_told() -> None:
    told, untold = (run(PARTLY, p, seeds=[4]) for p in (Progressive(), Lent(Progressive())))
    assert np.array_equal(told.placed, untold.placed)


def test_joint_pacing_gives_every_campaign_its_part() -> None:
    """All agents in common: both campaigns get calls, and no fewer people talk than in one."""
    scenario = Scenario(
        agents=12, campaigns=(Campaign(), Campaign()), warm_up=300.0, duration=1800.0, endless=True
    )
    together = run(scenario, Engine(), seeds=range(4))
    lent = run(scenario, Lent(Engine()), seeds=range(4))
    one = run(merged(scenario), Engine(), seeds=range(4))
    answered = together.live.sum(axis=0)
    assert answered.min() > 0.35 * answered.sum()
    assert lent.live.sum(axis=0)[1] == 0  # the first campaign with leads has them all
    assert together.mean_occupancy() > one.mean_occupancy() - 0.04
    assert together.mean_abandon_rate() < 0.04
