"""The calls of a pool: each switch event moves one call, and its last one writes the outcome.

Events of one call come in order (telephony sees to that). What happens here happens in the moment
of the event: nothing on these paths waits for the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from dialer.domain.agent import AgentEvent, AgentState
from dialer.domain.call import CallState, CallStep, Outcome
from dialer.domain.campaign import CampaignSettings, DialMode
from dialer.domain.lead import LeadState
from dialer.domain.work import (
    AttemptUpdate,
    Conversation,
    DoNotCall,
    LeadMove,
    RecordingWrite,
    Write,
)
from dialer.engine.agents import AgentDesk, Post
from dialer.engine.outcomes import Ending, after_attempt, counts_as_abandoned, outcome_of
from dialer.engine.router import Router
from dialer.engine.state import Agent, Call, Campaign, Met
from telephony.clock import Clock
from telephony.events import (
    CallAnswered,
    CallBridged,
    CallEnd,
    CallEnded,
    CallProgress,
    CallStaged,
    CallStarted,
    CallUnbridged,
    Progress,
    RecordingEnded,
    Stage,
)

log = structlog.get_logger(__name__)

_MANUAL = frozenset({DialMode.PREVIEW, DialMode.MANUAL})


class CallDesk:
    """All live calls by their switch key."""

    def __init__(
        self,
        *,
        campaigns: Mapping[UUID, Campaign],
        desk: AgentDesk,
        router: Router,
        put: Callable[[Write], None],
        post: Post,
        clock: Clock,
        concluded: Callable[[Call, Outcome, CallEnded], None],
        do_not_call: Callable[[UUID, str], object],
    ) -> None:
        self._campaigns, self._desk, self._router = campaigns, desk, router
        self._put, self._post, self._clock = put, post, clock
        self._concluded, self._do_not_call = concluded, do_not_call
        self.calls: dict[str, Call] = {}
        self._ended: dict[str, Call] = {}  # for recordings that close after the call

    def add(self, call: Call) -> None:
        self.calls[call.key] = call

    def get(self, call_id: str) -> Call | None:
        return self.calls.get(call_id)

    def of_campaign(self, campaign_id: UUID) -> list[Call]:
        return [c for c in self.calls.values() if c.campaign_id == campaign_id]

    # -- events -----------------------------------------------------------------------------------

    def started(self, event: CallStarted) -> None:
        call = self.calls.get(event.call_id)
        if call is not None and call.state is CallState.INTENDED:
            call.step(CallStep.SEND)

    def progress(self, event: CallProgress) -> None:
        call = self.calls.get(event.call_id)
        if call is None:
            return
        call.progress = event.progress
        if call.state is CallState.INTENDED:
            call.step(CallStep.SEND)
        if event.progress is not Progress.TRYING and call.state is CallState.SENT:
            call.step(CallStep.RING)
            self._put(AttemptUpdate(call.id, call.intended_at, ringing_at=self._clock.now()))

    def answered(self, event: CallAnswered) -> None:
        """The moment everything is about: route first, write afterwards."""
        call = self.calls.get(event.call_id)
        if call is None or call.answered:
            return
        if call.state is CallState.INTENDED:
            call.step(CallStep.SEND)
        call.step(CallStep.ANSWER)
        call.answered = event.at
        call.answered_at = self._clock.now()
        campaign = self._campaigns.get(call.campaign_id)
        if campaign is not None and campaign.view.settings.analyse and call.mode not in _MANUAL:
            call.step(CallStep.ANALYSE)
        else:
            self._router.person(call)
        self._put(AttemptUpdate(call.id, call.intended_at, answered_at=call.answered_at))

    def staged(self, event: CallStaged) -> None:
        call = self.calls.get(event.call_id)
        if call is None:
            return
        if event.stage is Stage.HUMAN and call.state is CallState.ANALYSING:
            self._router.person(call)
        elif event.stage is Stage.MACHINE and call.state is CallState.ANALYSING:
            call.machine = True
        elif event.stage is Stage.MESSAGE:
            call.message_played = True
            self._router.forget(call)
            if call.state is not CallState.CONNECTING:
                call.step(CallStep.PLAY)
            self._put(AttemptUpdate(call.id, call.intended_at, message_played=True))
        elif event.stage is Stage.OPT_OUT:
            self.opt_out(call)

    def opt_out(self, call: Call) -> None:
        """The person pressed the key: never again, in every queue."""
        self._put(
            DoNotCall(
                call.client_id,
                call.number,
                call.customer_id,
                "client",
                "opt_out_key",
                self._clock.now(),
            )
        )
        self._do_not_call(call.client_id, call.number)

    def bridged(self, event: CallBridged) -> None:
        call = self.calls.get(event.call_id)
        agent = self._desk.by_leg(event.leg_id)
        if call is None or agent is None:
            return
        if call.agent_id != agent.id or call.connected:
            return
        now = self._clock.now()
        call.step(CallStep.CONNECT)
        call.connected, call.connected_at = event.at, now
        agent.leg_parked = False
        self._desk.move(agent, AgentEvent.CONNECT, campaign_id=call.campaign_id)
        self._router.connected(call)
        self._tell(agent, call, "connected")
        self._put(AttemptUpdate(call.id, call.intended_at, connected_at=now, agent_id=agent.id))

    def unbridged(self, event: CallUnbridged) -> None:
        call = self.calls.get(event.call_id)
        if call is not None and call.state is CallState.CONNECTED:
            # Whoever left, a person is not left alone on the line.
            self._router.hang_up(call)

    def leg_lost(self, agent: Agent) -> None:
        """The agent's phone is gone: their person must not stay in silence."""
        call = agent.call
        if call is None:
            return
        if call.state is CallState.CONNECTING:
            self._router.give_back(call)
        elif call.state is not CallState.ENDED:
            self._router.hang_up(call)

    def ended(self, event: CallEnded) -> None:
        call = self.calls.pop(event.call_id, None)
        if call is None:
            return
        self._router.forget(call)
        # When it happened, not when it is told: after a crash that is some while ago.
        now = self._clock.now() - timedelta(seconds=self._clock.monotonic() - event.at)
        if event.answered and not call.answered:
            call.answered, call.answered_at = event.at, now
        settings = self._settings(call)
        outcome = outcome_of(
            Ending(
                end=event.end,
                answered=bool(call.answered),
                connected=bool(call.connected),
                agent_hung_up=call.agent_hung_up,
                machine=call.machine,
                message_played=call.message_played,
                waited=event.at - call.answered if call.answered else 0.0,
                window=settings.connect_window,
                manual=call.mode in _MANUAL,
            )
        )
        call.step(CallStep.END)
        self._put(
            AttemptUpdate(
                call.id,
                call.intended_at,
                answered_at=call.answered_at,
                ended_at=now,
                outcome=outcome,
                cause=event.cause,
                tech_cause=event.tech_cause,
            )
        )
        self._lead_after(call, outcome)
        self._agent_after(call, outcome, now)
        if call.connected:
            self._ended[call.key] = call
            if call.adopted and settings.record:  # the switch does not know that it is recorded
                self._recorded(call, call.node, call.recording)
            asyncio.get_running_loop().call_later(60.0, self._ended.pop, call.key, None)
        self._count(call, outcome)
        self._remember(call, outcome, now, until=event.at)
        self._concluded(call, outcome, event)

    def refused(self, call: Call, *, expired: bool) -> None:
        """The Originate did not leave (or was refused): nobody was called."""
        if self.calls.pop(call.key, None) is None:
            return
        outcome = Outcome.EXPIRED if expired else Outcome.FAILED
        call.step(CallStep.END)
        now = self._clock.now()
        self._put(AttemptUpdate(call.id, call.intended_at, ended_at=now, outcome=outcome))
        self._lead_after(call, outcome)
        self._agent_after(call, outcome, now)
        self._count(call, outcome)

    def recording_ended(self, event: RecordingEnded) -> None:
        call = self.calls.get(event.call_id) or self._ended.pop(event.call_id, None)
        if call is not None:
            self._recorded(call, event.node, event.path)

    def _recorded(self, call: Call, node: str, path: str) -> None:
        self._put(
            RecordingWrite(
                call.id,
                call.intended_at,
                call.client_id,
                call.campaign_id,
                node,
                path,
                self._clock.now(),
            )
        )

    # -- what follows -----------------------------------------------------------------------------

    def _settings(self, call: Call) -> CampaignSettings:
        campaign = self._campaigns.get(call.campaign_id)
        return campaign.view.settings if campaign is not None else CampaignSettings()

    def _lead_after(self, call: Call, outcome: Outcome) -> None:
        step = after_attempt(
            outcome,
            settings=self._settings(call),
            attempts=call.attempts_before,
            outcome_counts=call.outcomes_before,
            now=self._clock.now(),
        )
        self._put(
            LeadMove(
                call.lead_id,
                step.state,
                next_at=step.next_at,
                outcome=outcome,
                counts_attempt=step.counts,
                reason=step.reason,
                callback_agent=(
                    call.lead.callback_agent
                    if call.lead is not None and step.state is LeadState.RETRY
                    else None
                ),
            )
        )

    def _agent_after(self, call: Call, outcome: Outcome, now: datetime) -> None:
        agent = self._desk.agents.get(call.agent_id) if call.agent_id is not None else None
        if agent is None:
            return
        by = "agent" if outcome is Outcome.ENDED_BY_AGENT else "customer"
        if call.connected and call.connected_at is not None:
            self._put(
                Conversation(
                    call.id,
                    call.intended_at,
                    call.client_id,
                    call.campaign_id,
                    call.customer_id,
                    call.lead_id,
                    agent.id,
                    call.connected_at,
                    now,
                    by,
                )
            )
        if agent.call is not call:
            return
        self._post(
            f"agent:{agent.id}",
            "call_ended",
            {"call_id": call.key, "outcome": outcome.value, "by": by},
        )
        talked = agent.state is AgentState.RESERVED and bool(call.connected)  # seen by records only
        if talked or agent.state in (AgentState.ON_CALL, AgentState.CONSULTING):
            agent.call, agent.last_call, agent.disposed = None, call, False
            self._desk.move(agent, AgentEvent.CALL_ENDED, campaign_id=call.campaign_id)
            self._start_wrap_up(agent, call)
        elif agent.state is AgentState.DIALING:
            agent.call, agent.last_call, agent.disposed = None, call, False
            self._router.stop_ringing(agent)
            self._desk.move(agent, AgentEvent.DIAL_FAILED, campaign_id=call.campaign_id)
            self._start_wrap_up(agent, call)
        elif agent.state is AgentState.RESERVED:
            self._desk.released(agent)

    def _start_wrap_up(self, agent: Agent, call: Call) -> None:
        limit = self._settings(call).wrap_up
        if limit > 0:
            loop = asyncio.get_running_loop()
            agent.timer = loop.call_later(limit, self._wrap_up_over, agent, call)

    def _wrap_up_over(self, agent: Agent, call: Call) -> None:
        if agent.state is AgentState.WRAP_UP and agent.last_call is call:
            self._desk.notice(agent, "wrap-up-over", "the time for wrap-up is over")
            self._desk.finish_wrap_up(agent)

    def _count(self, call: Call, outcome: Outcome) -> None:
        campaign = self._campaigns.get(call.campaign_id)
        if campaign is None:
            return
        abandoned = counts_as_abandoned(
            outcome,
            answered=bool(call.answered),
            connected=bool(call.connected),
            message=call.message_played,
        )
        campaign.ledger.count(outcome, abandoned=abandoned, at=call.intended_at)

    def _remember(self, call: Call, outcome: Outcome, at: datetime, *, until: float) -> None:
        """Persons who answered, for the live board."""
        campaign = self._campaigns.get(call.campaign_id)
        if campaign is None or not call.answered:
            return
        agent = self._desk.agents.get(call.agent_id) if call.agent_id is not None else None
        campaign.recent.append(
            Met(
                call.key,
                at,
                agent.view.name if agent is not None and call.connected else "",
                outcome.value,
                max((call.connected or until) - call.answered, 0.0),
                max(until - call.connected, 0.0) if call.connected else 0.0,
            )
        )

    def _tell(self, agent: Agent, call: Call, state: str) -> None:
        data: dict[str, Any] = {"call_id": call.key, "state": state}
        self._post(f"agent:{agent.id}", "call", data)


def lost(call: Call, *, node: str, at: float) -> CallEnded:
    """The event for a call whose end nobody saw and no record tells."""
    return CallEnded(node, at, call.key, CallEnd.UNKNOWN, bool(call.answered), 0, "")
