"""The simulation of a forecast: how fine its clock is, and that a brisk campaign gets its due."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialer.forecasts import worker
from dialer.forecasts.worker import carry_out, tick_for
from pacing.seen import Kind
from pacing.simulator import Campaign, Spread
from pacing.state import Mode

pytestmark = pytest.mark.unit

TIMEOUT = 7.0


@given(rings=st.floats(0.1, 60.0), agents=st.integers(1, 2000))
def test_the_clock_is_fine_where_people_answer_fast(rings: float, agents: int) -> None:
    tick = tick_for(Campaign(ring=Spread(rings, 0.5)), agents)
    assert 0.5 <= tick <= 3.0
    assert tick <= 2.0 or agents > 40
    assert tick <= max(rings / 3.0, 0.5) + 1e-9


def test_usual_times_are_simulated_as_coarsely_as_before() -> None:
    assert tick_for(Campaign(), 20) == 2.0
    assert tick_for(Campaign(), 100) == 3.0


def brisk(rng: np.random.Generator) -> dict[str, list[float]]:
    """Six hundred calls of a campaign whose people answer after three seconds and talk for ten."""
    events: list[tuple[int, float]] = []
    for luck in rng.random(600):
        if luck < 0.35:
            events.append((int(Kind.ANSWERED), float(rng.uniform(1.5, 4.5))))
            events.append((int(Kind.PERSON), 0.0))
            events.append((int(Kind.TALK_ENDED), float(rng.gamma(3.0, 10.0 / 3))))
            events.append((int(Kind.WRAP_ENDED), float(rng.uniform(2.0, 4.0))))
        elif luck < 0.45:
            events.append((int(Kind.FAILED), 1.0))
        else:
            events.append((int(Kind.RANG_OUT), TIMEOUT))
    none = [0.0] * len(events)
    return {
        "kind": [kind for kind, _ in events], "seconds": [s for _, s in events],
        "signal": none, "became": none,
    }  # fmt: skip


def test_a_brisk_campaign_gets_the_clock_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a tick of 2 s, agents would be foretold to wait who do not."""
    setting = {
        "mode": int(Mode.PREDICTIVE), "target_abandon": 0.03, "dial_ratio": 1.0, "ratio_cap": 3.0,
    }  # fmt: skip
    job: dict[str, Any] = {
        "past": brisk(np.random.default_rng(3)),
        "ring_timeout": TIMEOUT, "connect_window": 2.0, "give_up_after": None, "leads": 100_000,
        "start": {
            "free": 2, "talking": [float(s) for s in range(15)], "wrapping": [0.5, 1.0, 2.0],
            "ringing": [0.5, 1.0, 1.5, 2.0, 4.0], "live": 200, "abandoned": 5,
            "windows": [[200, 5, 1.0]], "lines": None, "calls_per_second": None,
        },
        "settings": [setting, {**setting, "mode": int(Mode.PROGRESSIVE)}],
        "seconds": 300.0, "runs": 4,
    }  # fmt: skip
    found = carry_out(job)
    assert 0.3 < found["parameters"]["answer_share"] < 0.4
    monkeypatch.setattr(worker, "tick_for", lambda campaign, agents: 2.0)
    coarse = carry_out(job)
    for fine, rough in zip(found["futures"], coarse["futures"], strict=True):
        assert fine["occupancy"]["mean"] > rough["occupancy"]["mean"] + 0.01
