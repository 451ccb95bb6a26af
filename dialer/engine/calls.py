"""The calls of a pool: each switch event moves one call, and its last one writes the outcome.

Events of one call come in order (telephony sees to that). What happens here happens in the moment
of the event: nothing on these paths waits for the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
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
from dialer.engine.observing import SIGNALS, Observer
from dialer.engine.outcomes import (
    Ending,
    after_attempt,
    counts_as_abandoned,
    inferred,
    outcome_of,
)
from dialer.engine.router import Router
from dialer.engine.state import Agent, Call, Campaign, met
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

#: s after an INVITE that nobody answered for in which it is still repeated: the phone may yet ring.
_UNHEARD = 40.0
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
        observer: Observer,
    ) -> None:
        self._campaigns, self._desk, self._router = campaigns, desk, router
        self._put, self._post, self._clock = put, post, clock
        self._concluded, self._do_not_call = concluded, do_not_call
        self._observer = observer
        self.calls: dict[str, Call] = {}
        self._intended: dict[str, Call] = {}  # being committed
        self._ended: dict[str, Call] = {}  # for recordings that close after the call

    @contextmanager
    def intending(self, calls: Sequence[Call]) -> Iterator[None]:
        """While these are committed, and not yet ours to carry out."""
        self._intended.update((call.key, call) for call in calls)
        try:
            yield
        finally:
            for call in calls:
                del self._intended[call.key]

    def add(self, call: Call) -> None:
        self.calls[call.key] = call

    def get(self, call_id: str) -> Call | None:
        return self.calls.get(call_id)

    def of_campaign(self, campaign_id: UUID) -> list[Call]:
        return [c for c in self.calls.values() if c.campaign_id == campaign_id]

    async def over(self, deadline: float, *, talking: bool = False) -> None:
        """Return when no call is up, or at this monotonic second. `talking`: when none is but
        conversations."""
        # Calls end by events of many kinds; polling for a bounded time is the simple way.
        while self._clock.monotonic() < deadline:
            if not any(not (talking and call.connected) for call in self.calls.values()):
                return
            await asyncio.sleep(0.05)

    # -- events -----------------------------------------------------------------------------------

    def started(self, event: CallStarted) -> None:
        call = self.calls.get(event.call_id)
        if call is not None and call.state is CallState.INTENDED:
            call.step(CallStep.SEND)
            if call.cancelled:  # before there was a channel to end
                self._router.hang_up(call)

    def progress(self, event: CallProgress) -> None:
        call = self.calls.get(event.call_id)
        if call is None:
            return
        if SIGNALS[event.progress] > SIGNALS[call.progress]:
            self._observer.progressed(call, event.progress, event.at)
            call.progress = event.progress
        if call.state is CallState.INTENDED:
            call.step(CallStep.SEND)
        if event.progress is not Progress.TRYING and not call.rings_since:
            call.rings_since = event.at
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
        if call.analyse:
            call.step(CallStep.ANALYSE)
        else:
            self._person(call)
        self._put(AttemptUpdate(call.id, call.intended_at, answered_at=call.answered_at))
        self._observer.answered(call, event.at)

    def _person(self, call: Call) -> None:
        if call.hanging_up:  # the two crossed: see `giving_up`
            call.step(CallStep.WAIT)
        else:
            self._router.person(call)

    def staged(self, event: CallStaged) -> None:
        call = self.calls.get(event.call_id)
        if call is None:
            return
        if event.stage is Stage.HUMAN and call.state is CallState.ANALYSING:
            self._person(call)
            self._observer.judged(call, event.at, person=True)
            call.known = event.at
        elif event.stage is Stage.MACHINE and call.state is CallState.ANALYSING:
            call.machine = True
            self._observer.judged(call, event.at, person=False)
        elif event.stage is Stage.MESSAGE:
            if not call.message_played:
                self._observer.abandoned(call, event.at)
            call.message_played = True
            self._router.forget(call)
            if call.state is not CallState.CONNECTING and call.allows(CallStep.PLAY):
                call.step(CallStep.PLAY)
            self._put(AttemptUpdate(call.id, call.intended_at, message_played=True))
        elif event.stage is Stage.OPT_OUT:
            self.opt_out(call)

    def opt_out(self, call: Call) -> None:
        """The person pressed the key: never again, in every queue."""
        call.do_not_call = True
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
        if not (call.allows(CallStep.CONNECT) and agent.allows(AgentEvent.CONNECT)):
            self._router.hang_up(call)  # joined to somebody who is not there for it any more
            return
        now = self._clock.now()
        call.step(CallStep.CONNECT)
        call.connected, call.connected_at = event.at, now
        agent.leg_parked = False
        self._desk.move(agent, AgentEvent.CONNECT, campaign_id=call.campaign_id)
        self._router.connected(call)
        self._observer.connected(call, event.at)
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

    def out_of_sight(self, node: str) -> None:
        """What happens to this node's calls from now on goes unseen for a while."""
        for call in self.calls.values():
            call.unseen = call.unseen or call.node == node

    def unsure(self, event: CallEnded) -> bool:
        """Whether the records may know more of this call than we saw."""
        call = self.calls.get(event.call_id)
        return call is not None and (call.unseen or inferred(event))

    def ended(self, event: CallEnded) -> None:
        call = self.calls.pop(event.call_id, None)
        if call is None:
            return
        self._router.forget(call)
        # When it happened, not when it is told: after a crash that is some while ago.
        now = self._clock.now() - timedelta(seconds=self._clock.monotonic() - event.at)
        if event.answered and not call.answered:
            call.answered, call.answered_at = event.at, now
        outcome = outcome_of(
            Ending(
                end=event.end,
                answered=bool(call.answered),
                connected=bool(call.connected),
                agent_hung_up=call.agent_hung_up,
                machine=call.machine,
                message_played=call.message_played,
                waited=event.at - call.answered if call.answered else 0.0,
                window=call.window,
                manual=call.mode in _MANUAL,
            )
        )
        call.step(CallStep.END)
        self._put(
            AttemptUpdate(
                call.id,
                call.intended_at,
                answered_at=call.answered_at,
                # Known from the records only, where the link was away as they met.
                connected_at=call.connected_at,
                agent_id=call.agent_id if call.connected else None,
                ended_at=now,
                outcome=outcome,
                cause=event.cause,
                tech_cause=event.tech_cause,
                message_played=call.message_played or None,
            )
        )
        self._lead_after(call, outcome, rest=_UNHEARD if event.end is CallEnd.SILENT else 0.0)
        self._agent_after(call, outcome, now, seen=event.end is not CallEnd.UNKNOWN)
        if call.connected:
            self._ended[call.key] = call
            if call.adopted and call.record:  # the switch does not know that it is recorded
                self._recorded(call, call.node, call.recording)
            asyncio.get_running_loop().call_later(60.0, self._ended.pop, call.key, None)
        abandoned = self.count(call, outcome)
        self._observer.ended(
            call, event.end, event.at, outcome=outcome, abandoned=abandoned,
            timeout=self.settings_of(call).ring_timeout,
        )  # fmt: skip
        self._remember(call, outcome, now, until=event.at)
        self._concluded(call, outcome, event)

    def refused(self, call: Call, *, expired: bool) -> bool:
        """The Originate did not leave (or was refused): nobody was called. False: it had ended."""
        if self.calls.pop(call.key, None) is None:
            return False
        outcome = Outcome.EXPIRED if expired else Outcome.FAILED
        call.step(CallStep.END)
        now = self._clock.now()
        self._put(AttemptUpdate(call.id, call.intended_at, ended_at=now, outcome=outcome))
        self._lead_after(call, outcome)
        self._agent_after(call, outcome, now)
        self.count(call, outcome)
        return True

    def block_numbers(self, client_id: UUID, numbers: Collection[str]) -> None:
        """Do-not-call holds for the leads of calls that are on, when these end, and for calls that
        are about to leave."""
        for call in (*self.calls.values(), *self._intended.values()):
            if call.client_id == client_id and call.number in numbers:
                call.do_not_call = True

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

    def settings_of(self, call: Call) -> CampaignSettings:
        campaign = self._campaigns.get(call.campaign_id)
        return campaign.view.settings if campaign is not None else CampaignSettings()

    def _lead_after(self, call: Call, outcome: Outcome, *, rest: float = 0.0) -> None:
        step = after_attempt(
            outcome,
            settings=self.settings_of(call),
            attempts=call.attempts_before,
            outcome_counts=call.outcomes_before,
            now=self._clock.now(),
            rest=rest,
            # The person was rung like anybody who does not pick up.
            rule_of=(
                Outcome.NO_ANSWER if call.hanging_up and outcome is Outcome.CANCELLED else None
            ),
        )
        move = LeadMove(
            call.lead_id,
            step.state,
            next_at=step.next_at,
            reason=step.reason,
            callback_agent=call.callback_agent if step.state is LeadState.RETRY else None,
            only_from=LeadState.DIALING,
        )
        if call.do_not_call:
            move = replace(move, state=LeadState.BLOCKED, next_at=None, reason="do_not_call")
        elif call.reopened:  # an agent's own call to a finished lead starts nothing anew
            move = replace(move, state=LeadState.DONE, next_at=None)
        self._put(move)

    def _agent_after(
        self, call: Call, outcome: Outcome, now: datetime, *, seen: bool = True
    ) -> None:
        """`seen`: somebody's hang-up ended it; else the network's end did (or nobody knows)."""
        agent = self._desk.agents.get(call.agent_id) if call.agent_id is not None else None
        if agent is None:
            return
        by = ""
        if call.connected:
            by = "agent" if outcome is Outcome.ENDED_BY_AGENT else "customer" if seen else "network"
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
        if call not in (agent.call, agent.last_call):
            return
        self._post(
            f"agent:{agent.id}",
            "call_ended",
            {"call_id": call.key, "outcome": outcome.value, "by": by},
        )
        if agent.call is not call:  # the phone was lost before the call ended
            return
        talked = agent.state is AgentState.RESERVED and bool(call.connected)  # seen by records only
        if talked or agent.state in (AgentState.ON_CALL, AgentState.CONSULTING):
            agent.call, agent.last_call, agent.disposed = None, call, False
            self._desk.move(agent, AgentEvent.CALL_ENDED, campaign_id=call.campaign_id)
            self.start_wrap_up(agent, call)
        elif agent.state is AgentState.DIALING:
            agent.call, agent.last_call, agent.disposed = None, call, False
            self._router.stop_ringing(agent)
            self._desk.move(agent, AgentEvent.DIAL_FAILED, campaign_id=call.campaign_id)
            self.start_wrap_up(agent, call)
        elif agent.state is AgentState.RESERVED:
            self._desk.released(agent)

    def start_wrap_up(self, agent: Agent, call: Call, *, passed: float = 0.0) -> None:
        """`passed`: seconds of it that are over."""
        limit = self.settings_of(call).wrap_up
        if limit > 0:
            self._desk.later(agent, max(limit - passed, 0.0), self._wrap_up_over)

    def _wrap_up_over(self, agent: Agent) -> None:
        if agent.state is AgentState.WRAP_UP:
            self._desk.notice(agent, "wrap-up-over", "the time for wrap-up is over")
            self._desk.finish_wrap_up(agent)

    def count(self, call: Call, outcome: Outcome) -> bool:
        """Into the ledger that paces, which equals the records; whether it counts as abandoned."""
        abandoned = counts_as_abandoned(
            outcome,
            answered=bool(call.answered),
            connected=bool(call.connected),
            message=call.message_played,
        )
        campaign = self._campaigns.get(call.campaign_id)
        if campaign is not None:
            campaign.ledger.count(outcome, abandoned=abandoned, at=call.intended_at)
        return abandoned

    def _remember(self, call: Call, outcome: Outcome, at: datetime, *, until: float) -> None:
        campaign = self._campaigns.get(call.campaign_id)
        if campaign is not None and call.answered:
            agent = self._desk.agents.get(call.agent_id) if call.agent_id is not None else None
            campaign.recent.append(met(call, agent, outcome.value, at=at, until=until))

    def _tell(self, agent: Agent, call: Call, state: str) -> None:
        data: dict[str, Any] = {"call_id": call.key, "state": state}
        self._post(f"agent:{agent.id}", "call", data)


def lost(call: Call, *, node: str, at: float) -> CallEnded:
    """The event for a call whose end nobody saw and no record tells."""
    return CallEnded(node, at, call.key, CallEnd.UNKNOWN, bool(call.answered), 0, "")
