"""Recorded calls gone through again: what is known of them stays, whatever the setting."""

from __future__ import annotations

import numpy as np
import pytest

from pacing.seen import Kind
from pacing.simulator.forecast import Setting
from pacing.simulator.replay import Recorded, replay
from pacing.state import Mode

pytestmark = pytest.mark.unit


def recorded(calls: int = 400, *, given_up: float = 0.0, seed: int = 3) -> Recorded:
    rng = np.random.default_rng(seed)
    luck = rng.random(calls)
    kind = np.select(
        [luck < 0.3, luck > 0.95], [int(Kind.ANSWERED), int(Kind.FAILED)], int(Kind.RANG_OUT)
    )
    seconds = np.select(
        [kind == int(Kind.ANSWERED), kind == int(Kind.FAILED)],
        [np.minimum(rng.lognormal(2.3, 0.4, calls), 24.0), 4.0],
        25.0,
    )
    gone = (rng.random(calls) < given_up) & (seconds > 12.0)
    kind, seconds = np.where(gone, int(Kind.CANCELLED), kind), np.where(gone, 12.0, seconds)
    spoke = kind == int(Kind.ANSWERED)
    talk = np.where(spoke, rng.lognormal(3.5, 0.6, calls), np.nan)
    return Recorded(kind.astype(np.int64), seconds, talk, np.where(spoke, 6.0, np.nan))


def test_each_recorded_call_is_placed_once_and_ends_as_it_did() -> None:
    calls = recorded()
    answers = int((calls.kind == int(Kind.ANSWERED)).sum())
    found = replay(
        calls, [Setting(mode=Mode.PROGRESSIVE), Setting(target_abandon=0.03)], agents=8, runs=3
    )
    for figures in found:
        assert (figures["calls"] == len(calls.kind)).all()
        assert (figures["answers"] == answers).all()
    slow, fast = found
    assert (slow["abandoned"] == 0).all()
    assert fast["occupancy"].mean() > slow["occupancy"].mean() + 0.05
    assert fast["finish"].mean() < slow["finish"].mean()


def test_a_replay_is_the_same_again_and_runs_differ_in_order_only() -> None:
    first = replay(recorded(200), [Setting()], agents=5, runs=2)[0]
    again = replay(recorded(200), [Setting()], agents=5, runs=2)[0]
    assert all((first[name] == again[name]).all() for name in first)
    assert first["finish"][0] != first["finish"][1]


def test_calls_that_were_given_up_go_on_as_others_of_their_age_did() -> None:
    calls = recorded(2000, given_up=0.5)
    gone = calls.kind == int(Kind.CANCELLED)
    assert gone.sum() > 300
    (found,) = replay(calls, [Setting(mode=Mode.PROGRESSIVE)], agents=60, runs=2)
    known = int((calls.kind == int(Kind.ANSWERED)).sum())
    more = found["answers"].mean() - known
    whole = recorded(2000)
    missing = int((whole.kind == int(Kind.ANSWERED)).sum()) - known
    assert more == pytest.approx(missing, abs=0.4 * missing + 5)


def test_nothing_recorded_or_nobody_there_is_an_error() -> None:
    nothing = Recorded(np.zeros(0, dtype=np.int64), *(np.zeros(0) for _ in range(3)))
    for calls, agents in ((nothing, 5), (recorded(10), 0)):
        with pytest.raises(ValueError, match="expected calls and agents"):
            replay(calls, [Setting()], agents=agents)
