"""The store port in memory: for tests of the engine, and for measuring the dialer alone.

It keeps the same promises as the databases (exclusive claims, one outcome per attempt, writes only
under the current epoch); the contract tests in tests/contract/store run on all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from dialer.domain.call import CONNECTED_OUTCOMES
from dialer.domain.campaign import CampaignState, CampaignView
from dialer.domain.errors import Conflict, LeaseLost
from dialer.domain.ids import NewId
from dialer.domain.lead import LeadState
from dialer.domain.work import (
    AgentView,
    AttemptUpdate,
    CampaignMove,
    ClaimedLead,
    ContactHistory,
    DoNotCall,
    HourCount,
    LeadCounts,
    LeadMove,
    Lease,
    NewAttempt,
    OpenAttempt,
    PoolView,
    Write,
)
from dialer.engine.outcomes import counts_as_abandoned
from telephony.clock import Clock

_CLAIMABLE = frozenset({LeadState.NEW, LeadState.RETRY, LeadState.CALLBACK})
_HELD = frozenset({LeadState.HOPPER, LeadState.DIALING})


@dataclass(slots=True)
class LeadRow:
    lead: ClaimedLead
    position: int
    state: LeadState = LeadState.NEW
    next_at: datetime | None = None
    reason: str = ""
    attempts: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    callback_agent: UUID | None = None


@dataclass(slots=True)
class AttemptRow:
    new: NewAttempt
    fields: dict[str, Any] = field(default_factory=dict)


class MemoryPoolStore:
    """One pool's rows in dictionaries. `down` makes every call fail, as a lost database does."""

    def __init__(self, pool_id: UUID, *, clock: Clock, new_id: NewId) -> None:
        self._pool_id, self._clock, self._new_id = pool_id, clock, new_id
        self.campaigns: dict[UUID, CampaignView] = {}
        self.agents: dict[UUID, AgentView] = {}
        self.leads: dict[UUID, LeadRow] = {}
        self.attempts: dict[UUID, AttemptRow] = {}
        self.do_not_call: set[tuple[UUID, str]] = set()
        self.writes: list[Write] = []
        self.down = False
        self._epoch, self._owner, self._expires = 0, "", 0.0
        self._reserved: dict[tuple[UUID, object], UUID] = {}  # (client, person or number) -> lead

    def add_lead(self, lead: ClaimedLead) -> None:
        self.leads[lead.lead_id] = LeadRow(lead, len(self.leads))

    def _alive(self) -> None:
        if self.down:
            raise ConnectionError("the database is away")

    def _check(self, lease: Lease) -> None:
        self._alive()
        if lease.epoch != self._epoch or lease.owner != self._owner:
            raise LeaseLost(f"epoch {lease.epoch} is over, {self._epoch} is current")

    async def acquire(self, pool_id: UUID, *, owner: str, seconds: float) -> Lease | None:
        self._alive()
        now = self._clock.monotonic()
        if self._owner and now < self._expires:
            return None
        self._epoch, self._owner, self._expires = self._epoch + 1, owner, now + seconds
        return Lease(pool_id, self._epoch, owner, seconds)

    async def renew(self, lease: Lease) -> Lease:
        self._check(lease)
        self._expires = self._clock.monotonic() + lease.seconds
        return lease

    async def release(self, lease: Lease) -> None:
        self._check(lease)
        self._owner = ""

    async def load(self, pool_id: UUID) -> PoolView:
        self._alive()
        return PoolView(pool_id, tuple(self.campaigns.values()), tuple(self.agents.values()))

    async def claim(
        self, lease: Lease, *, campaign_id: UUID, limit: int, now: datetime
    ) -> list[ClaimedLead]:
        self._check(lease)
        due = [
            row
            for row in self.leads.values()
            if row.lead.campaign_id == campaign_id
            and row.state in _CLAIMABLE
            and (row.next_at is None or row.next_at <= now)
        ]
        order = {LeadState.CALLBACK: 0, LeadState.RETRY: 1, LeadState.NEW: 2}
        due.sort(key=lambda row: (order[row.state], row.position))
        claimed: list[ClaimedLead] = []
        for row in due:
            if len(claimed) >= limit:
                break
            lead = self._claim(row)
            if lead is not None:
                claimed.append(lead)
        return claimed

    async def claim_one(self, lease: Lease, *, lead_id: UUID, now: datetime) -> ClaimedLead | None:
        self._check(lease)
        row = self.leads.get(lead_id)
        if row is None or row.state not in (*_CLAIMABLE, LeadState.DONE):
            return None
        return self._claim(row)

    def _claim(self, row: LeadRow) -> ClaimedLead | None:
        keys = self._keys(row)
        if any(key in self._reserved for key in keys):
            return None
        for key in keys:
            self._reserved[key] = row.lead.lead_id
        callback_at = row.next_at if row.state is LeadState.CALLBACK else None
        row.state = LeadState.HOPPER
        times = [
            a.new.intended_at
            for a in self.attempts.values()
            if a.new.customer_id == row.lead.customer_id
            and a.fields.get("outcome") is not None
            and a.fields["outcome"].value != "expired"
        ]
        history = ContactHistory(
            person_attempts=tuple(sorted(times, reverse=True)),
            number_attempts=tuple(sorted(times, reverse=True)),
            do_not_call=(
                ("number:client",)
                if (row.lead.client_id, row.lead.number) in self.do_not_call
                else ()
            ),
        )
        return replace(
            row.lead,
            attempts=row.attempts,
            outcome_counts=dict(row.outcomes),
            callback_agent=row.callback_agent,
            callback_at=callback_at,
            history=history,
        )

    @staticmethod
    def _keys(row: LeadRow) -> list[tuple[UUID, object]]:
        return [
            (row.lead.client_id, row.lead.customer_id),
            (row.lead.client_id, row.lead.number),
        ]

    def _release(self, row: LeadRow) -> None:
        for key in self._keys(row):
            if self._reserved.get(key) == row.lead.lead_id:
                del self._reserved[key]

    async def ensure_lead(
        self, lease: Lease, *, campaign_id: UUID, number: str, now: datetime
    ) -> UUID:
        self._check(lease)
        for row in self.leads.values():
            if row.lead.campaign_id == campaign_id and row.lead.number == number:
                return row.lead.lead_id
        campaign = self.campaigns[campaign_id]
        lead_id = self._new_id()
        self.add_lead(
            ClaimedLead(
                lead_id,
                campaign.client_id,
                campaign_id,
                self._new_id(),
                self._new_id(),
                self._new_id(),
                number,
                None,
                "",
                "",
                0,
                {},
                False,
                {},
                "",
                None,
                None,
                ContactHistory(),
            )
        )
        return lead_id

    async def unclaim_all(self, lease: Lease) -> int:
        self._check(lease)
        rows = [r for r in self.leads.values() if r.state is LeadState.HOPPER]
        for row in rows:
            row.state, row.next_at = LeadState.RETRY, None
            self._release(row)
        return len(rows)

    async def blocked_by_do_not_call(
        self, client_id: UUID, numbers: Sequence[str]
    ) -> frozenset[str]:
        self._alive()
        return frozenset(n for n in numbers if (client_id, n) in self.do_not_call)

    async def intend(self, lease: Lease, attempts: Sequence[NewAttempt]) -> None:
        self._check(lease)
        for attempt in attempts:
            row = self.leads[attempt.lead_id]
            if row.state is not LeadState.HOPPER:
                raise Conflict(f"expected hopper, got {row.state.value}")
        for attempt in attempts:
            self.leads[attempt.lead_id].state = LeadState.DIALING
            self.attempts[attempt.id] = AttemptRow(attempt)

    async def write(self, lease: Lease, batch: Sequence[Write]) -> None:
        self._check(lease)
        for write in batch:
            self._apply(write)
        self.writes.extend(batch)

    def _apply(self, write: Write) -> None:
        if isinstance(write, AttemptUpdate):
            fields = self.attempts[write.id].fields
            old = fields.get("outcome")
            if write.outcome is not None and old is not None and old is not write.outcome:
                raise Conflict(f"attempt {write.id} ended as {old.value} already")
            for name in AttemptUpdate.__slots__:
                value = getattr(write, name)
                if value is not None and name not in ("id", "intended_at"):
                    fields[name] = value
        elif isinstance(write, LeadMove):
            row = self.leads[write.lead_id]
            row.state, row.next_at, row.reason = write.state, write.next_at, write.reason
            row.callback_agent = write.callback_agent
            if write.outcome is not None:
                row.outcomes[write.outcome.value] += 1
            row.attempts += int(write.counts_attempt)
            if write.state not in _HELD:
                self._release(row)
        elif isinstance(write, DoNotCall):
            self.do_not_call.add((write.client_id, write.number))
            for row in self.leads.values():
                if (
                    row.lead.client_id == write.client_id
                    and row.lead.number == write.number
                    and row.state in _CLAIMABLE
                ):
                    row.state, row.reason = LeadState.BLOCKED, "do_not_call"
        elif isinstance(write, CampaignMove):
            view = self.campaigns[write.campaign_id]
            self.campaigns[write.campaign_id] = replace(view, state=write.state)

    async def open_attempts(self, pool_id: UUID) -> list[OpenAttempt]:
        self._alive()
        return [
            OpenAttempt(
                row.new.id,
                row.new.lead_id,
                row.new.client_id,
                row.new.campaign_id,
                row.new.customer_id,
                row.new.number,
                row.new.node,
                row.new.trunk,
                row.new.intended_at,
                row.fields.get("sent_at"),
                row.fields.get("answered_at"),
                row.fields.get("connected_at"),
                row.fields.get("agent_id") or row.new.agent_id,
                dict(self.leads[row.new.lead_id].outcomes),
                self.leads[row.new.lead_id].attempts,
            )
            for row in self.attempts.values()
            if row.fields.get("outcome") is None
        ]

    async def of_other_pools(self, pool_id: UUID, ids: Sequence[UUID]) -> frozenset[UUID]:
        self._alive()
        return frozenset()

    async def hour_counts(
        self, since: Mapping[UUID, datetime]
    ) -> Mapping[UUID, Sequence[HourCount]]:
        self._alive()
        found: dict[UUID, list[HourCount]] = {campaign_id: [] for campaign_id in since}
        for row in self.attempts.values():
            new, outcome = row.new, row.fields.get("outcome")
            if outcome is None or new.campaign_id not in since:
                continue
            if new.intended_at < since[new.campaign_id]:
                continue
            abandoned = counts_as_abandoned(
                outcome,
                answered=row.fields.get("answered_at") is not None,
                connected=row.fields.get("connected_at") is not None,
                message=bool(row.fields.get("message_played")),
            )
            live = abandoned or outcome in CONNECTED_OUTCOMES
            hour = new.intended_at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
            found[new.campaign_id].append(
                HourCount(hour, outcome.value, 1, int(live), int(abandoned))
            )
        return found

    async def lead_counts(self, campaign_id: UUID, now: datetime) -> LeadCounts:
        self._alive()
        rows = [r for r in self.leads.values() if r.lead.campaign_id == campaign_id]
        waiting = [r for r in rows if r.state in _CLAIMABLE]
        later = [r.next_at for r in waiting if r.next_at is not None and r.next_at > now]
        return LeadCounts(
            Counter(r.state for r in rows), len(waiting) - len(later), min(later, default=None)
        )

    async def finish_campaign(self, lease: Lease, *, campaign_id: UUID, reason: str) -> bool:
        self._check(lease)
        view = self.campaigns[campaign_id]
        counts = await self.lead_counts(campaign_id, self._clock.now())
        if view.state is not CampaignState.RUNNING or counts.open or not counts.total:
            return False
        self.campaigns[campaign_id] = view.moved(CampaignState.FINISHED)
        return True
