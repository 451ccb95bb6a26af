"""The checker itself: a clean run passes, and each kind of harm is seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.lab.invariants import broken, hold
from tests.lab.records import (
    Attempt,
    Blocked,
    Bridge,
    Call,
    Evidence,
    Lead,
    Pop,
    Session,
    Stretch,
)

pytestmark = pytest.mark.unit

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
NUMBER = "+12025550001"


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def clean() -> Evidence:
    """Ann speaks with Pat, who was called at 1, answered at 5 and hung up at 30."""
    return Evidence(
        attempts=[
            Attempt(
                "a1", "client", "c", "l1", "pat", NUMBER, at(1), "ended_by_customer",
                answered_at=at(5), connected_at=at(5), ended_at=at(30),
            )
        ],
        calls=[
            Call("a1", NUMBER, at(1), at(5), at(30), bridges=(Bridge("ann", at(5), at(30)),))
        ],
        leads=[Lead("l1", "client", NUMBER, "done")],
        loaded=["l1"],
        stretches=[
            Stretch("ann", "s", "ready", at(0), at(5)),
            Stretch("ann", "s", "on_call", at(5), at(30)),
            Stretch("ann", "s", "wrap_up", at(30), at(40)),
        ],
        sessions=[Session("ann", "s", at(0), at(40))],
        pops=[Pop("ann", at(5), "a1", "pat")],
        received={"ann": [(1, 1), (1, 2), (1, 3), (2, 1)]},
        ledgers={"c": (1, 0)},
        max_attempts=2,
        delays={"ended_by_customer": 60.0},
        lawful=lambda number, when: when > NOON,
    )  # fmt: skip


def abandoned(*, waited: float = 3.0, outcome: str = "abandoned") -> Evidence:
    """Pat met nobody: hung up `waited` seconds after the answer."""
    e = clean()
    e.attempts = [
        replace(e.attempts[0], outcome=outcome, connected_at=None, ended_at=at(5 + waited))
    ]
    message = at(7) if waited >= 2.0 else None
    e.calls = [replace(e.calls[0], bridges=(), ended_at=at(5 + waited), message_at=message)]
    e.ledgers = {"c": (1, 1) if outcome == "abandoned" else (0, 0)}
    return e


def second_call(e: Evidence, start: float, *, person: str = "pat", lead: str = "l1") -> None:
    """The same number again, rung from `start` for five seconds."""
    e.attempts = [
        *e.attempts,
        replace(
            e.attempts[0], id="a2", person=person, lead=lead, intended_at=at(start),
            outcome="no_answer", answered_at=None, connected_at=None, ended_at=at(start + 5),
        ),
    ]  # fmt: skip
    e.calls = [*e.calls, Call("a2", NUMBER, at(start), ended_at=at(start + 5))]


def test_clean_runs_pass() -> None:
    hold(clean())
    hold(abandoned())
    hold(abandoned(waited=1.0, outcome="hung_up_waiting"))
    apart = clean()
    second_call(apart, 100)
    hold(apart)


def test_the_next_persons_record_is_not_held_against_a_short_conversation() -> None:
    """They part after milliseconds, and the next one is there within what clocks may differ."""
    e = clean()
    e.calls = [replace(e.calls[0], bridges=(Bridge("ann", at(5), at(5.005)),), ended_at=at(5.005))]
    e.pops = [*e.pops, Pop("ann", at(5.05), "a2", "sam")]
    hold(e)
    e.pops = [*e.pops[:1], Pop("ann", at(5.004), "a2", "sam")]
    assert "one_voice_one_record" in broken(e)
    e.pops = [Pop("ann", at(5.05), "a2", "sam")]
    assert "one_voice_one_record" in broken(e)


def test_whom_a_standing_asterisk_still_joins_is_not_heard() -> None:
    """Ann's node stands still from 10 on and is given up; elsewhere she speaks with Sam."""
    e = clean()
    e.attempts = [
        *e.attempts,
        replace(e.attempts[0], id="a2", lead="l2", person="sam", number="+1"),
    ]
    e.ledgers, e.pops, e.lawful = {}, [], None
    sam = replace(e.calls[0], id="a2", number="+1", bridges=(Bridge("ann", at(20), at(29.9)),))
    for stop, go, heard in ((10, 29.98, False), (10, 29, True), (25, 40, True)):
        e.calls = [replace(e.calls[0], stood_still=((at(stop), at(go)),)), sam]
        assert ("one_voice_one_record" in broken(e)) is heard, (stop, go)
    e.calls = [replace(e.calls[0], stood_still=()), sam]
    assert "one_voice_one_record" in broken(e)


def harm_1(e: Evidence, how: str) -> Evidence:
    match how:
        case "lost lead":
            e.leads = []
        case "held lead":
            e.leads = [replace(e.leads[0], state="hopper")]
        case "no outcome":
            e.attempts = [replace(e.attempts[0], outcome=None)]
        case "dialed twice":
            e.calls = [*e.calls, replace(e.calls[0], at=at(50), answered_at=None, bridges=())]
        case "dialed without a record":
            e.calls = [*e.calls, Call("x", "+12025550002", at(50), ended_at=at(51))]
        case "never dialed":
            e.calls = [replace(e.calls[0], id="a0")]
        case "expired and called":
            e.attempts = [replace(e.attempts[0], outcome="expired")]
        case "wrong outcome":
            e.attempts = [replace(e.attempts[0], outcome="busy")]
        case "met nobody":
            e.attempts = [replace(e.attempts[0], outcome="hung_up_waiting")]
        case "met and not written":
            e.attempts = [replace(e.attempts[0], connected_at=None)]
        case "by number":
            e.calls = [replace(e.calls[0], id=""), replace(e.calls[0], id="", at=at(50))]
    return e


def harm_2(e: Evidence, how: str) -> Evidence:
    match how:
        case "no verdict":
            e.attempts = [replace(e.attempts[0], allowed=False)]
        case "listed":
            e.blocked = [Blocked("client", NUMBER, at(0))]
        case "hours":
            e.lawful = lambda number, when: False
        case "too soon":
            second_call(e, 60)
        case "too often":
            second_call(e, 100)
            e.max_attempts = 1
        case "two at once":
            second_call(e, 20, person="sam", lead="l2")
    return e


def harm_3(e: Evidence, how: str) -> Evidence:
    match how:
        case "not counted":
            e = abandoned()
            e.attempts = [replace(e.attempts[0], outcome="hung_up_waiting")]
            e.ledgers = {"c": (0, 0)}
        case "counted for nothing":
            e = abandoned(waited=1.0)
        case "memory differs":
            e.ledgers = {"c": (1, 1)}
        case "message forgotten":
            e.calls = [replace(e.calls[0], message_at=at(5))]
    return e


def harm_4(e: Evidence, how: str) -> Evidence:
    match how:
        case "two people":
            e.attempts = [*e.attempts, replace(e.attempts[0], id="a2", person="sam", number="+1")]
            e.calls = [
                *e.calls,
                replace(e.calls[0], id="a2", number="+1", bridges=(Bridge("ann", at(20), at(30)),)),
            ]
            e.pops = [*e.pops, Pop("ann", at(20), "a2", "sam")]
        case "no record":
            e.pops = [Pop("bob", at(5), "a1", "pat")]
        case "wrong record":
            e.pops = [Pop("ann", at(5), "a1", "sam")]
        case "other call":
            e.pops = [*e.pops, Pop("ann", at(5), "a9", "sam")]
    return e


def harm_5(e: Evidence, how: str) -> Evidence:
    one, two, three = e.stretches
    match how:
        case "gap":
            e.stretches = [one, replace(two, until=at(29)), three]
        case "overlap":
            e.stretches = [one, replace(two, until=at(31)), three]
        case "missing end":
            e.stretches = [one, two]
    return e


def harm_6(e: Evidence, how: str) -> Evidence:
    numbers = {
        "gap": [(1, 1), (1, 3)],
        "twice": [(1, 1), (1, 1)],
        "order": [(1, 2), (1, 1)],
        "old owner": [(2, 1), (1, 2)],
        "new owner's first": [(1, 1), (2, 2)],
    }
    e.received = {"ann": numbers[how]}
    return e


def harm_7(e: Evidence, how: str) -> Evidence:
    match how:
        case "before":
            e.calls = [replace(e.calls[0], bridges=(Bridge("ann", at(8), at(30)),))]
            e.pops = [Pop("ann", at(8), "a1", "pat")]
        case "after":
            e.calls = [replace(e.calls[0], bridges=(Bridge("ann", at(5), at(20)),))]
        case "for ever":
            e.calls = [replace(e.calls[0], bridges=(Bridge("ann", at(5), at(20)),), ended_at=None)]
    return e


HARMS = {
    "nothing_lost_nothing_twice": (
        harm_1,
        [
            "lost lead", "held lead", "no outcome", "dialed twice", "dialed without a record",
            "never dialed", "expired and called", "wrong outcome", "met nobody",
            "met and not written", "by number",
        ],
    ),
    "within_the_rules": (
        harm_2, ["no verdict", "listed", "hours", "too soon", "too often", "two at once"]
    ),
    "ledger_is_the_records": (
        harm_3, ["not counted", "counted for nothing", "memory differs", "message forgotten"]
    ),
    "one_voice_one_record": (
        harm_4, ["two people", "no record", "wrong record", "other call"]
    ),
    "time_adds_up": (harm_5, ["gap", "overlap", "missing end"]),
    "everything_received_once": (
        harm_6, ["gap", "twice", "order", "old owner", "new owner's first"]
    ),
    "nobody_hears_silence": (harm_7, ["before", "after", "for ever"]),
}  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "how"), [(rule, how) for rule, (_, hows) in HARMS.items() for how in hows]
)
def test_each_harm_is_seen_by_its_rule(rule: str, how: str) -> None:
    harm, _ = HARMS[rule]
    evidence = harm(clean(), how)
    assert broken(evidence).get(rule), broken(evidence)
    with pytest.raises(AssertionError, match=rule):
        hold(evidence)
