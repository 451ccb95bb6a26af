"""A new owner finds out what happened: open attempts against live channels and call records.

Run after the lease is held and before anything is dialed. A call that still lives is adopted; one
that ended is concluded from Asterisk's own records; one of which nothing is known ends as
*unknown*, counts against the person's limits and is not dialed again under that attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog

from dialer.domain.agent import AgentEvent, AgentState
from dialer.domain.call import CallState, CallStep
from dialer.domain.campaign import DialMode
from dialer.domain.lead import LeadState
from dialer.domain.work import AgentNow, OpenAttempt
from dialer.engine.agents import AgentDesk, agent_of_leg
from dialer.engine.calls import CallDesk, lost
from dialer.engine.router import Router
from dialer.engine.state import Agent, Call
from telephony.clock import Clock
from telephony.events import CallEnd, CallEnded, ChannelSnapshot
from telephony.records import CallRecord

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """What reconciliation did, for the log and for tests."""

    adopted: int
    concluded: int
    unknown: int
    legs: int


def call_of(attempt: OpenAttempt, *, at: float) -> Call:
    """A live object for an attempt known only by its row."""
    return Call(
        id=attempt.id,
        lead=None,
        lead_id=attempt.lead_id,
        client_id=attempt.client_id,
        campaign_id=attempt.campaign_id,
        customer_id=attempt.customer_id,
        number=attempt.number,
        node=attempt.node,
        trunk=attempt.trunk,
        mode=DialMode(attempt.mode) if attempt.mode else DialMode.PROGRESSIVE,
        name=attempt.name,
        attributes=attempt.attributes,
        intended_at=attempt.intended_at,
        due=at,
        attempts_before=attempt.attempts,
        outcomes_before=dict(attempt.outcome_counts),
        sent=at if attempt.sent_at else 0.0,
        agent_id=attempt.agent_id,
        reopened=attempt.was is LeadState.DONE,
        callback_agent=attempt.callback_agent,
    )


def reconcile(
    attempts: Sequence[OpenAttempt],
    *,
    channels: Sequence[tuple[str, ChannelSnapshot]],
    records: Mapping[str, CallRecord],
    calls: CallDesk,
    desk: AgentDesk,
    router: Router,
    clock: Clock,
    take_line: Callable[[str], None],
    were: Mapping[UUID, AgentNow],
    told: Mapping[UUID, Call],
    rejoin: Callable[[Call], None] = lambda call: None,
) -> Found:
    """Bring memory in line with the network. `channels`: (node, channel) of all nodes; `were`: what
    agents did when the pool lost its owner; `told`: calls that are over and may have to be
    described. `rejoin`: hears of each attempt's call before it is judged."""
    live = {c.dialer_id: (node, c) for node, c in channels if c.dialer_id and c.kind == "call"}
    legs = {c.dialer_id: (node, c) for node, c in channels if c.dialer_id and c.kind == "leg"}
    by_bridge = {c.bridge_id: leg for leg, (_, c) in legs.items() if c.bridge_id}
    adopted_legs = _adopt_legs(legs, were, told, calls=calls, desk=desk)
    adopted = concluded = unknown = 0
    # Those that live first: who still speaks with somebody wraps nothing up.
    for attempt in sorted(attempts, key=lambda a: str(a.id) not in live):
        call = call_of(attempt, at=clock.monotonic())
        settings, record = calls.settings_of(call), records.get(call.key)
        call.window, call.record = settings.connect_window, settings.record
        call.analyse = settings.analyse and attempt.agent_id is None
        calls.add(call)
        rejoin(call)
        take_line(call.trunk)  # given back at its end, which for most of them is now
        _mark(call, attempt, record, clock)
        if record is not None and record.opted_out:
            calls.opt_out(call)
        if call.key in live:
            call.node, channel = live[call.key]
            met = desk.by_leg(by_bridge.get(channel.bridge_id, "")) if channel.bridge_id else None
            heard = record is not None and "human" in record.stages
            _adopt(call, channel, met, desk=desk, router=router, clock=clock, human=heard)
            adopted += 1
        elif record is None or record.end is None:
            unknown += 1
            _was_spoken(call, desk)
            calls.ended(lost(call, node=call.node, at=clock.monotonic()))
        else:
            concluded += 1
            _was_spoken(call, desk)
            calls.ended(_end(call, record, clock))
    return Found(adopted, concluded, unknown, len(adopted_legs))


def _adopt_legs(
    legs: Mapping[str, tuple[str, ChannelSnapshot]],
    were: Mapping[UUID, AgentNow],
    told: Mapping[UUID, Call],
    *,
    calls: CallDesk,
    desk: AgentDesk,
) -> frozenset[str]:
    adopted = set()
    for leg_id, (node, channel) in legs.items():
        agent_id = agent_of_leg(leg_id)
        agent = desk.agents.get(agent_id) if agent_id is not None else None
        if agent is None or agent.leg_id or not channel.answered:
            continue
        was = were.get(agent.id)
        over = told.get(was.attempt_id) if was is not None and was.attempt_id is not None else None
        desk.adopt(agent, leg_id=leg_id, node=node, was=was, told=over)
        if over is not None and agent.state is AgentState.WRAP_UP:
            calls.start_wrap_up(agent, over)  # the time for it begins anew
        adopted.add(leg_id)
    return frozenset(adopted)


def _was_spoken(call: Call, desk: AgentDesk) -> None:
    """A conversation that ended while nobody owned the pool: its agent wraps it up now."""
    agent = desk.agents.get(call.agent_id) if call.agent_id is not None else None
    if agent is None or not call.connected or not agent.leg_id:
        return
    if agent.state is AgentState.PAUSED and agent.call is None:
        desk.adopt_conversation(agent, call, over=True)


def _monotonic(at: datetime, clock: Clock) -> float:
    """The monotonic second of a calendar time in the past."""
    return clock.monotonic() - max((clock.now() - at).total_seconds(), 0.0)


def _mark(call: Call, attempt: OpenAttempt, record: CallRecord | None, clock: Clock) -> None:
    """Bring the call to where the row and the records saw it last."""
    answered_at = attempt.answered_at or (record.answered_at if record is not None else None)
    if answered_at is None:
        return
    call.step(CallStep.SEND)
    call.step(CallStep.ANSWER)
    call.answered, call.answered_at = _monotonic(answered_at, clock), answered_at
    if record is not None:
        call.message_played = record.message_played
        call.machine = "machine" in record.stages
    bridged = record is not None and bool(record.leg_id)
    if attempt.connected_at is None and not bridged:
        return
    met = agent_of_leg(record.leg_id) if record is not None else None
    _connect(call, met or attempt.agent_id, attempt.connected_at or answered_at, clock)


def _connect(call: Call, agent_id: UUID | None, at: datetime, clock: Clock) -> None:
    call.step(CallStep.TAKE)
    call.step(CallStep.CONNECT)
    call.agent_id = agent_id
    call.connected, call.connected_at = _monotonic(at, clock), at


def _waited(record: CallRecord) -> float | None:
    """Seconds from the answer to the end, both by the clock of whoever wrote the record."""
    if record.answered_at is None or record.ended_at is None:
        return None
    return max((record.ended_at - record.answered_at).total_seconds(), 0.0)


def conclude(
    call: Call, record: CallRecord, clock: Clock, *, ended: float | None = None
) -> CallEnded:
    """The end that nobody saw of a call that this engine placed, as the records tell it. `ended`:
    the monotonic second of the end, where that was seen."""
    waited = _waited(record)
    if record.answered_at is not None:
        answered = _monotonic(record.answered_at, clock)
        if ended is not None and waited is not None:  # needs no common calendar
            answered = ended - waited
        if not call.answered:
            if call.state is CallState.INTENDED:
                call.step(CallStep.SEND)
            call.step(CallStep.ANSWER)
            call.answered, call.answered_at = answered, record.answered_at
        elif call.adopted:  # told by a row or a record, perhaps by another calendar than ours
            call.answered = answered
        elif call.unseen:  # we may have heard of it late
            call.answered = min(call.answered, answered)
    call.message_played = call.message_played or record.message_played
    call.machine = call.machine or "machine" in record.stages
    # In a bridge of its own, before any leg came, it met nobody.
    if record.leg_id and call.answered_at is not None and not call.connected:
        call.agent_id = agent_of_leg(record.leg_id) or call.agent_id
        call.connected, call.connected_at = call.answered, call.answered_at
    return _end(call, record, clock)


def _adopt(
    call: Call,
    channel: ChannelSnapshot,
    met: Agent | None,
    *,
    desk: AgentDesk,
    router: Router,
    clock: Clock,
    human: bool,
) -> None:
    """Go on with a call that lives. `met`: the agent whose leg is in its bridge. `human`: the
    answering-machine detection has spoken."""
    if not (channel.answered or call.answered):  # the records are read after the channels
        if call.state is CallState.INTENDED:
            call.step(CallStep.SEND)
            call.step(CallStep.RING)
            call.rings_since = clock.monotonic()  # at least: it may have rung for a while
        _with_its_agent(call, desk)
        return
    if not call.answered:  # in the moment of the crash: the records are a little behind
        call.step(CallStep.SEND)
        call.step(CallStep.ANSWER)
        call.answered, call.answered_at = clock.monotonic(), clock.now()
    # We did not see the answer: how long the person waited is asked of the records at the end.
    call.unseen = met is None and not call.connected
    if met is not None:
        if not call.connected:
            _connect(call, met.id, clock.now(), clock)
        call.agent_id = met.id
        desk.adopt_conversation(met, call)
    elif call.connected:
        router.hang_up(call)  # whoever it spoke with is gone; nobody is left alone on the line
    elif call.message_played:
        call.step(CallStep.PLAY)
    elif call.analyse and not human:
        call.step(CallStep.ANALYSE)  # a stage event tells what it is
    elif not call.machine:
        _with_its_agent(call, desk)
        router.person(call)  # it waits in the dialplan; the stage events tell the rest


def _with_its_agent(call: Call, desk: AgentDesk) -> None:
    """A preview or manual call goes on with the agent who asked for it, if they are still there."""
    agent = desk.agents.get(call.agent_id) if call.agent_id is not None else None
    if agent is not None and agent.allows(AgentEvent.DIAL) and agent.leg_node == call.node:
        desk.adopt_dialing(agent, call)
    else:
        call.agent_id = None


def _end(call: Call, record: CallRecord, clock: Clock) -> CallEnded:
    at = _monotonic(record.ended_at or clock.now(), clock)
    if call.answered and (waited := _waited(record)) is not None:
        at = call.answered + waited  # whether it was within the window needs no common calendar
    end = record.end or CallEnd.UNKNOWN
    return CallEnded(
        call.node, at, call.key, end, bool(call.answered), record.cause, record.tech_cause
    )
