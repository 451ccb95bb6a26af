"""A pool handed over while everything is up: what the next owner cannot read from the network.

A dialer that stops, with another one alive, leaves phones, calls and conversations in Asterisk as
they are. Who is ready, who is paused and why, whose wrap-up it is: that travels with the lease, in
the transaction that gives it up. Everything else the next owner finds out as after a crash, and
what it finds counts more than what it was told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from dialer.domain.agent import AgentEvent, AgentState
from dialer.domain.call import CallState
from dialer.domain.work import Write
from dialer.engine.agents import AgentDesk
from dialer.engine.calls import CallDesk
from dialer.engine.state import Agent, Call, stretch
from telephony.clock import Clock

log = structlog.get_logger(__name__)

_S = AgentState
#: What an agent goes on from, where the state lives from a call that may be over by then.
_BASE = {_S.RESERVED: _S.READY, _S.DIALING: _S.READY, _S.PREVIEWING: _S.READY,
         _S.CONSULTING: _S.ON_CALL}  # fmt: skip
_TALKING = frozenset({_S.ON_CALL, _S.CONSULTING})
_ON_THE_WAY = frozenset({CallState.INTENDED, CallState.SENT})


@dataclass(frozen=True, slots=True)
class AgentWas:
    """An agent in the moment of the handover."""

    id: UUID
    session: UUID
    state: AgentState
    reason: str
    at: datetime  # up to here their time is written
    age: float  # s in this state until then
    leg: str
    node: str
    parked: bool
    call: str  # the one they are in, '' = none
    described: UUID | None  # the call to be described
    pending: AgentEvent | None
    pending_reason: str


@dataclass(frozen=True, slots=True)
class Handed:
    """`settled`: every call that was sent is known to its node; none may still come up."""

    settled: bool
    agents: tuple[AgentWas, ...] = ()


def hand_over(
    desk: AgentDesk, calls: Iterable[Call], *, put: Callable[[Write], None], clock: Clock
) -> Mapping[str, Any]:
    """What to tell the next owner, as JSON can carry it. The agents' time up to now is written,
    and no more of it by us."""
    told = []
    for agent in desk.signed_in():
        if agent.timer is not None:
            agent.timer.cancel()
            agent.timer = None
        now = clock.monotonic()
        done = stretch(agent, now=now, campaign_id=None)
        if done is None:
            continue
        if done.ended_at > done.started_at:
            put(done)
        told.append(_told(agent, done.session_id, done.ended_at, age=now - agent.since))
        agent.session_id = None
    return {"settled": not any(c.state in _ON_THE_WAY for c in calls), "agents": told}


def _told(agent: Agent, session: UUID, at: datetime, *, age: float) -> dict[str, Any]:
    last = agent.last_call
    return {
        "id": str(agent.id),
        "session": str(session),
        "state": agent.state.value,
        "reason": agent.reason,
        "at": at.isoformat(),
        "age": age,
        "leg": agent.leg_id,
        "node": agent.leg_node,
        "parked": agent.leg_parked,
        "call": agent.call.key if agent.call is not None else "",
        "described": str(last.id) if last is not None and not agent.disposed else "",
        "pending": agent.pending.value if agent.pending is not None else "",
        "pending_reason": agent.pending_reason,
    }


def read_handover(data: Mapping[str, Any] | None) -> Handed | None:
    """What the owner before us told, or None; another version's words are not guessed at."""
    if data is None:
        return None
    try:
        return Handed(bool(data["settled"]), tuple(_was(told) for told in data["agents"]))
    except (KeyError, TypeError, ValueError) as error:
        log.error("handover not understood", action="handover_unread", error=type(error).__name__)
        return None


def _was(told: Mapping[str, Any]) -> AgentWas:
    return AgentWas(
        id=UUID(told["id"]),
        session=UUID(told["session"]),
        state=AgentState(told["state"]),
        reason=told["reason"],
        at=datetime.fromisoformat(told["at"]),
        age=float(told["age"]),
        leg=told["leg"],
        node=told["node"],
        parked=bool(told["parked"]),
        call=told["call"],
        described=UUID(told["described"]) if told["described"] else None,
        pending=AgentEvent(told["pending"]) if told["pending"] else None,
        pending_reason=told["pending_reason"],
    )


class Resumption:
    """The agents of a handed pool go on where they were."""

    def __init__(
        self, handed: Handed | None, *, desk: AgentDesk, calls: CallDesk, clock: Clock
    ) -> None:
        self._desk, self._calls, self._clock = desk, calls, clock
        self._was = {was.id: was for was in handed.agents} if handed is not None else {}
        self._in_call: dict[str, Agent] = {}
        self._agents: list[Agent] = []

    @property
    def to_describe(self) -> list[UUID]:
        """Ended calls that an agent has yet to describe."""
        return [w.described for w in self._was.values() if w.described is not None]

    def begin(self) -> None:
        """Before the calls are looked at: everybody as they were."""
        for was in self._was.values():
            agent = self._desk.agents.get(was.id)
            if agent is None or agent.state is not AgentState.SIGNED_OUT:
                continue
            agent.session_id, agent.reason = was.session, was.reason
            agent.state = _BASE.get(was.state, was.state)
            passed = (self._clock.now() - was.at).total_seconds()
            agent.since, agent.since_at = self._clock.monotonic() - max(passed, 0.0), was.at
            agent.pending, agent.pending_reason = was.pending, was.pending_reason
            agent.last_call, agent.disposed, agent.call = None, False, None
            if was.leg:
                self._desk.hold_leg(agent, was.leg, node=was.node, parked=was.parked)
            if was.call and agent.state in _TALKING:
                self._in_call[was.call] = agent
            self._agents.append(agent)

    def rejoin(self, call: Call) -> None:
        """A call that is looked at now: its agent is in it, or was until it ended."""
        agent = self._in_call.pop(call.key, None)
        if agent is not None:
            agent.call, call.agent_id = call, agent.id

    def finish(
        self, legs: Mapping[str, bool], *, away: Collection[str], described: Mapping[UUID, Call]
    ) -> None:
        """After that: what the network says otherwise. `legs`: those that live, and whether they
        were answered; `described`: by its id, what `to_describe` asked for."""
        for agent in self._agents:
            was = self._was[agent.id]
            if agent.leg_id and agent.leg_id not in legs and agent.leg_node not in away:
                self._desk.leg_ended(agent.leg_id, cause="gone during the handover")
                continue
            if agent.state in _TALKING and agent.call is None:
                self._desk.move(agent, AgentEvent.CALL_ENDED, reason="handed over")
            if agent.leg_id and agent.call is None and legs.get(agent.leg_id):
                # It parked while nobody listened, or is about to.
                self._desk.leg_parked(agent.leg_id, node=agent.leg_node)
            if agent.state is AgentState.LEG_LOST and not agent.leg_id:
                self._desk.call_again_soon(agent)
            elif agent.state is AgentState.WRAP_UP and agent.last_call is None:
                self._describe(agent, was, described)
            elif agent.state is AgentState.READY and agent.pending is not None:
                self._leave(agent)

    def _describe(self, agent: Agent, was: AgentWas, described: Mapping[UUID, Call]) -> None:
        call = described.get(was.described) if was.described is not None else None
        if call is None:
            self._desk.finish_wrap_up(agent)
        else:
            agent.last_call = call
            self._calls.start_wrap_up(agent, call, passed=was.age)

    def _leave(self, agent: Agent) -> None:
        """They wanted to, after a call that is over."""
        pending, agent.pending = agent.pending, None
        if pending is AgentEvent.PAUSE:
            self._desk.move(agent, AgentEvent.PAUSE, reason=agent.pending_reason)
        else:
            self._desk.sign_out(agent)
