"""The simulated centre: repeatable, fair to all policies, and nothing gets lost in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pacing.decision import Decision
from pacing.seen import Kind, Seen
from pacing.simulator import Campaign, Curve, PerFreeAgent, Progressive, Ratio, Scenario, run
from pacing.simulator.experiment import Policy
from pacing.simulator.fates import Fates
from pacing.state import PacingInput

pytestmark = pytest.mark.unit

SMALL = Scenario(agents=10, warm_up=0.0, duration=1800.0)


class Recorder:
    """Passes decisions on and keeps what was seen."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.inputs: list[PacingInput] = []
        self.seen: list[Seen] = []

    def decide(self, given: PacingInput, seen: Seen) -> Decision:
        self.inputs.append(given)
        self.seen.append(seen)
        return self.policy.decide(given, seen)

    def count(self, kind: Kind) -> int:
        return sum(int((seen.kind == kind).sum()) for seen in self.seen)


def test_the_same_seeds_give_the_same_run_whatever_runs_beside_them() -> None:
    one = run(SMALL, Ratio(1.5), seeds=[7])
    many = run(SMALL, Ratio(1.5), seeds=[3, 7, 11])
    for name in ("talk", "wrap", "ready", "placed", "connected", "abandoned"):
        assert np.array_equal(getattr(one, name)[0], getattr(many, name)[1]), name
    assert not np.array_equal(many.talk[0], many.talk[1])


def test_a_call_has_the_same_fate_whenever_it_is_placed() -> None:
    slow, quick = Fates([5], SMALL.campaigns), Fates([5], SMALL.campaigns)
    one_by_one = np.concatenate([slow.take(np.array([1]))[1] for _ in range(1500)])
    at_once = np.concatenate([quick.take(np.array([n]))[1] for n in (700, 0, 13, 787)])
    assert np.array_equal(one_by_one, at_once)


def test_what_is_placed_ends_in_exactly_one_way() -> None:
    policy = Recorder(PerFreeAgent(3.0))
    done = run(SMALL, policy, seeds=range(5))
    ended = done.answered + done.failed + done.rang_out + done.cancelled
    met = done.connected + done.abandoned + done.gave_up
    assert np.array_equal(done.placed, ended - done.answered + met + done.left_over)
    assert done.abandoned.sum() > 0
    # The policy saw what was counted, but for the last tick: nothing is decided after it.
    assert 0 <= done.connected.sum() - policy.count(Kind.CONNECTED) <= 10
    assert policy.count(Kind.TALK_ENDED) <= done.connected.sum()


def test_agents_time_adds_up() -> None:
    done = run(SMALL, PerFreeAgent(2.0), seeds=range(5))
    assert done.talk + done.wrap + done.ready == pytest.approx(np.full(5, 18_000.0))


def test_progressive_idle_time_is_the_closed_form() -> None:
    campaign = Campaign()
    scenario = Scenario(agents=100, warm_up=600.0, duration=2700.0)
    idle = float(run(scenario, Progressive(), seeds=range(6)).idle.mean())
    drawn = Fates(range(20), [campaign])._drawn
    ring, fail = drawn[..., 1].mean(), drawn[..., 2].mean()
    failed = (campaign.busy * fail + (0.7 - campaign.busy) * campaign.timeout) / 0.7
    # A call is placed at the next tick; half a tick later on average, but for those that rang out
    # (at a tick) before it.
    wanted = (1 / 0.3 - 1) * failed + ring + 1.0 / 2 * (1 + campaign.busy / 0.3)
    assert idle == pytest.approx(wanted, rel=0.025)


def test_no_policy_can_see_the_future() -> None:
    """Worlds that differ from some moment on look the same until then."""
    jump = replace(SMALL.campaigns[0], p=Curve(((0.0, 0.3), (900.0, 0.6))))
    plain, jumping = Recorder(PerFreeAgent(2.0)), Recorder(PerFreeAgent(2.0))
    run(SMALL, plain, seeds=[1])
    run(replace(SMALL, campaigns=(jump,)), jumping, seeds=[1])
    pairs = zip(plain.inputs, jumping.inputs, plain.seen, jumping.seen, strict=True)
    same = [
        all(
            np.array_equal(x, y)
            for x, y in (
                (one.ringing.seconds, other.ringing.seconds),
                (one.talking.seconds, other.talking.seconds),
                (one.wrapping.seconds, other.wrapping.seconds),
                (one.agents_free, other.agents_free),
                (seen.seconds, told.seconds),
            )
        )
        for one, other, seen, told in pairs
    ]
    assert all(same[:901])
    assert not all(same[901:])
    assert all((given.ringing.seconds >= 0).all() for given in plain.inputs)
