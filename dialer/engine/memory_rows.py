"""The rows of the store in memory, and what a batch of writes does to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from dialer.domain.call import Outcome
from dialer.domain.lead import LeadState
from dialer.domain.work import (
    AgentInterval,
    AgentNow,
    AttemptUpdate,
    CampaignMove,
    ClaimedLead,
    Conversation,
    DecisionWrite,
    DispositionWrite,
    DoNotCall,
    LeadMove,
    NewAttempt,
    RecordingWrite,
    Write,
)

_WAITING = frozenset({LeadState.NEW, LeadState.RETRY, LeadState.CALLBACK})
_HELD = frozenset({LeadState.HOPPER, LeadState.DIALING})
_FIELDS = tuple(n for n in AttemptUpdate.__slots__ if n not in ("id", "intended_at"))


@dataclass(slots=True)
class LeadRow:
    lead: ClaimedLead
    position: int
    state: LeadState = LeadState.NEW
    next_at: datetime | None = None
    reason: str = ""
    callback_agent: UUID | None = None


@dataclass(slots=True)
class AttemptRow:
    new: NewAttempt
    pool_id: UUID
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome | None:
        return self.fields.get("outcome")


class Tables:
    """Rows by key. Like the databases' inserts, the first row of a key stays."""

    def __init__(self) -> None:
        self.leads: dict[UUID, LeadRow] = {}
        self.attempts: dict[UUID, AttemptRow] = {}
        self.do_not_call: dict[tuple[UUID, str], DoNotCall] = {}
        self.conversations: dict[tuple[UUID, UUID], Conversation] = {}
        self.dispositions: dict[tuple[UUID, UUID], DispositionWrite] = {}
        self.intervals: dict[tuple[object, ...], AgentInterval] = {}
        self.agents_now: dict[UUID, AgentNow] = {}
        self.recordings: dict[UUID, RecordingWrite] = {}
        self.decisions: dict[tuple[UUID, str, datetime], DecisionWrite] = {}
        self._reserved: dict[tuple[UUID, object], tuple[UUID, UUID]] = {}  # -> (pool, lead)

    # -- persons and numbers

    @staticmethod
    def _keys(row: LeadRow) -> list[tuple[UUID, object]]:
        lead = row.lead
        return [(lead.client_id, lead.customer_id), (lead.client_id, lead.number)]

    def reserve(self, row: LeadRow, pool_id: UUID) -> bool:
        """Person and number together, or neither."""
        keys = self._keys(row)
        if any(key in self._reserved for key in keys):
            return False
        for key in keys:
            self._reserved[key] = (pool_id, row.lead.lead_id)
        return True

    def release(self, row: LeadRow) -> None:
        for key in self._keys(row):
            if self._reserved.get(key, (None, None))[1] == row.lead.lead_id:
                del self._reserved[key]

    def held_by(self, pool_id: UUID) -> set[UUID]:
        return {lead for pool, lead in self._reserved.values() if pool == pool_id}

    # -- writes

    def apply(self, write: Write) -> CampaignMove | None:
        """One write; a campaign's move is handed back, because campaigns are not kept here."""
        match write:
            case AttemptUpdate():
                self._update(write)
            case LeadMove():
                self._move(write)
            case DoNotCall():
                self._block(write)
            case Conversation():
                self.conversations.setdefault((write.attempt_id, write.agent_id), write)
            case DispositionWrite():
                self.dispositions.setdefault((write.attempt_id, write.agent_id), write)
            case AgentInterval():
                key = (write.agent_id, write.session_id, write.started_at, write.state)
                if write.ended_at > self.intervals.get(key, write).ended_at:  # it went on
                    self.intervals[key] = write
                self.intervals.setdefault(key, write)
            case AgentNow():
                self.agents_now[write.agent_id] = write
            case RecordingWrite():
                self.recordings.setdefault(write.attempt_id, write)
            case DecisionWrite():
                self.decisions.setdefault((write.campaign_id, write.node, write.at), write)
            case CampaignMove():
                return write
        return None

    def _update(self, write: AttemptUpdate) -> None:
        row = self.attempts.get(write.id)
        if row is None:
            return
        for name in _FIELDS:
            value = getattr(write, name)
            if value is not None:
                row.fields.setdefault(name, value)

    def _move(self, write: LeadMove) -> None:
        row = self.leads[write.lead_id]
        if write.only_from is not None and row.state is not write.only_from:
            return
        row.state, row.next_at, row.reason = write.state, write.next_at, write.reason
        row.callback_agent = write.callback_agent
        if write.state not in _HELD:
            self.release(row)

    def _block(self, write: DoNotCall) -> None:
        self.do_not_call.setdefault((write.client_id, write.number), write)
        for row in self.leads.values():
            lead = row.lead
            same = lead.client_id == write.client_id and lead.number == write.number
            if same and row.state in _WAITING:
                row.state, row.reason, row.next_at = LeadState.BLOCKED, "do_not_call", None
