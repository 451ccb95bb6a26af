"""The checkers that everything else is judged by can say no."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.bench.report import bucket_percentile, percentile
from tests.lab.evidence import Evidence, agent_time_adds_up
from tests.lab.public import PublicCall
from tests.lab.verdict import retries_kept, same_story, same_story_after_a_crash

pytestmark = pytest.mark.unit

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEG_A, LEG_B = "leg-aa-1-1", "leg-bb-1-2"


def record(n: int, outcome: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"c{n}", "number": "+1", "outcome": outcome, "answered_at": None,
        "connected_at": None, "ended_at": NOON.isoformat(), "agent_id": None, **fields,
    }  # fmt: skip


def met(n: int, agent: str = "aa", outcome: str = "ended_by_customer") -> dict[str, Any]:
    at = NOON.isoformat()
    return record(n, outcome, answered_at=at, connected_at=at, agent_id=agent)


def busy(at: float, end: float | None = None) -> PublicCall:
    return PublicCall(f"s{at}", "+1", at, ["REFUSED 486"], end or at)


TALK = PublicCall("t", "+1", 0.0, ["ANSWERED", "BYE_SENT"], 3.0, 2.5)


def test_records_and_calls_that_agree() -> None:
    same_story([record(1, "busy"), met(2)], [busy(-5.0), TALK])


@pytest.mark.parametrize(
    ("calls", "truth"),
    [
        ([record(1, "busy")], [busy(0.0), busy(1.0)]),  # called twice
        ([record(1, "busy")], []),  # never called
        ([], [busy(0.0)]),  # called by nobody
        ([record(1, "no_answer")], [busy(0.0)]),
        ([met(1, outcome="ended_by_agent")], [TALK]),
        ([{**met(1), "agent_id": None}], [TALK]),
        ([record(1, "abandoned", answered_at=NOON.isoformat())], [TALK]),  # left after 0 s
        ([{**record(1, "busy"), "outcome": None}], [busy(0.0)]),
    ],
)
def test_what_does_not_agree_is_seen(calls: list[dict[str, Any]], truth: list[PublicCall]) -> None:
    with pytest.raises(AssertionError):
        same_story(calls, truth)
    with pytest.raises(AssertionError):
        same_story_after_a_crash(calls, truth)


def test_byes_that_cross_are_judged_by_asterisk_too() -> None:
    by_agent = met(1, outcome="ended_by_agent")
    same_story_after_a_crash([by_agent], [TALK], ended_by_us={"c1"})
    with pytest.raises(AssertionError):
        same_story_after_a_crash([by_agent], [TALK], ended_by_us={"c2"})


@pytest.mark.parametrize(("outcome", "rang", "fine"), [
    ("cancelled", 0.1, True), ("cancelled", 4.0, False),
    ("no_answer", 0.1, True), ("no_answer", 4.0, True), ("busy", 0.1, False),
])  # fmt: skip
def test_one_that_was_put_down_at_once_was_cancelled(outcome: str, rang: float, fine: bool) -> None:
    seen = PublicCall("s", "+1", 1.0, ["CANCELLED"], 1.0 + rang)
    with contextlib.nullcontext() if fine else pytest.raises(AssertionError):
        same_story([record(1, outcome)], [seen])


def test_an_invite_to_which_nothing_was_said_is_congestion() -> None:
    silent = PublicCall("s", "+1", 1.0)
    same_story([record(1, "congestion")], [silent])
    with pytest.raises(AssertionError):
        same_story([record(1, "no_answer")], [silent])


def test_an_unknown_one_may_have_been_called_or_not() -> None:
    for truth in ([busy(0.0)], [busy(0.0), busy(1.0)]):
        assert same_story_after_a_crash([record(1, "unknown"), record(2, "busy")], truth) == 1
    with pytest.raises(AssertionError):
        same_story_after_a_crash(
            [record(1, "unknown"), record(2, "busy")], [busy(0.0), busy(1.0), busy(2.0)]
        )


@pytest.mark.parametrize(
    ("at", "fine"), [(12.0, True), (11.5, False), (18.0, False), (None, False)]
)
def test_a_retry_is_neither_early_nor_late_nor_forgotten(at: float | None, fine: bool) -> None:
    truth = [busy(0.0, 2.0)] + ([busy(at)] if at is not None else [])
    calls = [record(n, "busy") for n in range(len(truth))]

    def check() -> list[float]:
        rules = {"busy": {"delay": 10.0, "most": 1}}
        return retries_kept(calls, truth, rules=rules, max_attempts=3, slack=5.0)

    if fine:
        assert check() == [0.0]
    else:
        with pytest.raises(AssertionError):
            check()


def cel(tmp_path: Path, *rows: tuple[float, str, str, dict[str, str]]) -> Path:
    out = io.StringIO()
    for after, kind, channel, extra in rows:
        at = (NOON + timedelta(seconds=after)).timestamp()
        csv.writer(out).writerow([f"{at:.3f}", kind, channel, json.dumps(extra), ""])
    file = tmp_path / "cel.csv"
    file.write_text(out.getvalue())
    return file


def talk(
    n: int, leg: str, *, bridge: str, since: float, until: float
) -> list[tuple[float, str, str, dict[str, str]]]:
    inside = {"bridge_id": bridge, "bridge_technology": "simple_bridge"}
    return [
        (since, "CHAN_START", f"c{n}", {}),
        (since, "ANSWER", f"c{n}", {}),
        (since + 0.1, "BRIDGE_ENTER", f"c{n}", inside),
        (since + 0.1, "BRIDGE_ENTER", leg, inside),
        (until, "BRIDGE_EXIT", f"c{n}", inside),
        (until, "BRIDGE_EXIT", leg, inside),
        (until, "CHAN_END", f"c{n}", {}),
    ]


def test_evidence_that_agrees(tmp_path: Path) -> None:
    rows = [
        *talk(1, LEG_A, bridge="x", since=0, until=9),
        *talk(2, LEG_A, bridge="y", since=9.5, until=12),
        *talk(3, LEG_B, bridge="z", since=3, until=10),
        (20, "CHAN_START", "c4", {}),
        (20, "ANSWER", "c4", {}),
        (22, "DialerStage", "c4", {"extra": "message"}),
        (28, "CHAN_END", "c4", {}),
    ]
    gone = record(4, "abandoned", answered_at=NOON.isoformat())
    Evidence([cel(tmp_path, *rows)], [met(1), met(2), met(3, "bb"), gone]).check(window=2.0)


@pytest.mark.parametrize(
    ("rows", "calls"),
    [
        # two people at once
        (
            [
                *talk(1, LEG_A, bridge="x", since=0, until=9),
                *talk(2, LEG_A, bridge="y", since=5, until=12),
            ],
            [met(1), met(2)],
        ),
        # another agent than the records say
        (talk(1, LEG_B, bridge="x", since=0, until=9), [met(1, "aa")]),
        # met nobody by the records
        (
            talk(1, LEG_A, bridge="x", since=0, until=9),
            [record(1, "hung_up_waiting", answered_at=NOON.isoformat())],
        ),
        # called without a record; called although expired
        (talk(1, LEG_A, bridge="x", since=0, until=9), []),
        ([(0, "CHAN_START", "c1", {}), (1, "CHAN_END", "c1", {})], [record(1, "expired")]),
        # silence
        (
            [(0, "ANSWER", "c1", {}), (5, "CHAN_END", "c1", {})],
            [record(1, "abandoned", answered_at=NOON.isoformat())],
        ),
        # never called, and still there
        ([], [record(1, "busy")]),
        ([(0, "CHAN_START", "c1", {})], [record(1, "busy")]),
    ],
)
def test_evidence_that_does_not(
    rows: list[Any], calls: list[dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(AssertionError):
        Evidence([cel(tmp_path, *rows)], calls).check(window=2.0)


@pytest.mark.parametrize(("gap", "fine"), [(0, True), (1, False), (-1, False)])
def test_an_agents_time_has_no_gap_and_no_overlap(gap: int, fine: bool) -> None:
    middle = NOON + timedelta(seconds=60)
    rows = [
        {"session_id": 1, "state": "ready", "started_at": NOON, "ended_at": middle},
        {
            "session_id": 1, "state": "on_call", "started_at": middle + timedelta(seconds=gap),
            "ended_at": middle + timedelta(seconds=90),
        },
    ]  # fmt: skip
    if fine:
        agent_time_adds_up(rows)
    else:
        with pytest.raises(AssertionError):
            agent_time_adds_up(rows)


def test_percentiles() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, s) for s in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
    assert percentile([7.0], 0.99) == 7.0
    assert bucket_percentile([(0.1, 90), (0.2, 99), (float("inf"), 100)], 0.95) == 0.2
    for broken in (lambda: percentile([], 0.5), lambda: bucket_percentile([(1.0, 0)], 0.5)):
        with pytest.raises(ValueError):
            broken()
