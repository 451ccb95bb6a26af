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

from dialer.domain.call import CallState, CallStep
from dialer.domain.campaign import DialMode
from dialer.domain.work import OpenAttempt
from dialer.engine.agents import AgentDesk, agent_of_leg
from dialer.engine.calls import CallDesk, lost
from dialer.engine.router import Router
from dialer.engine.state import Call
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
    swept: tuple[str, ...]  # our channels nobody knows: to be ended
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
        mode=DialMode.PROGRESSIVE if attempt.agent_id is None else DialMode.MANUAL,
        intended_at=attempt.intended_at,
        due=at,
        attempts_before=attempt.attempts,
        outcomes_before=dict(attempt.outcome_counts),
        sent=at if attempt.sent_at else 0.0,
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
) -> Found:
    """Bring memory in line with the network. `channels`: (node, channel) of all nodes."""
    now = clock.monotonic()
    live = {c.dialer_id: (node, c) for node, c in channels if c.dialer_id and c.kind == "call"}
    legs = {c.dialer_id: (node, c) for node, c in channels if c.dialer_id and c.kind == "leg"}
    by_bridge = {c.bridge_id: leg for leg, (_, c) in legs.items() if c.bridge_id}
    known = {str(a.id) for a in attempts}
    adopted_legs = _adopt_legs(legs, desk)
    adopted = concluded = unknown = 0
    for attempt in attempts:
        call = call_of(attempt, at=now)
        key = call.key
        if key in live:
            node, channel = live[key]
            call.node = node
            calls.add(call)
            take_line(call.trunk)
            _adopt_call(
                call,
                channel,
                by_bridge,
                desk=desk,
                router=router,
                now=now,
                answered_at=attempt.answered_at,
                at=clock.now(),
            )
            adopted += 1
            continue
        record = records.get(key)
        calls.add(call)
        if record is None:
            if attempt.answered_at is not None:
                _mark_answered(call, attempt.answered_at, now)
                _mark_connected(call, attempt.connected_at, attempt.agent_id, now)
            unknown += 1
            calls.ended(lost(call, node=call.node, at=now))
            continue
        concluded += 1
        calls.ended(_from_record(call, record, attempt, now))
    swept = tuple(key for key in (*live, *legs) if key not in known and key not in adopted_legs)
    return Found(adopted, concluded, unknown, swept, len(adopted_legs))


def _adopt_legs(legs: Mapping[str, tuple[str, ChannelSnapshot]], desk: AgentDesk) -> frozenset[str]:
    adopted = set()
    for leg_id, (node, channel) in legs.items():
        agent_id = agent_of_leg(leg_id)
        agent = desk.agents.get(agent_id) if agent_id is not None else None
        if agent is None or agent.leg_id or not channel.answered:
            continue
        desk.adopt(agent, leg_id=leg_id, node=node, parked=True)
        adopted.add(leg_id)
    return frozenset(adopted)


def _adopt_call(
    call: Call,
    channel: ChannelSnapshot,
    by_bridge: Mapping[str, str],
    *,
    desk: AgentDesk,
    router: Router,
    now: float,
    answered_at: datetime | None,
    at: datetime,
) -> None:
    call.step(CallStep.SEND)
    if not channel.answered:
        call.step(CallStep.RING)
        return
    _mark_answered(call, answered_at or at, now)
    agent = desk.by_leg(by_bridge.get(channel.bridge_id, "")) if channel.bridge_id else None
    if agent is not None:
        call.step(CallStep.TAKE)
        call.step(CallStep.CONNECT)
        call.agent_id = agent.id
        call.connected, call.connected_at = now, at
        desk.adopt_conversation(agent, call)
    else:
        # It waits in the dialplan, or its message plays; the stage events tell the rest.
        router.person(call)


def _mark_answered(call: Call, answered_at: datetime | None, now: float) -> None:
    if call.state is CallState.INTENDED:
        call.step(CallStep.SEND)
    call.step(CallStep.ANSWER)
    call.answered, call.answered_at = now, answered_at


def _mark_connected(
    call: Call, connected_at: datetime | None, agent_id: UUID | None, now: float
) -> None:
    if connected_at is not None:
        call.step(CallStep.TAKE)
        call.step(CallStep.CONNECT)
        call.connected, call.connected_at, call.agent_id = now, connected_at, agent_id


def _from_record(call: Call, record: CallRecord, attempt: OpenAttempt, now: float) -> CallEnded:
    answered = record.answered_at is not None
    waited = 0.0
    if answered:
        _mark_answered(call, record.answered_at, now)
        if record.bridged or attempt.connected_at is not None:
            _mark_connected(call, attempt.connected_at or record.answered_at, attempt.agent_id, now)
        call.message_played = record.message_played
        if record.ended_at is not None and record.answered_at is not None:
            waited = (record.ended_at - record.answered_at).total_seconds()
    call.answered = now - waited if answered else 0.0
    end = record.end if record.end is not None else CallEnd.UNKNOWN
    return CallEnded(call.node, now, call.key, end, answered, record.cause, record.tech_cause)
