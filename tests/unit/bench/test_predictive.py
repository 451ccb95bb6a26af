"""The predictive bench: the people are those of the simulator, and the figures are right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacing.simulator.fates import Fate, Fates
from tests.bench.predictive_report.measured import (
    Stretch,
    delays,
    heard,
    numbers_in,
    occupied,
    on_screens,
    recorded,
)
from tests.bench.predictive_report.people import CAMPAIGN, Person, draw
from tests.lab.drawn import (
    ANSWERS,
    BUSY,
    MOST,
    RINGS,
    STEP,
    drawn_number,
    drawn_scenario,
    index_of,
    seconds_of,
)
from tests.lab.public import PublicCall
from tests.lab.sounds import make_sounds

pytestmark = pytest.mark.unit

START = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)
OF = Stretch(START, START + timedelta(seconds=100), 1000.0, 1100.0)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@given(
    behaviour=st.sampled_from([ANSWERS, BUSY, RINGS]),
    seconds=st.floats(0, MOST),
    index=st.integers(0, 999_999),
)
def test_a_number_says_who_it_is_and_when_they_pick_up(
    behaviour: int, seconds: float, index: int
) -> None:
    number = drawn_number(behaviour, seconds, index)
    assert len(number) == 12 and number[3] == str(behaviour)
    assert abs(seconds_of(number) - seconds) <= STEP / 2 + 1e-9
    assert index_of(number) == index


@pytest.mark.parametrize(
    ("behaviour", "seconds", "index"), [(4, 1.0, 0), (1, -1.0, 0), (1, MOST + 1, 0), (1, 0, 10**6)]
)
def test_a_number_outside_the_plan_is_refused(behaviour: int, seconds: float, index: int) -> None:
    with pytest.raises(ValueError, match="expected a behaviour"):
        drawn_number(behaviour, seconds, index)


def test_the_scenario_can_be_read_and_every_wait_has_its_label() -> None:
    import xml.etree.ElementTree as ET

    scenario = ET.fromstring(drawn_scenario(make_sounds()))
    labels = {label.get("id") for label in scenario.iter("label")}
    wanted = {element.get(a) for element in scenario.iter() for a in ("next", "ontimeout")}
    assert wanted - {None} <= labels
    rings = [r for r in scenario.iter("recv") if r.get("ontimeout") in ("units", "due")]
    assert {r.get("next") for r in rings} == {"cancelled"}
    assert sorted(int(r.get("timeout", "0")) for r in rings) == sorted(
        round(d * step * 1000) for step in (STEP, 10 * STEP) for d in range(1, 10)
    )


def test_the_people_are_those_of_the_simulator() -> None:
    people = draw(1200, seed=5)
    _, fates = Fates([5], (CAMPAIGN,)).take(np.array([1200]))
    answered = [p.number[3] == str(ANSWERS) for p in people]
    assert answered == (fates[:, Fate.ANSWER] < CAMPAIGN.p_now).tolist()
    busy = [p.number[3] == str(BUSY) for p in people]
    assert busy == (fates[:, Fate.ANSWER] > 1 - CAMPAIGN.busy).tolist()
    rings = [seconds_of(p.number) for p in people if p.number[3] == str(ANSWERS)]
    asked = fates[fates[:, Fate.ANSWER] < CAMPAIGN.p_now, Fate.RING]
    assert abs(np.mean(rings) - asked.mean()) < 0.01
    assert [p.talk for p in people] == (CAMPAIGN.talk_now * fates[:, Fate.TALK]).tolist()
    assert [p.wrap for p in people] == fates[:, Fate.WRAP].tolist()


def test_time_outside_the_stretch_and_in_pauses_does_not_count() -> None:
    stretches = [
        (at(-10), at(20), "ready"), (at(20), at(21), "reserved"), (at(21), at(60), "on_call"),
        (at(60), at(70), "wrap_up"), (at(70), at(90), "paused"), (at(90), at(200), "ready"),
    ]  # fmt: skip
    assert occupied(stretches, OF.start, OF.end) == (50.0, 30.0)


def test_screens_count_as_the_records_do() -> None:
    states = [(980.0, "ready"), (1020.0, "on_call"), (1060.0, "wrap_up"), (1070.0, "paused"),
              (1090.0, "ready")]  # fmt: skip
    assert on_screens([states], OF) == pytest.approx(50 / 80)


def attempt(number: str, **times: Any) -> dict[str, Any]:
    names = ("intended_at", "sent_at", "ringing_at", "answered_at", "connected_at", "ended_at")
    row: dict[str, Any] = dict.fromkeys(names)
    return {"number": number, "id": number, "outcome": None, **row, **times}


def test_figures_of_the_records() -> None:
    rows = [
        attempt(
            "a", sent_at=at(1), answered_at=at(4), connected_at=at(5), outcome="ended_by_agent"
        ),
        attempt("b", sent_at=at(2), answered_at=at(5), outcome="abandoned"),
        attempt("c", sent_at=at(3), outcome="busy"),
        attempt("d", sent_at=at(-9), answered_at=at(-1), connected_at=at(1)),
        attempt("e", sent_at=at(98), answered_at=at(101), outcome="abandoned"),
    ]
    agents = [{"started_at": at(0), "ended_at": at(60), "state": "on_call"},
              {"started_at": at(60), "ended_at": at(100), "state": "ready"}]  # fmt: skip
    figures = recorded(rows, agents, OF)
    assert (figures.answers, figures.abandoned, figures.calls) == (3, 1, 4)
    assert figures.occupancy == pytest.approx(0.6)
    assert figures.idle == pytest.approx(20.0)
    assert figures.waited == pytest.approx(1.5)
    assert figures.abandon_rate == pytest.approx(1 / 3)
    assert figures.agents == pytest.approx(1.0)


def test_whom_nobody_met_is_told_by_sipp_and_the_screens() -> None:
    rows = [attempt("a", answered_at=at(1)), attempt("b", answered_at=at(2)),
            attempt("z", answered_at=at(-2))]  # fmt: skip
    truth = [PublicCall(n, n, 0.0, ["ANSWERED", "BYE_RECEIVED"]) for n in "abz"]
    truth.append(PublicCall("c", "c", 0.0, ["CANCELLED"]))
    assert heard(truth, frozenset("a"), within=numbers_in(rows, OF)) == (2, 1)


def test_what_the_real_system_needs_beyond_what_was_drawn() -> None:
    called = drawn_number(ANSWERS, 2.1, 0)
    row = attempt(
        called, intended_at=at(1), sent_at=at(1.01), ringing_at=at(1.03), answered_at=at(3.15),
        connected_at=at(3.16), ended_at=at(13.18), outcome="ended_by_agent",
    )  # fmt: skip
    found = delays([row], [Person(called, 10.0, 3.0)], {called: 3.005}, OF)
    assert found == pytest.approx(
        {
            "decided to sent": 0.01, "sent to ringing": 0.02, "sent to answered": 0.04,
            "talk": 0.02, "wrap-up": 0.005,
        }
    )  # fmt: skip
