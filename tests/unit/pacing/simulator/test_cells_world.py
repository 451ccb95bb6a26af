"""Lists over routes, hours and agents' numbers in a simulated centre: what is told is true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pacing.seen import Kind
from pacing.simulator import Campaign, Cell, Curve, PerFreeAgent, Scenario, run
from tests.unit.pacing.simulator.test_world import Recorder

pytestmark = pytest.mark.unit

CELLS = (
    Cell(1.5, Curve(((0.0, 0.75), (600.0, 0.25)))),
    Cell(0.5, Curve(((0.0, 0.25), (600.0, 0.75))), later=5.0),
)
TOLD = Scenario(
    agents=10, warm_up=0.0, duration=1200.0, campaigns=(Campaign(p=0.4, cells=CELLS),),
    tells=("cells", "agents"),
)  # fmt: skip


def test_cells_come_in_their_shares_and_answer_as_they_do() -> None:
    policy = Recorder(PerFreeAgent(2.0))
    run(TOLD, policy, seeds=range(4))
    kind, cell, slot, seconds = (
        np.concatenate([getattr(s, name) for s in policy.seen])
        for name in ("kind", "cell", "slot", "seconds")
    )
    placed, answered = kind == Kind.PLACED, kind == Kind.ANSWERED
    assert set(slot.tolist()) == {0, 3, 6, 9}
    assert set((cell[placed] - slot[placed]).tolist()) == {1, 2}
    first = placed & (cell - slot == 1)
    assert first.sum() / placed.sum() == pytest.approx(0.5, abs=0.06)
    for which, share in ((1, 0.6), (2, 0.2)):
        mine = cell - slot == which
        assert (answered & mine).sum() / (placed & mine).sum() == pytest.approx(share, abs=0.07)
    assert seconds[answered & (cell - slot == 2)].min() >= 5.0
    early, late = policy.inputs[10], policy.inputs[-1]
    assert early.coming.share.reshape(4, 2)[0] == pytest.approx([0.75, 0.25])
    assert late.coming.share.reshape(4, 2)[0] == pytest.approx([0.25, 0.75])
    for each in policy.inputs:
        assert (each.slot[each.ringing.row] < each.ringing_cell).all()
        assert len(each.talking_agent) == len(each.talking.row)


def test_what_is_not_told_changes_nothing() -> None:
    told, untold = (
        run(s, PerFreeAgent(2.0), seeds=range(3)) for s in (TOLD, replace(TOLD, tells=()))
    )
    assert np.array_equal(told.placed, untold.placed)
    assert np.array_equal(told.occupancy, untold.occupancy)


def test_hours_turn_once_and_agents_tell_their_own_ends() -> None:
    campaign = Campaign(hours=(1.0, 1.5, 0.5))
    hours = replace(
        TOLD, tells=("hours", "agents"), duration=7500.0, campaigns=(campaign,)
    )  # fmt: skip
    policy = Recorder(PerFreeAgent(1.0))
    run(hours, policy, seeds=[1])
    turns = [(n, float(i.turn[0])) for n, i in enumerate(policy.inputs) if i.turn[0] != 1.0]
    assert turns == [(3600, 1.5), (7200, pytest.approx(1 / 3))]
    seen = policy.seen
    ended = np.concatenate([s.agent[s.kind == Kind.TALK_ENDED] for s in seen if len(s.kind)])
    assert set(ended.tolist()) == set(range(10))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="expected cells, agents or hours"):
        Scenario(tells=("routes",))
    with pytest.raises(ValueError, match="got both"):
        Scenario(campaigns=(Campaign(cells=CELLS, lists=((0.0, 1.0),)),))
