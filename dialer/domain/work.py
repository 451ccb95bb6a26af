"""What the engine and the store hand to each other: claimed leads, attempts, and batched writes.

The engine never sees SQL and the store never decides; these values are the whole border. All times
are UTC-aware. Every write goes out under the pool's epoch (`WHERE epoch = ...`), or not at all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from dialer.domain.agent import AgentState
from dialer.domain.call import Outcome
from dialer.domain.campaign import CampaignState, CampaignView
from dialer.domain.lead import LeadState


@dataclass(frozen=True, slots=True)
class Lease:
    """Ownership of a pool. `seconds`: how long from acquisition or renewal it lasts."""

    pool_id: UUID
    epoch: int
    owner: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ContactHistory:
    """What limits are counted from: this person's and number's past, across campaigns."""

    person_attempts: tuple[datetime, ...] = ()  # newest first, last 31 days
    number_attempts: tuple[datetime, ...] = ()
    last_abandon: datetime | None = None
    last_machine: datetime | None = None
    last_conversation: datetime | None = None
    last_refusal: datetime | None = None
    do_not_call: tuple[str, ...] = ()  # scopes that match: "number:client", "person:site", ...


@dataclass(frozen=True, slots=True)
class ClaimedLead:
    """A lead in the hopper, its person and number reserved for this pool."""

    lead_id: UUID
    client_id: UUID
    campaign_id: UUID
    list_id: UUID
    customer_id: UUID
    number_id: UUID
    number: str  # E.164
    zone: str | None  # the customer's own IANA zone where known
    region: str  # ISO country of the number, '' if unknown
    number_kind: str
    attempts: int  # so far, of this lead
    outcome_counts: Mapping[str, int]  # attempts so far by outcome
    consent: bool
    attributes: Mapping[str, Any]  # travels to the screen pop
    name: str
    callback_agent: UUID | None
    callback_at: datetime | None
    history: ContactHistory
    was: LeadState = LeadState.NEW  # before it was claimed


@dataclass(frozen=True, slots=True)
class NewAttempt:
    """Committed as *intended* before its Originate leaves."""

    id: UUID
    lead_id: UUID
    client_id: UUID
    campaign_id: UUID
    customer_id: UUID
    number_id: UUID
    number: str
    caller_id: str
    node: str
    trunk: str
    mode: str
    intended_at: datetime
    settings_version: int
    script_version: int
    form_version: int
    rules_profile: str  # name@version
    verdict: Mapping[str, Any]  # compact
    agent_id: UUID | None = None  # preview and manual calls


@dataclass(frozen=True, slots=True)
class AttemptUpdate:
    """Progress of an attempt; only fields that are not None are written."""

    id: UUID
    intended_at: datetime  # partition key
    sent_at: datetime | None = None
    ringing_at: datetime | None = None
    answered_at: datetime | None = None
    connected_at: datetime | None = None
    ended_at: datetime | None = None
    outcome: Outcome | None = None  # written once: the store keeps the first
    agent_id: UUID | None = None
    cause: int | None = None
    tech_cause: str | None = None
    message_played: bool | None = None


@dataclass(frozen=True, slots=True)
class LeadMove:
    """Where a lead goes; its person's reservation is released when it leaves hopper/dialing.

    Attempts are counted from their own rows, so that a repeated batch counts nothing twice.
    """

    lead_id: UUID
    state: LeadState
    next_at: datetime | None = None
    reason: str = ""
    callback_agent: UUID | None = None
    only_from: LeadState | None = None  # nothing happens when the lead is elsewhere by then


@dataclass(frozen=True, slots=True)
class Conversation:
    """One agent's part of a call. Written at its end, amended by the disposition."""

    attempt_id: UUID
    intended_at: datetime
    client_id: UUID
    campaign_id: UUID
    customer_id: UUID
    lead_id: UUID
    agent_id: UUID
    connected_at: datetime
    ended_at: datetime | None = None
    ended_by: str = ""  # "agent", "customer", "network"


@dataclass(frozen=True, slots=True)
class DispositionWrite:
    """What an agent said of a conversation, with the form."""

    attempt_id: UUID
    intended_at: datetime
    agent_id: UUID
    code: str
    note: str
    form: Mapping[str, Any]
    at: datetime
    wrap_up_seconds: float


@dataclass(frozen=True, slots=True)
class AgentInterval:
    """A finished stretch of an agent's time in one state."""

    agent_id: UUID
    client_id: UUID
    session_id: UUID  # one sign-in
    state: AgentState
    reason: str
    started_at: datetime
    ended_at: datetime
    campaign_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class AgentNow:
    """What an agent is doing, for whoever owns the pool next; it replaces what was said before.
    A stretch of time that is not over is nowhere else."""

    agent_id: UUID
    client_id: UUID
    pool_id: UUID
    session_id: UUID | None  # None: signed out, and nothing is kept
    state: AgentState
    reason: str
    since: datetime
    campaign_id: UUID | None = None
    leg_id: str = ""
    attempt_id: UUID | None = None  # the call at hand, or one that is yet to be described
    intended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DoNotCall:
    """A request never to be called again; holds at once for leads in every queue."""

    client_id: UUID
    number: str
    customer_id: UUID | None
    scope: str  # "client" or "site"
    source: str  # "agent", "opt_out_key", "import", "api"
    at: datetime


@dataclass(frozen=True, slots=True)
class RecordingWrite:
    """A file that waits on a node's disk to be collected."""

    attempt_id: UUID
    intended_at: datetime
    client_id: UUID
    campaign_id: UUID
    node: str
    path: str
    at: datetime


@dataclass(frozen=True, slots=True)
class CampaignMove:
    """Happens only if the campaign's machine has a way from its present state: people may have
    moved it meanwhile."""

    campaign_id: UUID
    state: CampaignState
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class DecisionWrite:
    """What pacing decided for a campaign on a node since the decision kept before, and why."""

    campaign_id: UUID
    client_id: UUID
    node: str
    at: datetime
    settings_version: int
    calls: int
    cancelled: int  # ringing calls given up
    binding: str  # what kept it from more: `pacing.decision.Binding`
    details: Mapping[str, Any]  # reason, agents, forecast


Write = (
    AttemptUpdate
    | LeadMove
    | Conversation
    | DispositionWrite
    | AgentInterval
    | AgentNow
    | DoNotCall
    | RecordingWrite
    | CampaignMove
    | DecisionWrite
)


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """An attempt without outcome found at start: to be reconciled."""

    id: UUID
    lead_id: UUID
    client_id: UUID
    campaign_id: UUID
    customer_id: UUID
    number: str
    node: str
    trunk: str
    intended_at: datetime
    sent_at: datetime | None
    answered_at: datetime | None
    connected_at: datetime | None
    agent_id: UUID | None
    outcome_counts: Mapping[str, int]
    attempts: int
    was: LeadState = LeadState.NEW  # the lead, before it was claimed
    callback_agent: UUID | None = None
    mode: str = ""
    name: str = ""  # the person's, with their attributes: for the screen
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HourCount:
    """Concluded attempts of a campaign, intended within one hour (UTC), with one outcome."""

    hour: datetime
    outcome: str
    attempts: int
    live: int  # answered by a person: connected or abandoned
    abandoned: int


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """A concluded attempt that left, without an agent reserved for it: to learn from."""

    node: str
    sent_at: datetime
    ringing_at: datetime | None
    answered_at: datetime | None
    connected_at: datetime | None
    ended_at: datetime
    outcome: Outcome
    wrap_up: float | None  # s, where an agent described it
    list_id: UUID | None = None
    trunk: str = ""
    agent_id: UUID | None = None


#: Something may still become of leads in these states without anybody loading or reopening them.
OPEN_LEADS = frozenset(
    {
        LeadState.NEW,
        LeadState.HOPPER,
        LeadState.DIALING,
        LeadState.RETRY,
        LeadState.CALLBACK,
    }
)


@dataclass(frozen=True, slots=True)
class LeadCounts:
    """A campaign's leads: how many in each state, how many may be called now, and when the next
    of the others may."""

    states: Mapping[LeadState, int] = field(default_factory=dict)
    due: int = 0
    next_at: datetime | None = None

    @property
    def total(self) -> int:
        return sum(self.states.values())

    @property
    def open(self) -> int:
        return sum(n for state, n in self.states.items() if state in OPEN_LEADS)


@dataclass(frozen=True, slots=True)
class AgentView:
    """What an engine knows of an agent."""

    id: UUID
    client_id: UUID
    pool_id: UUID
    name: str
    endpoint: str  # PJSIP endpoint of the phone
    node: str  # where that phone is, '' = any
    campaigns: frozenset[UUID]  # those the agent may work


@dataclass(frozen=True, slots=True)
class PoolView:
    """All an engine loads at start and on a change of configuration."""

    pool_id: UUID
    campaigns: Sequence[CampaignView] = field(default_factory=tuple)
    agents: Sequence[AgentView] = field(default_factory=tuple)


class StoreInTrouble(Exception):
    """The store cannot take writes at the moment: it is gone, full, read-only or overloaded.
    Nothing is wrong with what was to be written."""


class PoolStore(Protocol):
    """The engine's only way to the database. Raises LeaseLost when the epoch is not current."""

    async def acquire(self, pool_id: UUID, *, owner: str, seconds: float) -> Lease | None:
        """Take a free or expired lease (epoch + 1), or None. Expiry is judged by the database."""
        ...

    async def renew(self, lease: Lease) -> Lease: ...

    async def release(self, lease: Lease, *, handover: Mapping[str, Any] | None = None) -> None:
        """Give it up. `handover`: kept for the next owner."""
        ...

    async def take_handover(self, lease: Lease) -> Mapping[str, Any] | None:
        """What the owner just before this one left, once."""
        ...

    async def load(self, pool_id: UUID) -> PoolView: ...

    async def claim(
        self,
        lease: Lease,
        *,
        campaign_id: UUID,
        limit: int,
        now: datetime,
        agents: Collection[UUID] | None = None,
    ) -> list[ClaimedLead]:
        """Move up to `limit` due leads to the hopper, reserving person and number in the same
        transaction (a person reserved by any campaign is passed over). Due callbacks first, then
        due retries, then new ones in list order.

        Leads kept for one agent (`callback_agent`, while that agent works the campaign) come only
        when `agents` names them, and then only they come, at most one for each agent."""
        ...

    async def claim_one(self, lease: Lease, *, lead_id: UUID, now: datetime) -> ClaimedLead | None:
        """The same for one given lead (preview, manual, callback); None if it cannot be had."""
        ...

    async def ensure_lead(
        self, lease: Lease, *, campaign_id: UUID, number: str, now: datetime
    ) -> UUID:
        """The campaign's lead with this E.164 number; made, with customer and number, if new."""
        ...

    async def unclaim_all(self, lease: Lease, *, keep: Collection[UUID] = ()) -> int:
        """Return hopper leads of this pool, but those in `keep`, to what they were before they
        were claimed (after a crash, or an answer that was lost): number returned."""
        ...

    async def blocked_by_do_not_call(
        self, client_id: UUID, numbers: Sequence[str]
    ) -> frozenset[str]:
        """Those on a do-not-call list now: asked again for leads that sat in the hopper."""
        ...

    async def intend(self, lease: Lease, attempts: Sequence[NewAttempt]) -> None:
        """Insert attempts as intended and move their leads to dialing; all or nothing."""
        ...

    async def write(self, lease: Lease, batch: Sequence[Write]) -> None:
        """Apply a batch in order, in one transaction; idempotent when repeated after a failure.
        Raises StoreInTrouble where the batch is not to blame."""
        ...

    async def open_attempts(
        self, pool_id: UUID, *, ended: Collection[UUID] = ()
    ) -> list[OpenAttempt]:
        """Those without an outcome; or instead those named, that have one."""
        ...

    async def agents_now(self, pool_id: UUID) -> list[AgentNow]:
        """The pool's agents who are signed in, as they were last written."""
        ...

    async def attempts_of_pool(self, pool_id: UUID, ids: Sequence[UUID]) -> frozenset[UUID]:
        """Those ids that are attempts of this pool, ended or not: whose channels may be swept."""
        ...

    async def hour_counts(
        self, since: Mapping[UUID, datetime]
    ) -> Mapping[UUID, Sequence[HourCount]]:
        """Concluded attempts of these campaigns, each from its own time on, oldest hour first."""
        ...

    async def recent_attempts(
        self, campaign_id: UUID, *, since: datetime, until: datetime, limit: int
    ) -> Sequence[PastAttempt]:
        """The last `limit` of those intended from `since` on and ended before `until`, oldest
        first."""
        ...

    async def centre_counts(
        self, client_id: UUID, *, since: datetime, without: Collection[UUID]
    ) -> tuple[int, int]:
        """Live answers and abandoned calls of the client's concluded attempts, intended from the
        hour of `since` on, but those of the campaigns `without`."""
        ...

    async def lead_counts(self, campaign_id: UUID, now: datetime) -> LeadCounts: ...

    async def finish_campaign(self, lease: Lease, *, campaign_id: UUID, reason: str) -> bool:
        """Move a running campaign to finished; False, and nothing moved, when it has an open lead
        or no lead at all, or is not running (any more)."""
        ...
