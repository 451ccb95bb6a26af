"""From what the network and the dialplan said to what the attempt was, and what follows from it.

Pure. The order of the questions matters: a call that an agent spoke on was a conversation whatever
its causes say; a person who met nobody within the connect window was abandoned whoever hung up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from dialer.domain.call import FREE_OUTCOMES, Outcome
from dialer.domain.campaign import CampaignSettings, DispositionCode
from dialer.domain.lead import LeadState
from telephony.events import CallEnd, CallEnded

_UNANSWERED = {
    CallEnd.BUSY: Outcome.BUSY,
    CallEnd.NO_ANSWER: Outcome.NO_ANSWER,
    CallEnd.REJECTED: Outcome.REJECTED,
    CallEnd.INVALID_NUMBER: Outcome.INVALID_NUMBER,
    CallEnd.CONGESTION: Outcome.CONGESTION,
    CallEnd.SILENT: Outcome.CONGESTION,  # the trunk's failure: it costs the lead no attempt
    CallEnd.CANCELLED: Outcome.CANCELLED,
    CallEnd.REDIRECTED: Outcome.REJECTED,  # the number sends callers elsewhere: not followed
    CallEnd.FAILED: Outcome.FAILED,
    CallEnd.UNKNOWN: Outcome.UNKNOWN,
    CallEnd.HUNG_UP_FAR: Outcome.FAILED,
    CallEnd.HUNG_UP_NEAR: Outcome.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class Ending:
    """All that decides an attempt's outcome. `waited`: seconds from answer to the end."""

    end: CallEnd
    answered: bool
    connected: bool
    agent_hung_up: bool
    machine: bool
    message_played: bool
    waited: float
    window: float
    manual: bool = False  # preview and manual calls: the agent was there from the start


def outcome_of(ending: Ending) -> Outcome:
    """The one outcome of an attempt."""
    if ending.connected:
        return Outcome.ENDED_BY_AGENT if ended_by_us(ending) else Outcome.ENDED_BY_CUSTOMER
    if not ending.answered:
        return _UNANSWERED[ending.end]
    if ending.machine:
        return Outcome.MACHINE
    if ending.end is CallEnd.UNKNOWN:
        return Outcome.UNKNOWN  # the abandon ledger counts it: answered and nobody there
    if ending.message_played or ending.waited >= ending.window:
        return Outcome.ABANDONED
    if ending.end is CallEnd.HUNG_UP_FAR:
        return Outcome.HUNG_UP_WAITING
    # Our side ended an answered call before its message: the person met nobody.
    return Outcome.ABANDONED


def inferred(event: CallEnded) -> bool:
    """Nobody heard how the call ended: it vanished, or was said to have failed without a channel
    (what there was of one may be on its way, on a link that stands still and is not known to)."""
    return event.end is CallEnd.UNKNOWN or (event.end is CallEnd.FAILED and not event.cause)


def ended_by_us(ending: Ending) -> bool:
    """Whose hang-up ended a conversation: the network knows best; where it does not say (nobody
    saw the end), the agent's wish counts."""
    if ending.end is CallEnd.HUNG_UP_FAR:
        return False
    return ending.end is CallEnd.HUNG_UP_NEAR or ending.agent_hung_up


def counts_as_abandoned(
    outcome: Outcome, *, answered: bool, connected: bool, message: bool
) -> bool:
    """Whether the abandon ledger counts this attempt (design.md decision 3, rules.md)."""
    if outcome is Outcome.ABANDONED or message:
        return True
    return outcome is Outcome.UNKNOWN and answered and not connected


@dataclass(frozen=True, slots=True)
class NextStep:
    """Where the lead goes after an attempt."""

    state: LeadState
    next_at: datetime | None
    counts: bool
    reason: str


def after_attempt(
    outcome: Outcome,
    *,
    settings: CampaignSettings,
    attempts: int,
    outcome_counts: Mapping[str, int],
    now: datetime,
    rest: float = 0.0,
    rule_of: Outcome | None = None,
) -> NextStep:
    """The campaign's retry rules. `attempts` and `outcome_counts` are those *before* this one;
    `rest`: seconds in which this call may still reach the phone, whatever the rules. `rule_of`:
    the outcome whose rule holds, where that is another one."""
    counts = outcome not in FREE_OUTCOMES
    if outcome in (Outcome.ENDED_BY_AGENT, Outcome.ENDED_BY_CUSTOMER):
        # Done until the agent's disposition says otherwise: a crash in wrap-up calls nobody again.
        return NextStep(LeadState.DONE, None, counts, "conversation")
    rule = settings.retries.get(rule_of or outcome)
    if rule is None:
        return NextStep(LeadState.DONE, None, counts, outcome.value)
    if attempts + (1 if counts else 0) >= settings.max_attempts:
        return NextStep(LeadState.DONE, None, counts, "max_attempts")
    if outcome_counts.get(outcome.value, 0) >= rule.most:
        return NextStep(LeadState.DONE, None, counts, f"{outcome.value}_limit")
    delay = max(rule.delay, rest, settings.min_gap if counts else 0.0)
    return NextStep(LeadState.RETRY, now + timedelta(seconds=delay), counts, outcome.value)


def after_disposition(
    code: DispositionCode, *, now: datetime, callback_at: datetime | None
) -> NextStep:
    """What an agent's choice means for the lead."""
    if code.do_not_call:
        return NextStep(LeadState.BLOCKED, None, False, "do_not_call")
    if code.callback and callback_at is not None:
        return NextStep(LeadState.CALLBACK, callback_at, False, code.code)
    if code.final:
        return NextStep(LeadState.DONE, None, False, code.code)
    return NextStep(LeadState.RETRY, now + timedelta(seconds=code.retry_delay), False, code.code)
