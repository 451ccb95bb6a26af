"""What an attempt was, and what follows: every way a call can end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialer.domain.call import FREE_OUTCOMES, Outcome
from dialer.domain.campaign import CampaignSettings, DispositionCode, RetryRule
from dialer.domain.lead import LeadState
from dialer.engine.outcomes import (
    Ending,
    after_attempt,
    after_disposition,
    counts_as_abandoned,
    outcome_of,
)
from telephony.events import CallEnd

pytestmark = pytest.mark.unit

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def ending(end: CallEnd, **changes: object) -> Ending:
    values: dict[str, object] = {
        "end": end,
        "answered": False,
        "connected": False,
        "agent_hung_up": False,
        "machine": False,
        "message_played": False,
        "waited": 0.0,
        "window": 2.0,
    }
    return Ending(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given_ending", "expected"),
    [
        (ending(CallEnd.BUSY), Outcome.BUSY),
        (ending(CallEnd.NO_ANSWER), Outcome.NO_ANSWER),
        (ending(CallEnd.INVALID_NUMBER), Outcome.INVALID_NUMBER),
        (ending(CallEnd.CONGESTION), Outcome.CONGESTION),
        (ending(CallEnd.UNKNOWN), Outcome.UNKNOWN),
        (
            ending(CallEnd.HUNG_UP_FAR, answered=True, connected=True),
            Outcome.ENDED_BY_CUSTOMER,
        ),
        (
            ending(CallEnd.HUNG_UP_NEAR, answered=True, connected=True, agent_hung_up=True),
            Outcome.ENDED_BY_AGENT,
        ),
        (  # both at once: the far end was first
            ending(CallEnd.HUNG_UP_FAR, answered=True, connected=True, agent_hung_up=True),
            Outcome.ENDED_BY_CUSTOMER,
        ),
        (  # a lost phone, a supervisor: our side
            ending(CallEnd.HUNG_UP_NEAR, answered=True, connected=True),
            Outcome.ENDED_BY_AGENT,
        ),
        (  # nobody saw the end: the agent's wish counts
            ending(CallEnd.UNKNOWN, answered=True, connected=True, agent_hung_up=True),
            Outcome.ENDED_BY_AGENT,
        ),
        (ending(CallEnd.HUNG_UP_FAR, answered=True, waited=1.0), Outcome.HUNG_UP_WAITING),
        (ending(CallEnd.HUNG_UP_FAR, answered=True, waited=2.0), Outcome.ABANDONED),
        (
            ending(CallEnd.HUNG_UP_FAR, answered=True, waited=1.9, message_played=True),
            Outcome.ABANDONED,
        ),
        (ending(CallEnd.HUNG_UP_NEAR, answered=True, waited=0.5), Outcome.ABANDONED),
        (ending(CallEnd.HUNG_UP_NEAR, answered=True, machine=True), Outcome.MACHINE),
        (ending(CallEnd.UNKNOWN, answered=True), Outcome.UNKNOWN),
    ],
)
def test_outcome(given_ending: Ending, expected: Outcome) -> None:
    assert outcome_of(given_ending) is expected


@given(
    st.sampled_from(list(CallEnd)),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.floats(0, 60),
)
def test_a_person_who_met_nobody_is_never_lost_from_the_ledger(
    end: CallEnd, answered: bool, connected: bool, machine: bool, message: bool, waited: float
) -> None:
    connected = connected and answered
    outcome = outcome_of(
        ending(
            end,
            answered=answered,
            connected=connected,
            machine=machine,
            message_played=message,
            waited=waited,
        )
    )
    abandoned = counts_as_abandoned(
        outcome, answered=answered, connected=connected, message=message and answered
    )
    if answered and not connected and not machine and end is not CallEnd.HUNG_UP_FAR:
        assert abandoned
    if connected and not message:
        assert not abandoned


@given(
    st.sampled_from(list(Outcome)),
    st.integers(0, 12),
    st.integers(0, 12),
)
def test_retries_are_bounded(outcome: Outcome, attempts: int, same: int) -> None:
    settings = CampaignSettings(max_attempts=6)
    step = after_attempt(
        outcome,
        settings=settings,
        attempts=attempts,
        outcome_counts={outcome.value: same},
        now=NOW,
    )
    if step.state is LeadState.RETRY:
        assert attempts + step.counts < settings.max_attempts
        assert same < settings.retries[outcome].most
        assert step.next_at is not None and step.next_at > NOW
    else:
        assert step.state is LeadState.DONE
    assert step.counts is (outcome not in FREE_OUTCOMES)


def test_the_campaigns_own_rule_counts() -> None:
    settings = CampaignSettings(retries={Outcome.BUSY: RetryRule(7, 1)})
    first = after_attempt(Outcome.BUSY, settings=settings, attempts=0, outcome_counts={}, now=NOW)
    assert first.next_at == NOW + timedelta(seconds=7)
    second = after_attempt(
        Outcome.BUSY, settings=settings, attempts=1, outcome_counts={"busy": 1}, now=NOW
    )
    assert second.state is LeadState.DONE


def test_a_conversation_is_never_redialed_without_a_disposition() -> None:
    for outcome in (Outcome.ENDED_BY_AGENT, Outcome.ENDED_BY_CUSTOMER):
        step = after_attempt(
            outcome, settings=CampaignSettings(), attempts=0, outcome_counts={}, now=NOW
        )
        assert step.state is LeadState.DONE


def test_dispositions() -> None:
    later = NOW + timedelta(days=1)
    never = DispositionCode("dnc", "Do not call", do_not_call=True, callback=True)
    assert after_disposition(never, now=NOW, callback_at=later).state is LeadState.BLOCKED
    again = DispositionCode("cb", "Call back", callback=True)
    assert after_disposition(again, now=NOW, callback_at=later).next_at == later
    retry = DispositionCode("na", "Not at home", final=False, retry_delay=60)
    assert after_disposition(retry, now=NOW, callback_at=None).next_at == NOW + timedelta(
        seconds=60
    )
    sale = DispositionCode("sale", "Sale", success=True)
    assert after_disposition(sale, now=NOW, callback_at=None).state is LeadState.DONE
