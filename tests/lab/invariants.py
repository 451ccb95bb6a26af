"""The seven invariants of the design as one checker over plain records (`tests.lab.records`).

It knows nothing of how the records came about: the engine's tests fill them from the twin and the
store in memory, the lab's from SQL rows, CEL and SIPp's log. The network's side is the truth. Every
rule returns what broke it, as sentences that name the record; an empty list is a pass.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from itertools import pairwise

from tests.lab.records import (
    ANSWERED,
    CONNECTED,
    FREE,
    OPEN,
    UNDIALED,
    Attempt,
    Call,
    Evidence,
    Pop,
    Stretch,
)

_HELD = frozenset({"hopper", "dialing"})


def nothing_lost_nothing_twice(e: Evidence) -> list[str]:
    """1. No lead is lost, none is dialed twice by mistake, each attempt ends in one outcome."""
    wrong: list[str] = []
    ids = [a.id for a in e.attempts]
    wrong += [f"two attempts have the id {i}" for i in ids if ids.count(i) > 1]
    if e.loaded:
        have = {lead.id for lead in e.leads}
        wrong += [f"lead {i} is lost" for i in e.loaded if i not in have]
    if e.settled:
        wrong += [f"{a.id} has no outcome" for a in e.attempts if a.outcome is None]
        wrong += [f"lead {x.id} is held in {x.state}" for x in e.leads if x.state in _HELD]
    if e.calls and all(call.id for call in e.calls):
        wrong += _by_id(e)
    elif e.calls:
        wrong += _by_number(e)
    return wrong


def _by_id(e: Evidence) -> list[str]:
    wrong: list[str] = []
    calls: dict[str, list[Call]] = defaultdict(list)
    for call in e.calls:
        calls[call.id].append(call)
    known = {a.id: a for a in e.attempts}
    wrong += [f"call {i} has no attempt" for i in calls if i not in known]
    wrong += [f"{i} was dialed {len(c)} times" for i, c in calls.items() if len(c) > 1]
    for attempt in e.attempts:
        call = calls[attempt.id][0] if attempt.id in calls else None
        if attempt.outcome is None:
            continue
        if attempt.outcome in UNDIALED and call is not None:
            wrong.append(f"{attempt.id} was called and is {attempt.outcome}")
        elif call is None and attempt.outcome not in UNDIALED | OPEN:
            wrong.append(f"{attempt.id} was not called and is {attempt.outcome}")
        elif call is not None and attempt.outcome not in OPEN:
            wrong += _same_story(attempt, call)
    return wrong


def _same_story(attempt: Attempt, call: Call) -> list[str]:
    told = attempt.outcome
    if (told in ANSWERED) is not (call.answered_at is not None):
        return [f"{attempt.id} is {told}, answered at {call.answered_at}"]
    if (told in CONNECTED) is not bool(call.bridges):
        return [f"{attempt.id} is {told}, bridged: {call.bridges}"]
    if (told in CONNECTED) is not (attempt.connected_at is not None):
        return [f"{attempt.id} is {told}, connected at {attempt.connected_at}"]
    return []


def _by_number(e: Evidence) -> list[str]:
    seen: dict[str, int] = defaultdict(int)
    for call in e.calls:
        seen[call.number] += 1
    least: dict[str, int] = defaultdict(int)
    most: dict[str, int] = defaultdict(int)
    for attempt in e.attempts:
        most[attempt.number] += attempt.outcome not in UNDIALED
        least[attempt.number] += attempt.outcome not in UNDIALED | OPEN
    return [
        f"{n}: {seen[n]} calls for {least[n]} to {most[n]} attempts"
        for n in {*seen, *most}
        if not least[n] <= seen[n] <= most[n]
    ]


def within_the_rules(e: Evidence) -> list[str]:
    """2. No call is placed outside the rules, by any race."""
    wrong = [f"{a.id} has no Allow" for a in e.attempts if not a.allowed]
    listed = {(b.client, b.number): b.at for b in e.blocked}
    dialed = {call.id: call for call in e.calls if call.id}
    for attempt in e.attempts:
        at = listed.get((attempt.client, attempt.number))
        if at is not None and attempt.intended_at > at and attempt.outcome not in UNDIALED:
            wrong.append(f"{attempt.id} was intended after a do-not-call entry")
    if e.lawful is not None:
        wrong += [f"{c.id or c.number} at {c.at}" for c in e.calls if not e.lawful(c.number, c.at)]
    wrong += _one_call_at_a_time(e, dialed)
    by_lead: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in sorted(e.attempts, key=lambda a: a.intended_at):
        by_lead[attempt.lead].append(attempt)
    for lead, attempts in by_lead.items():
        counted = [a for a in attempts if a.outcome not in FREE and not a.by_hand]
        if e.max_attempts is not None and len(counted) > e.max_attempts:
            wrong.append(f"lead {lead} was tried {len(counted)} times")
        for before, after in pairwise(attempts):
            delay = e.delays.get(before.outcome or "", 0.0)
            if not delay or after.by_hand or before.ended_at is None:
                continue
            if after.intended_at < before.ended_at + timedelta(seconds=delay - e.slack):
                wrong.append(f"{after.id} came {after.intended_at - before.ended_at} after another")
    return wrong


def _one_call_at_a_time(e: Evidence, dialed: Mapping[str, Call]) -> list[str]:
    wrong: list[str] = []
    spans: dict[tuple[str, str], list[tuple[datetime, datetime, str]]] = defaultdict(list)
    for attempt in e.attempts:
        call = dialed.get(attempt.id)
        if call is not None and call.ended_at is not None:
            for subject in (attempt.person, attempt.number):
                spans[attempt.client, subject].append((call.at, call.ended_at, attempt.id))
    for subject, calls in spans.items():
        for one, two in _overlaps(calls):
            wrong.append(f"{subject[1]} was called twice at once: {one}, {two}")
    return wrong


def _overlaps(spans: Iterable[tuple[datetime, datetime, str]]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    ordered = sorted(spans)
    for before, after in pairwise(ordered):
        if after[0] < before[1]:
            found.append((before[2], after[2]))
    return found


def ledger_is_the_records(e: Evidence) -> list[str]:
    """3. The abandon ledger equals what the call records say."""
    wrong: list[str] = []
    calls = {call.id: call for call in e.calls if call.id}
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for attempt in e.attempts:
        call = calls.get(attempt.id)
        if call is not None and attempt.outcome is not None:
            truth = _abandoned(call, e)
            if truth is not None and truth is not attempt.abandoned:
                wrong.append(f"{attempt.id}: abandoned is {truth}, the ledger says {not truth}")
        counts[attempt.campaign][0] += attempt.abandoned or attempt.outcome in CONNECTED
        counts[attempt.campaign][1] += attempt.abandoned
    for campaign, (live, abandoned) in e.ledgers.items():
        if [live, abandoned] != counts[campaign]:
            wrong.append(f"{campaign}: counted {live}/{abandoned}, written {counts[campaign]}")
    return wrong


def _abandoned(call: Call, e: Evidence) -> bool | None:
    """What the network says; None on the edge of the window, where either is right."""
    if call.answered_at is None or call.machine:
        return False
    if call.message_at is not None:
        return True
    if call.bridges:
        return False
    if call.ended_by_us or call.ended_unseen or call.ended_at is None:
        return True
    waited = (call.ended_at - call.answered_at).total_seconds()
    return None if abs(waited - e.window) < e.slack else waited > e.window


def one_voice_one_record(e: Evidence) -> list[str]:
    """4. An agent is never bridged to two people, nor shown one's record with another's voice."""
    wrong: list[str] = []
    of_agent: dict[str, list[tuple[datetime, datetime, str]]] = defaultdict(list)
    person = {a.id: a.person for a in e.attempts}
    shown: dict[str, list[Pop]] = defaultdict(list)
    for pop in sorted(e.pops, key=lambda p: p.at):
        shown[pop.agent].append(pop)
    for call in e.calls:
        for bridge in call.bridges:
            until = bridge.until or call.ended_at or bridge.since
            of_agent[bridge.agent] += [
                (since, to, call.id) for since, to in _heard(bridge.since, until, call, e)
            ]
            if not e.pops:
                continue
            by = bridge.since + _seconds(e.slack)
            # Once they have parted, what comes up is the next person's.
            parted = bridge.until or call.ended_at or by
            seen = [
                p
                for p in shown[bridge.agent]
                if p.at <= by and (p.at < parted or p.call == call.id)
            ]
            if not seen or seen[-1].call != call.id:
                wrong.append(f"{bridge.agent} heard {call.id} and saw {seen[-1:]}")
            elif call.id in person and seen[-1].person != person[call.id]:
                wrong.append(f"{bridge.agent} saw {seen[-1].person} for {call.id}")
    for agent, spans in of_agent.items():
        wrong += [f"{agent} was with {a} and {b} at once" for a, b in _overlaps(spans)]
    return wrong


def _heard(
    since: datetime, until: datetime, call: Call, e: Evidence
) -> list[tuple[datetime, datetime]]:
    """The parts of a bridge's time in which there was a voice: none passes an Asterisk that stands
    still, and what it does in the moment in which it goes on belongs to that time."""
    parts = [(since, until)]
    for stop, go in call.stood_still:
        whole, parts = parts, []
        for since, until in whole:
            if not since < stop < until:
                parts.append((since, until))
                continue
            parts.append((since, stop))
            if until > go + _seconds(e.slack):
                parts.append((go, until))
    return parts


def time_adds_up(e: Evidence) -> list[str]:
    """5. The sum of an agent's state durations is the time signed in."""
    wrong: list[str] = []
    parts: dict[tuple[str, str], list[Stretch]] = defaultdict(list)
    for stretch in e.stretches:
        parts[stretch.agent, stretch.session].append(stretch)
    for key, stretches in parts.items():
        stretches.sort(key=lambda s: s.since)
        for before, after in pairwise(stretches):
            if after.since != before.until:
                wrong.append(f"{key}: {before.state} until {before.until}, next {after.since}")
    for session in e.sessions:
        total = sum(
            ((s.until - s.since) for s in parts[session.agent, session.session]), timedelta()
        )
        whole = session.until - session.since
        if total > whole + _seconds(e.slack) or (
            not session.cut and total < whole - _seconds(e.slack)
        ):
            wrong.append(f"{session.agent}: {total} of {whole} are accounted for")
    return wrong


def everything_received_once(e: Evidence) -> list[str]:
    """6. What a client could not receive it gets when it comes back, in order, once."""
    wrong: list[str] = []
    for who, numbers in e.received.items():
        for before, after in pairwise(numbers):
            follows = after[0] == before[0] and after[1] == before[1] + 1
            anew = after[0] > before[0] and after[1] == 1
            if not (follows or anew):
                wrong.append(f"{who}: {after} after {before}")
    return wrong


def nobody_hears_silence(e: Evidence) -> list[str]:
    """7. No answered person hears silence longer than the connect window, whatever is dead."""
    wrong: list[str] = []
    for call in e.calls:
        if call.answered_at is None:
            continue
        ends = [call.ended_at] if call.ended_at is not None else []
        sounds = [b.since for b in call.bridges]
        sounds += [call.message_at] if call.message_at is not None else []
        quiet = [(call.answered_at, e.window + (e.analysis if call.analysed else 0.0))]
        quiet += [(b.until, 0.0) for b in call.bridges if b.until is not None]
        for since, limit in quiet:
            later = [at for at in (*sounds, *ends) if at >= since]
            if not later:
                if e.settled:
                    wrong.append(f"{call.id or call.number} hears nothing since {since}")
            elif min(later) > since + _seconds(limit + e.slack):
                wrong.append(f"{call.id or call.number} heard nothing {since} to {min(later)}")
    return wrong


RULES: tuple[Callable[[Evidence], list[str]], ...] = (
    nothing_lost_nothing_twice,
    within_the_rules,
    ledger_is_the_records,
    one_voice_one_record,
    time_adds_up,
    everything_received_once,
    nobody_hears_silence,
)


def broken(evidence: Evidence) -> dict[str, list[str]]:
    """What each broken invariant says, by the rule's name."""
    found = {rule.__name__: rule(evidence) for rule in RULES}
    return {name: wrong for name, wrong in found.items() if wrong}


def hold(evidence: Evidence) -> None:
    """Raise AssertionError naming every record that breaks an invariant."""
    found = broken(evidence)
    lines = [f"{name}: {sentence}" for name, wrong in found.items() for sentence in wrong[:20]]
    assert not found, "\n".join(lines)


def _seconds(value: float) -> timedelta:
    return timedelta(seconds=value)
