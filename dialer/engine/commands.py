"""What agents and supervisors ask of a pool: one method per command, validated, answered.

The websocket and the REST layer only carry these; whoever owns the pool decides.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from datetime import datetime
from typing import Any
from uuid import UUID

from dialer.domain.agent import AgentEvent, AgentState
from dialer.domain.call import CallState
from dialer.domain.campaign import DispositionCode
from dialer.domain.errors import Conflict, Invalid, NotFound
from dialer.domain.lead import LeadState
from dialer.domain.work import DispositionWrite, DoNotCall, LeadMove, Write
from dialer.engine.agents import AgentDesk
from dialer.engine.assisted import AssistedDialing
from dialer.engine.calls import CallDesk
from dialer.engine.gate import Gate
from dialer.engine.hopper import Hopper
from dialer.engine.outcomes import after_disposition
from dialer.engine.router import Router
from dialer.engine.state import Agent, Call, Campaign
from telephony.clock import Clock

Payload = Mapping[str, Any]
_MOST_NOTE = 10_000
_PLACING = frozenset({"agent.manual_call", "agent.preview_dial"})


class Commands:
    """The command table of one pool's engine."""

    def __init__(
        self,
        *,
        campaigns: Mapping[UUID, Campaign],
        desk: AgentDesk,
        calls: CallDesk,
        router: Router,
        hopper: Hopper,
        assisted: AssistedDialing,
        put: Callable[[Write], None],
        clock: Clock,
        node_for: Callable[[Agent], str],
        refresh: Callable[[], Awaitable[None]],
        gate: Gate,
        figures: Callable[[UUID | None], Mapping[str, Any]],
        outlook: Callable[[Campaign], Mapping[str, Any]],
        last_seq: Callable[[str], object],
    ) -> None:
        self._campaigns, self._desk, self._calls = campaigns, desk, calls
        self._router, self._hopper, self._assisted = router, hopper, assisted
        self._put, self._clock, self._node_for = put, clock, node_for
        self._refresh, self._figures, self._last_seq = refresh, figures, last_seq
        self._gate, self._outlook = gate, outlook
        self._agent_table: Mapping[str, Callable[[Agent, Payload], Awaitable[Payload]]] = {
            "agent.sign_in": self._sign_in,
            "agent.sign_out": self._sign_out,
            "agent.ready": self._ready,
            "agent.pause": self._pause,
            "agent.hang_up": self._hang_up,
            "agent.disposition": self._disposition,
            "agent.manual_call": self._manual_call,
            "agent.preview_dial": self._preview_dial,
            "agent.preview_skip": self._preview_skip,
            "agent.snapshot": self._snapshot,
        }

    async def handle(self, command: str, payload: Payload) -> Payload:
        """Carry out one command; raises DialerError with what was wrong."""
        placing = command in _PLACING
        self._gate.check(placing=placing)
        if command in self._agent_table:
            agent = self._desk.get(_uuid(payload, "agent_id"))
            with self._gate.busy() if placing else nullcontext():
                return await self._agent_table[command](agent, payload)
        if command == "pool.refresh":
            await self._refresh()
            return {}
        if command == "pool.figures":
            client_id = payload.get("client_id")
            return self._figures(_uuid(payload, "client_id") if client_id else None)
        if command == "pool.outlook":
            campaign = self._campaigns.get(_uuid(payload, "campaign_id"))
            if campaign is None:
                raise Conflict("the campaign is not at work")
            return self._outlook(campaign)
        if command == "pool.do_not_call":
            return self.do_not_call(_uuid(payload, "client_id"), list(payload["numbers"]))
        if command == "call.hang_up":
            call = self._calls.get(str(payload.get("call_id", "")))
            if call is None:
                raise NotFound("no such live call")
            self._router.hang_up(call)
            return {}
        raise Invalid(f"unknown command {command!r}")

    # -- agents -----------------------------------------------------------------------------------

    async def _sign_in(self, agent: Agent, payload: Payload) -> Payload:
        self._desk.sign_in(agent, node=self._node_for(agent))
        return self._desk.describe(agent)

    async def _sign_out(self, agent: Agent, payload: Payload) -> Payload:
        self._desk.sign_out(agent, reason=str(payload.get("reason", "")))
        return self._desk.describe(agent)

    async def _ready(self, agent: Agent, payload: Payload) -> Payload:
        self._desk.make_ready(agent)
        return self._desk.describe(agent)

    async def _pause(self, agent: Agent, payload: Payload) -> Payload:
        if agent.state is AgentState.PREVIEWING:
            self._assisted.put_back(agent)
        self._desk.pause(agent, str(payload.get("reason", "")))
        return self._desk.describe(agent)

    async def _hang_up(self, agent: Agent, payload: Payload) -> Payload:
        call = agent.call
        if call is None:
            raise Conflict("there is no call to hang up", state=agent.state.value)
        call.agent_hung_up = bool(call.connected)
        call.cancelled = not call.connected
        self._router.hang_up(call)
        return {"call_id": call.key}

    async def _disposition(self, agent: Agent, payload: Payload) -> Payload:
        mine = {call.key: call for call in (agent.call, agent.last_call) if call is not None}
        call = mine.get(str(payload.get("call_id", "")))
        if call is None:
            raise Conflict("this call is not yours to describe any more", state=agent.state.value)
        campaign = self._campaigns.get(call.campaign_id)
        code = campaign.view.dispositions.get(str(payload.get("code"))) if campaign else None
        if code is None:
            raise Invalid(
                "unknown disposition code",
                known=sorted(campaign.view.dispositions) if campaign else [],
            )
        callback_at = _instant(payload.get("callback_at"))
        if code.callback and callback_at is None:
            raise Invalid("this code needs callback_at")
        if callback_at is not None and callback_at <= self._clock.now():
            raise Invalid("callback_at is in the past")
        note = str(payload.get("note") or "")
        if len(note) > _MOST_NOTE:
            raise Invalid(f"the note is longer than {_MOST_NOTE} characters")
        if call.state is not CallState.ENDED:
            raise Conflict("the call is still on", state=call.state.value)
        if agent.disposed:
            raise Conflict("this call is described already", state=agent.state.value)
        self._write_disposition(agent, call, code, payload, note=note, callback_at=callback_at)
        agent.disposed = True
        if agent.state is AgentState.WRAP_UP:
            if payload.get("then", "ready") == "pause" and agent.pending is None:
                agent.pending, agent.pending_reason = AgentEvent.PAUSE, "after call"
            self._desk.finish_wrap_up(agent)
        return self._desk.describe(agent)

    def _write_disposition(
        self,
        agent: Agent,
        call: Call,
        code: DispositionCode,
        payload: Payload,
        *,
        note: str,
        callback_at: datetime | None,
    ) -> None:
        now = self._clock.now()
        wrapping = agent.state is AgentState.WRAP_UP and agent.since_at is not None
        wrap_up = self._clock.monotonic() - agent.since if wrapping else 0.0
        self._put(
            DispositionWrite(
                call.id,
                call.intended_at,
                agent.id,
                code.code,
                note,
                dict(payload.get("form") or {}),
                now,
                wrap_up,
            )
        )
        if code.do_not_call:
            self._put(
                DoNotCall(call.client_id, call.number, call.customer_id, "client", "agent", now)
            )
            self.do_not_call(call.client_id, [call.number])
        if not call.connected:
            return  # nobody was spoken to: the network's outcome has already moved the lead
        step = after_disposition(code, now=now, callback_at=callback_at)
        if step.state is not LeadState.DONE or step.reason != "conversation":
            mine = agent.id if payload.get("callback_mine") else None
            self._put(
                LeadMove(
                    call.lead_id,
                    step.state,
                    next_at=step.next_at,
                    reason=step.reason,
                    callback_agent=mine,
                )
            )

    async def _manual_call(self, agent: Agent, payload: Payload) -> Payload:
        campaign = self._campaigns.get(_uuid(payload, "campaign_id"))
        if campaign is None or campaign.id not in agent.view.campaigns:
            raise NotFound("no such campaign for this agent")
        lead_id = payload.get("lead_id")
        call = await self._assisted.manual(
            agent,
            campaign,
            number=str(payload.get("number") or ""),
            lead_id=_uuid(payload, "lead_id") if lead_id else None,
        )
        return {"call_id": call.key}

    async def _preview_dial(self, agent: Agent, payload: Payload) -> Payload:
        call = await self._assisted.dial(agent)
        return {"call_id": call.key}

    async def _preview_skip(self, agent: Agent, payload: Payload) -> Payload:
        self._assisted.skip(agent)
        return self._desk.describe(agent)

    async def _snapshot(self, agent: Agent, payload: Payload) -> Payload:
        call = agent.call or agent.last_call
        return {
            # Read with the state, so that a screen knows which messages it already includes.
            "seq": str(self._last_seq(f"agent:{agent.id}")),
            **self._desk.describe(agent),
            "call": (
                {**self._router.pop(call), "state": call.state.value} if call is not None else None
            ),
            "preview": self._assisted.describe(agent),
            "campaigns": [
                {"id": str(c.id), "name": c.view.name, "mode": c.view.settings.mode.value}
                for c in self._campaigns.values()
                if c.id in agent.view.campaigns
            ],
        }

    # -- the pool ---------------------------------------------------------------------------------

    def do_not_call(self, client_id: UUID, numbers: list[str]) -> Payload:
        """Takes effect on leads in the hopper at once; the store has those in the lists."""
        self._calls.block_numbers(client_id, frozenset(numbers))
        return {"blocked": self._hopper.drop_numbers(client_id, numbers)}


def _uuid(payload: Payload, key: str) -> UUID:
    value = payload.get(key)
    if isinstance(value, UUID):
        return value
    try:
        return UUID(str(value))
    except ValueError:
        raise Invalid(f"{key} is not an id") from None


def _instant(value: object) -> datetime | None:
    if value is None or value == "":
        return None
    try:
        instant = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise Invalid("callback_at is not an ISO 8601 time") from None
    if instant.tzinfo is None:
        raise Invalid("callback_at needs a UTC offset")
    return instant
