"""The transition tables: total where they must be, final where they must be, loud otherwise."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialer.domain.agent import AGENT, AgentEvent, AgentState
from dialer.domain.call import CALL, CallState, CallStep
from dialer.domain.campaign import CAMPAIGN, CampaignState
from dialer.domain.lead import LEAD, LeadState
from dialer.domain.machine import IllegalTransition, Machine

pytestmark = pytest.mark.unit

MACHINES: list[tuple[Machine[Any, Any], type[Any], Any]] = [
    (AGENT, AgentState, AgentState.SIGNED_OUT),
    (CALL, CallState, CallState.INTENDED),
    (CAMPAIGN, CampaignState, CampaignState.DRAFT),
    (LEAD, LeadState, LeadState.NEW),
]


@pytest.mark.parametrize(("machine", "states", "start"), MACHINES)
def test_every_state_is_in_the_table_and_reachable(
    machine: Machine[Any, Any], states: type[Any], start: Any
) -> None:
    assert set(machine.table) == set(states)
    seen, todo = {start}, [start]
    while todo:
        for after in machine.table[todo.pop()].values():
            if after not in seen:
                seen.add(after)
                todo.append(after)
    assert seen == set(states)


def test_a_call_can_end_in_every_state_and_never_comes_back() -> None:
    for state in CallState:
        assert CALL.allows(state, CallStep.END) is (state is not CallState.ENDED)
    assert CALL.final() == {CallState.ENDED}


def test_a_signed_in_agent_can_always_lose_the_phone_or_leave() -> None:
    for state in AgentState:
        if state is AgentState.SIGNED_OUT:
            continue
        assert AGENT.next(state, AgentEvent.LOSE_LEG) is AgentState.LEG_LOST
        assert AGENT.next(state, AgentEvent.SIGN_OUT) is AgentState.SIGNED_OUT


@given(st.sampled_from(list(AgentState)), st.sampled_from(list(AgentEvent)))
def test_an_illegal_event_says_what_was_expected_and_what_came(
    state: AgentState, event: AgentEvent
) -> None:
    if AGENT.allows(state, event):
        assert isinstance(AGENT.next(state, event), AgentState)
        return
    with pytest.raises(IllegalTransition) as error:
        AGENT.next(state, event)
    assert event.value in str(error.value)
    assert state.value in str(error.value)
