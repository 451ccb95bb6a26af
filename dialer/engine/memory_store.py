"""The store port in memory: for tests of the engine, and for measuring the dialer alone.

It keeps the same promises as the databases (exclusive claims, one outcome per attempt, writes only
under the current epoch); the contract tests in tests/contract/store run on all of them. Like a
database it can be slow, away, or lose the answer to something it did.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from dialer.domain.call import CONNECTED_OUTCOMES, FREE_OUTCOMES, Outcome
from dialer.domain.campaign import CAMPAIGN, CampaignState, CampaignView
from dialer.domain.errors import Conflict, Invalid, LeaseLost, NotFound
from dialer.domain.ids import NewId
from dialer.domain.lead import LeadState
from dialer.domain.numbers import BadNumber, parse_number
from dialer.domain.work import (
    OPEN_LEADS,
    AgentNow,
    AgentView,
    ClaimedLead,
    ContactHistory,
    HourCount,
    LeadCounts,
    Lease,
    NewAttempt,
    OpenAttempt,
    PastAttempt,
    PoolView,
    Write,
)
from dialer.engine.memory_rows import AttemptRow, LeadRow, Tables
from dialer.engine.outcomes import counts_as_abandoned
from telephony.clock import Clock

_ORDER = (LeadState.CALLBACK, LeadState.RETRY, LeadState.NEW)
_FIRST = datetime.min.replace(tzinfo=UTC)
_HISTORY = timedelta(days=31)
_ASSISTED = ("preview", "manual")


class _PoolLease:
    def __init__(self) -> None:
        self.epoch, self.owner, self.expires = 0, "", 0.0
        self.handover: tuple[int, Mapping[str, Any]] | None = None


class MemoryPoolStore:
    """All pools' rows in dictionaries.

    `latency`: seconds that every answer takes. `down`: every call fails and does nothing.
    `lose_answers`: so many of the next calls that write do their work and fail.
    """

    def __init__(self, *, clock: Clock, new_id: NewId) -> None:
        self._clock, self._new_id = clock, new_id
        self.campaigns: dict[UUID, CampaignView] = {}
        self.agents: dict[UUID, AgentView] = {}
        self.rows = Tables()
        self.latency, self.down, self.lose_answers = 0.0, False, 0
        self._leases: defaultdict[UUID, _PoolLease] = defaultdict(_PoolLease)

    @property
    def leads(self) -> dict[UUID, LeadRow]:
        return self.rows.leads

    @property
    def attempts(self) -> dict[UUID, AttemptRow]:
        return self.rows.attempts

    def add_lead(self, lead: ClaimedLead) -> None:
        self.leads[lead.lead_id] = LeadRow(lead, len(self.leads))

    async def _asked(self) -> None:
        if self.latency:
            await asyncio.sleep(self.latency)
        if self.down:
            raise ConnectionError("the database is away")

    async def _owned(self, lease: Lease) -> None:
        await self._asked()
        held = self._leases[lease.pool_id]
        if lease.epoch != held.epoch or lease.owner != held.owner:
            raise LeaseLost(f"epoch {lease.epoch} is over, {held.epoch} is current")

    async def _done(self) -> None:
        if self.latency:
            await asyncio.sleep(self.latency)
        if self.lose_answers:
            self.lose_answers -= 1
            raise ConnectionError("the answer was lost")

    # -- the lease and what there is

    async def acquire(self, pool_id: UUID, *, owner: str, seconds: float) -> Lease | None:
        await self._asked()
        held, now = self._leases[pool_id], self._clock.monotonic()
        if held.owner and now < held.expires:
            return None
        held.epoch, held.owner, held.expires = held.epoch + 1, owner, now + seconds
        return Lease(pool_id, held.epoch, owner, seconds)

    async def renew(self, lease: Lease) -> Lease:
        await self._owned(lease)
        self._leases[lease.pool_id].expires = self._clock.monotonic() + lease.seconds
        return lease

    async def release(self, lease: Lease, *, handover: Mapping[str, Any] | None = None) -> None:
        await self._owned(lease)
        held = self._leases[lease.pool_id]
        held.owner, held.handover = "", (lease.epoch, handover) if handover is not None else None

    async def take_handover(self, lease: Lease) -> Mapping[str, Any] | None:
        await self._owned(lease)
        held = self._leases[lease.pool_id]
        left, held.handover = held.handover, None
        return left[1] if left is not None and left[0] == lease.epoch - 1 else None

    async def load(self, pool_id: UUID) -> PoolView:
        await self._asked()
        return PoolView(
            pool_id,
            tuple(
                c
                for c in self.campaigns.values()
                if c.pool_id == pool_id and c.state is not CampaignState.FINISHED
            ),
            tuple(a for a in self.agents.values() if a.pool_id == pool_id),
        )

    # -- leads

    async def claim(
        self,
        lease: Lease,
        *,
        campaign_id: UUID,
        limit: int,
        now: datetime,
        agents: Collection[UUID] | None = None,
    ) -> list[ClaimedLead]:
        await self._owned(lease)
        due = [
            row
            for row in self.leads.values()
            if row.lead.campaign_id == campaign_id
            and row.state in _ORDER
            and (row.next_at is None or row.next_at <= now)
            and (self._kept_for(row) in agents if agents is not None else not self._kept_for(row))
        ]
        due.sort(key=lambda r: (_ORDER.index(r.state), r.next_at or _FIRST, r.position))
        claimed: list[ClaimedLead] = []
        served: set[UUID | None] = set()
        for row in due:
            if len(claimed) >= limit:
                break
            if agents is not None and row.callback_agent in served:
                continue
            lead = self._claim(row, lease.pool_id, now)
            if lead is not None:
                served.add(row.callback_agent)
                claimed.append(lead)
        await self._done()
        return claimed

    def _kept_for(self, row: LeadRow) -> UUID | None:
        agent = self.agents.get(row.callback_agent) if row.callback_agent else None
        works = agent is not None and row.lead.campaign_id in agent.campaigns
        return row.callback_agent if works else None

    async def claim_one(self, lease: Lease, *, lead_id: UUID, now: datetime) -> ClaimedLead | None:
        await self._owned(lease)
        row = self.leads.get(lead_id)
        if row is None or row.state not in (*_ORDER, LeadState.DONE):
            return None
        lead = self._claim(row, lease.pool_id, now)
        await self._done()
        return lead

    def _claim(self, row: LeadRow, pool_id: UUID, now: datetime) -> ClaimedLead | None:
        if not self.rows.reserve(row, pool_id):
            return None
        was, row.state, row.reason = row.state, LeadState.HOPPER, row.state.value
        counts = self._counts(row.lead.lead_id)
        return replace(
            row.lead,
            attempts=_attempts(counts),
            outcome_counts=dict(counts),
            callback_agent=row.callback_agent,
            callback_at=row.next_at if was is LeadState.CALLBACK else None,
            history=self._history(row.lead, now),
            was=was,
        )

    def _counts(self, lead_id: UUID) -> Counter[str]:
        """Attempts of a lead by outcome, counted from the attempts as the databases do."""
        ended = [a.outcome for a in self.attempts.values() if a.new.lead_id == lead_id]
        return Counter(outcome.value for outcome in ended if outcome is not None)

    def _history(self, lead: ClaimedLead, now: datetime) -> ContactHistory:
        past = sorted(
            (
                a
                for a in self.attempts.values()
                if a.new.client_id == lead.client_id
                and a.new.intended_at > now - _HISTORY
                and a.outcome is not Outcome.EXPIRED
            ),
            key=lambda a: a.new.intended_at,
            reverse=True,
        )
        person = [a for a in past if a.new.customer_id == lead.customer_id]

        def last(wanted: Collection[AttemptRow]) -> datetime | None:
            return next((a.new.intended_at for a in wanted), None)

        return ContactHistory(
            person_attempts=tuple(a.new.intended_at for a in person),
            number_attempts=tuple(a.new.intended_at for a in past if a.new.number == lead.number),
            last_abandon=last([a for a in person if _abandoned(a)]),
            last_machine=last([a for a in person if a.outcome is Outcome.MACHINE]),
            last_conversation=last([a for a in person if a.outcome in CONNECTED_OUTCOMES]),
            do_not_call=(
                ("number:client",) if (lead.client_id, lead.number) in self.rows.do_not_call else ()
            ),
        )

    async def ensure_lead(
        self, lease: Lease, *, campaign_id: UUID, number: str, now: datetime
    ) -> UUID:
        try:
            parsed = parse_number(number)
        except BadNumber as error:
            raise Invalid(f"the number cannot be called: {error}") from None
        await self._owned(lease)
        for row in self.leads.values():
            if row.lead.campaign_id == campaign_id and row.lead.number == parsed.e164:
                return row.lead.lead_id
        campaign = self.campaigns.get(campaign_id)
        if campaign is None:
            raise NotFound("no such campaign")
        lead = ClaimedLead(
            lead_id=self._new_id(), client_id=campaign.client_id, campaign_id=campaign_id,
            list_id=self._new_id(), customer_id=self._new_id(), number_id=self._new_id(),
            number=parsed.e164, zone=None, region=parsed.region, number_kind=parsed.kind,
            attempts=0, outcome_counts={}, consent=False, attributes={}, name="",
            callback_agent=None, callback_at=None, history=ContactHistory(),
        )  # fmt: skip
        self.add_lead(lead)
        await self._done()
        return lead.lead_id

    async def unclaim_all(self, lease: Lease, *, keep: Collection[UUID] = ()) -> int:
        await self._owned(lease)
        held = self.rows.held_by(lease.pool_id) - set(keep)
        rows = [self.leads[i] for i in held if self.leads[i].state is LeadState.HOPPER]
        for row in rows:
            row.state, row.reason = LeadState(row.reason), "returned"
            self.rows.release(row)
        await self._done()
        return len(rows)

    async def blocked_by_do_not_call(
        self, client_id: UUID, numbers: Sequence[str]
    ) -> frozenset[str]:
        await self._asked()
        return frozenset(n for n in numbers if (client_id, n) in self.rows.do_not_call)

    # -- attempts

    async def intend(self, lease: Lease, attempts: Sequence[NewAttempt]) -> None:
        await self._owned(lease)
        for attempt in attempts:
            if self.leads[attempt.lead_id].state is not LeadState.HOPPER:
                raise Conflict("a lead left the hopper meanwhile; nothing was committed")
        for attempt in attempts:
            self.leads[attempt.lead_id].state = LeadState.DIALING
            self.attempts[attempt.id] = AttemptRow(attempt, lease.pool_id)
        await self._done()

    async def write(self, lease: Lease, batch: Sequence[Write]) -> None:
        await self._owned(lease)
        for write in batch:
            if move := self.rows.apply(write):
                view = self.campaigns[move.campaign_id]
                if view.state in CAMPAIGN.before(move.state):
                    self.campaigns[move.campaign_id] = view.moved(move.state)
        await self._done()

    async def open_attempts(
        self, pool_id: UUID, *, ended: Collection[UUID] = ()
    ) -> list[OpenAttempt]:
        await self._asked()
        mine = [a for a in self.attempts.values() if a.pool_id == pool_id]
        if ended:
            return [self._open(a) for a in mine if a.new.id in ended and a.outcome is not None]
        return [self._open(a) for a in mine if a.outcome is None]

    async def agents_now(self, pool_id: UUID) -> list[AgentNow]:
        await self._asked()
        return [
            now
            for now in self.rows.agents_now.values()
            if now.pool_id == pool_id and now.session_id is not None
        ]

    def _open(self, row: AttemptRow) -> OpenAttempt:
        new, lead, counts = row.new, self.leads[row.new.lead_id], self._counts(row.new.lead_id)
        return OpenAttempt(
            id=new.id, lead_id=new.lead_id, client_id=new.client_id, campaign_id=new.campaign_id,
            customer_id=new.customer_id, number=new.number, node=new.node, trunk=new.trunk,
            intended_at=new.intended_at, sent_at=row.fields.get("sent_at"),
            answered_at=row.fields.get("answered_at"),
            connected_at=row.fields.get("connected_at"),
            agent_id=row.fields.get("agent_id") or new.agent_id,
            outcome_counts=dict(counts), attempts=_attempts(counts),
            was=_was(lead.reason), callback_agent=lead.callback_agent, mode=new.mode,
            name=lead.lead.name, attributes=lead.lead.attributes,
        )  # fmt: skip

    async def attempts_of_pool(self, pool_id: UUID, ids: Sequence[UUID]) -> frozenset[UUID]:
        await self._asked()
        found = (self.attempts.get(i) for i in ids)
        return frozenset(a.new.id for a in found if a is not None and a.pool_id == pool_id)

    async def hour_counts(
        self, since: Mapping[UUID, datetime]
    ) -> Mapping[UUID, Sequence[HourCount]]:
        await self._asked()
        found: dict[UUID, list[HourCount]] = {campaign_id: [] for campaign_id in since}
        for row in self.attempts.values():
            new, outcome = row.new, row.outcome
            if outcome is None or new.campaign_id not in since:
                continue
            if new.intended_at < since[new.campaign_id]:
                continue
            live = _abandoned(row) or outcome in CONNECTED_OUTCOMES
            hour = new.intended_at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
            found[new.campaign_id].append(
                HourCount(hour, outcome.value, 1, int(live), int(_abandoned(row)))
            )
        return found

    async def recent_attempts(
        self, campaign_id: UUID, *, since: datetime, until: datetime, limit: int
    ) -> Sequence[PastAttempt]:
        await self._asked()
        found = [
            row
            for row in self.attempts.values()
            if row.new.campaign_id == campaign_id
            and row.new.mode not in _ASSISTED
            and since <= row.new.intended_at < until
            and row.outcome is not None
            and "sent_at" in row.fields
            and row.fields["ended_at"] < until
        ]
        found.sort(key=lambda row: row.new.intended_at)
        return [self._past(row) for row in found[-limit:]]

    def _past(self, row: AttemptRow) -> PastAttempt:
        get, outcome = row.fields.get, row.outcome
        assert outcome is not None
        agent_id = get("agent_id")
        said = self.rows.dispositions.get((row.new.id, agent_id)) if agent_id else None
        return PastAttempt(
            row.new.node, row.fields["sent_at"], get("ringing_at"), get("answered_at"),
            get("connected_at"), row.fields["ended_at"], outcome,
            said.wrap_up_seconds if said is not None else None,
            lead.lead.list_id if (lead := self.leads.get(row.new.lead_id)) is not None else None,
            row.new.trunk, agent_id,
        )  # fmt: skip

    async def centre_counts(
        self, client_id: UUID, *, since: datetime, without: Collection[UUID]
    ) -> tuple[int, int]:
        await self._asked()
        first = since.replace(minute=0, second=0, microsecond=0)
        mine = [
            row
            for row in self.attempts.values()
            if row.new.client_id == client_id
            and row.new.campaign_id not in without
            and row.new.intended_at >= first
        ]
        gone = [row for row in mine if _abandoned(row)]
        live = [row for row in mine if _abandoned(row) or row.outcome in CONNECTED_OUTCOMES]
        return len(live), len(gone)

    async def lead_counts(self, campaign_id: UUID, now: datetime) -> LeadCounts:
        await self._asked()
        rows = [r for r in self.leads.values() if r.lead.campaign_id == campaign_id]
        waiting = [r for r in rows if r.state in _ORDER]
        later = [r.next_at for r in waiting if r.next_at is not None and r.next_at > now]
        return LeadCounts(
            Counter(r.state for r in rows), len(waiting) - len(later), min(later, default=None)
        )

    async def finish_campaign(self, lease: Lease, *, campaign_id: UUID, reason: str) -> bool:
        await self._owned(lease)
        view = self.campaigns[campaign_id]
        states = [r.state for r in self.leads.values() if r.lead.campaign_id == campaign_id]
        is_open = any(state in OPEN_LEADS for state in states)
        if view.state is not CampaignState.RUNNING or is_open or not states:
            return False
        self.campaigns[campaign_id] = view.moved(CampaignState.FINISHED)
        await self._done()
        return True


def _attempts(counts: Mapping[str, int]) -> int:
    free = {outcome.value for outcome in FREE_OUTCOMES}
    return sum(n for outcome, n in counts.items() if outcome not in free)


def _was(reason: str) -> LeadState:
    return LeadState(reason) if reason in {s.value for s in LeadState} else LeadState.RETRY


def _abandoned(row: AttemptRow) -> bool:
    return row.outcome is not None and counts_as_abandoned(
        row.outcome,
        answered=row.fields.get("answered_at") is not None,
        connected=row.fields.get("connected_at") is not None,
        message=bool(row.fields.get("message_played")),
    )
