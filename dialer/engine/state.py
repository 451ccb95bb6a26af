"""What a pool's engine holds in memory: calls, agents, campaigns at work.

Mutable on purpose and touched by one event loop only; every change of state goes through the
transition tables of `dialer.domain`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from dialer.domain.agent import AGENT, AgentEvent, AgentState
from dialer.domain.call import CALL, CallState, CallStep
from dialer.domain.campaign import CampaignView, DialMode
from dialer.domain.work import AgentInterval, AgentNow, AgentView, ClaimedLead
from dialer.engine.ledger import Ledger
from telephony.events import Progress


@dataclass(slots=True)
class Call:
    """One attempt from its intention to its outcome."""

    id: UUID
    lead: ClaimedLead | None  # None: found at reconciliation, only the row is known
    lead_id: UUID
    client_id: UUID
    campaign_id: UUID
    customer_id: UUID
    number: str
    node: str
    trunk: str
    mode: DialMode
    intended_at: datetime
    due: float  # monotonic second at which it should leave
    window: float = 2.0  # s; of the settings it was placed under, as are:
    analyse: bool = False
    record: bool = False
    name: str = ""  # the person's, with their attributes: for the screen
    attributes: Mapping[str, Any] = field(default_factory=dict)
    attempts_before: int = 0
    outcomes_before: dict[str, int] = field(default_factory=dict)
    state: CallState = CallState.INTENDED
    sent: float = 0.0
    progress: Progress | None = None  # the strongest
    rings_since: float = 0.0  # monotonic; 0 = nobody said that it rings
    answered: float = 0.0  # monotonic; 0 = never
    answered_at: datetime | None = None
    known: float = 0.0  # monotonic: analysed, and a person
    connected: float = 0.0
    connected_at: datetime | None = None
    agent_id: UUID | None = None
    agent_hung_up: bool = False
    machine: bool = False
    message_played: bool = False
    cancelled: bool = False
    given_up: bool = False  # nobody would be free for who answers: it is to be ended
    hanging_up: bool = False  # ... and the switch has been told
    spared_until: float = 0.0  # monotonic: it was told in vain, and is not told again at once
    cell: int | None = None  # where pacing keeps what it learns of its list over its trunk
    unseen: bool = False  # for a while: the link to its node was away
    do_not_call: bool = False  # asked for while the call was on
    reopened: bool = False  # the lead was done: an agent called it by hand
    callback_agent: UUID | None = None
    bridge_failures: int = 0

    @property
    def key(self) -> str:
        """The switch's name for it."""
        return str(self.id)

    @property
    def recording(self) -> str:
        """Where its conversation is recorded, relative to the node's recording folder."""
        return f"{self.intended_at:%Y/%m/%d}/{self.key}.wav"

    @property
    def adopted(self) -> bool:
        """Found at reconciliation: the switch was told of it by an engine before this one."""
        return self.lead is None

    def step(self, step: CallStep) -> CallState:
        """Move by the table; raises IllegalTransition."""
        self.state = CALL.next(self.state, step)
        return self.state

    def allows(self, step: CallStep) -> bool:
        return CALL.allows(self.state, step)

    @property
    def waits(self) -> bool:
        """Answered by a person, no agent yet, and the message has not begun."""
        return self.state in (CallState.ANSWERED, CallState.WAITING) and not self.message_played


@dataclass(slots=True)
class Agent:
    """One signed-in (or known) agent."""

    view: AgentView
    state: AgentState = AgentState.SIGNED_OUT
    reason: str = ""
    since: float = 0.0
    since_at: datetime | None = None
    session_id: UUID | None = None
    leg_id: str = ""
    leg_node: str = ""
    leg_parked: bool = False
    leg_lost_at: float = 0.0
    call: Call | None = None
    preview: ClaimedLead | None = None
    preview_campaign: UUID | None = None
    pending: AgentEvent | None = None  # pause or sign-out asked for while busy
    pending_reason: str = ""
    last_call: Call | None = None  # the one being wrapped up
    disposed: bool = False
    timer: asyncio.TimerHandle | None = None

    @property
    def id(self) -> UUID:
        return self.view.id

    @property
    def available(self) -> bool:
        """Can be given a person this moment."""
        return self.state is AgentState.READY and self.leg_parked and self.pending is None

    def allows(self, event: AgentEvent) -> bool:
        return AGENT.allows(self.state, event)


def stretch(agent: Agent, *, now: float, campaign_id: UUID | None) -> AgentInterval | None:
    """The agent's time in the present state up to `now` (monotonic); None when signed out.

    A stepped calendar clock must not make a stretch negative or long: the monotonic one decides."""
    if agent.state is AgentState.SIGNED_OUT or agent.since_at is None or agent.session_id is None:
        return None
    return AgentInterval(
        agent.id,
        agent.view.client_id,
        agent.session_id,
        agent.state,
        agent.reason,
        agent.since_at,
        agent.since_at + timedelta(seconds=now - agent.since),
        campaign_id or (agent.call.campaign_id if agent.call else None),
    )


def doing(agent: Agent) -> AgentNow:
    """What the agent does now, as the next owner of the pool is told."""
    call = agent.call or (None if agent.disposed else agent.last_call)
    gone = agent.state is AgentState.SIGNED_OUT or agent.since_at is None
    return AgentNow(
        agent.id,
        agent.view.client_id,
        agent.view.pool_id,
        None if gone else agent.session_id,
        agent.state,
        agent.reason,
        agent.since_at or datetime.min.replace(tzinfo=UTC),
        agent.call.campaign_id if agent.call is not None else None,
        agent.leg_id,
        call.id if call is not None else None,
        call.intended_at if call is not None else None,
    )


@dataclass(frozen=True, slots=True)
class Met:
    """A person who answered, for the live board: no name, no number."""

    call: str
    at: datetime  # of the end
    agent: str  # '' = nobody
    outcome: str
    waited: float  # s from the answer to the agent, or to the end
    talked: float  # s


@dataclass(slots=True)
class Campaign:
    """A campaign as the engine runs it."""

    view: CampaignView
    ledger: Ledger = field(default_factory=Ledger)
    reason: str = ""
    decision: dict[str, Any] = field(default_factory=dict)
    answer_share: float = 0.0  # of calls placed now, as pacing expects it; 0 = it was not asked
    leads: dict[str, int] = field(default_factory=dict)
    next_due: datetime | None = None
    recent: deque[Met] = field(default_factory=lambda: deque(maxlen=8))
    finished: float = 0.0  # monotonic second at which the engine learned of it

    @property
    def id(self) -> UUID:
        return self.view.id


def met(call: Call, agent: Agent | None, outcome: str, *, at: datetime, until: float) -> Met:
    """What the board says of a person who answered. `until`: the end's monotonic second."""
    return Met(
        call.key,
        at,
        agent.view.name if agent is not None and call.connected else "",
        outcome,
        max((call.connected or until) - call.answered, 0.0),
        max(until - call.connected, 0.0) if call.connected else 0.0,
    )
