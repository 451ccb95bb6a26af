"""What the records say of a campaign's last calls, as the pacing engine would have seen it.

A dialer that takes a pool over, and a campaign that becomes predictive, do not begin from nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from uuid import UUID

import numpy as np

from dialer.domain.call import CONNECTED_OUTCOMES, UNDIALED_OUTCOMES, Outcome
from dialer.domain.campaign import CampaignSettings
from dialer.domain.work import HourCount, PastAttempt
from dialer.engine.observing import NOBODY, Event
from pacing.learning.hours import steps
from pacing.seen import Kind
from pacing.state import Floats, Signal

#: Somebody or something picked up.
_ANSWERED = CONNECTED_OUTCOMES | {
    Outcome.ABANDONED, Outcome.HUNG_UP_WAITING, Outcome.MACHINE, Outcome.FAX,
    Outcome.CALL_SCREENING, Outcome.MESSAGE_DELIVERED,
}  # fmt: skip
_UNTOLD = frozenset({Outcome.CANCELLED, Outcome.UNKNOWN, Outcome.EXPIRED})


def events_of(
    attempts: Iterable[PastAttempt],
    settings: CampaignSettings,
    *,
    slot: Callable[[str], int],
    cell: Callable[[PastAttempt], int] = lambda attempt: NOBODY,
    agent: Callable[[UUID | None], int] = lambda agent_id: NOBODY,
) -> list[Event]:
    """Of these attempts, oldest first. `slot`: by node; `cell`, `agent`: numbers, where lists and
    trunks, and agents, are told apart."""
    events: list[Event] = []
    for attempt in attempts:
        more = cell(attempt), agent(attempt.agent_id)
        events.extend((*e, *more) for e in _of(attempt, settings, slot(attempt.node)))
    return events


def answer_steps(counts: Iterable[HourCount]) -> Floats:
    """(24): by what ratio the answer rate changes as each hour of the day (UTC) begins."""
    calls: Counter[int] = Counter()
    answers: Counter[int] = Counter()
    for count in counts:
        hour, outcome = int(count.hour.timestamp()) // 3600, Outcome(count.outcome)
        if outcome not in UNDIALED_OUTCOMES:
            calls[hour] += count.attempts
        if outcome in _ANSWERED:
            answers[hour] += count.attempts
    hours = sorted(calls)
    return steps(
        np.array(hours, dtype=np.int64),
        np.array([calls[h] for h in hours], dtype=np.float64),
        np.array([answers[h] for h in hours], dtype=np.float64),
    )


def _of(
    attempt: PastAttempt, settings: CampaignSettings, slot: int
) -> Iterable[tuple[int, int, float, int, int]]:
    sent, ended = attempt.sent_at, attempt.ended_at
    signal = Signal.NONE
    if attempt.ringing_at is not None:
        yield int(Kind.PROGRESS), slot, _between(sent, attempt.ringing_at), 0, int(Signal.RINGING)
        signal = Signal.RINGING
    if attempt.answered_at is None:
        age = _between(sent, ended)
        yield int(_end(attempt.outcome, age, settings.ring_timeout)), slot, age, int(signal), 0
        return
    answered = attempt.answered_at
    yield int(Kind.ANSWERED), slot, _between(sent, answered), int(signal), 0
    if attempt.outcome is Outcome.MACHINE:
        yield int(Kind.MACHINE), slot, _between(answered, ended), int(signal), 0
        return
    # Without an agent there is no telling how long the analysis took.
    took = 0.0
    if settings.analyse and attempt.connected_at is not None:
        took = _between(answered, attempt.connected_at)
    if attempt.connected_at is not None or not settings.analyse:
        yield int(Kind.PERSON), slot, took, int(signal), 0
    if attempt.connected_at is not None:
        yield int(Kind.TALK_ENDED), slot, _between(attempt.connected_at, ended), int(signal), 0
    if attempt.wrap_up is not None:
        yield int(Kind.WRAP_ENDED), slot, max(attempt.wrap_up, 0.0), int(signal), 0


def _end(outcome: Outcome, age: float, timeout: float) -> Kind:
    if outcome in _UNTOLD:
        return Kind.CANCELLED
    if outcome is Outcome.NO_ANSWER and age >= timeout - 1.0:
        return Kind.RANG_OUT
    return Kind.FAILED


def _between(first: datetime, then: datetime) -> float:
    """Seconds; a calendar that was set back makes none negative."""
    return max((then - first).total_seconds(), 0.0)
