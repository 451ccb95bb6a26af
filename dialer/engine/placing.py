"""Placing calls: rules asked, attempts committed, Originates sent, in that order and no other.

An attempt is in the database as *intended* before its Originate leaves, in one batch per tick. One
that could not be sent in time expires, undialed. The verdict of the rules is stored with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from dialer.domain.campaign import DialMode
from dialer.domain.ids import NewId
from dialer.domain.lead import LeadState
from dialer.domain.work import AttemptUpdate, ClaimedLead, LeadMove, NewAttempt, PoolStore, Write
from dialer.engine.calls import CallDesk
from dialer.engine.lease import LeaseKeeper
from dialer.engine.lines import Lines
from dialer.engine.permission import Permission, Permit, Postpone, Refuse
from dialer.engine.settings import EngineSettings
from dialer.engine.state import Agent, Call, Campaign
from dialer.engine.tasks import TaskGroup
from dialer.engine.timing import Timing
from telephony.clock import Clock
from telephony.switch import NotSent, Originate, Refused, Switch, Unanswered

log = structlog.get_logger(__name__)

_NO_LINE_DELAY = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Order:
    """One lead to be called now. `agent` and `mode` (preview or manual) for assisted calls."""

    campaign: Campaign
    lead: ClaimedLead
    node: str
    agent: Agent | None = None
    mode: DialMode | None = None  # None: the campaign's


class Placer:
    """Turns orders into calls on the network."""

    def __init__(
        self,
        *,
        store: PoolStore,
        lease: LeaseKeeper,
        calls: CallDesk,
        lines: Lines,
        permission: Permission,
        switch_for: Callable[[str], Switch],
        put: Callable[[Write], None],
        new_id: NewId,
        clock: Clock,
        settings: EngineSettings,
        tasks: TaskGroup,
    ) -> None:
        self._store, self._lease, self._calls, self._lines = store, lease, calls, lines
        self._permission, self._switch_for, self._put = permission, switch_for, put
        self._new_id, self._clock, self._settings, self._tasks = new_id, clock, settings, tasks
        #: From the moment a decision wants a call to leave to its Originate on the wire.
        self.lateness = Timing()

    async def place(self, orders: Sequence[Order], *, spread: float) -> list[Call]:
        """Ask the rules, commit, and send over the next `spread` seconds.

        Returns the calls committed. Leads that may not be called now go back with the reason.
        Raises what the store raises (then nothing was committed and nothing is sent).
        """
        if not orders:
            return []
        start = self._clock.monotonic()  # what the store takes makes calls late, and is counted
        allowed = await self._screen(orders)
        calls: list[Call] = []
        attempts: list[NewAttempt] = []
        for index, (order, trunk, permit) in enumerate(allowed):
            due = start + (spread * index / len(allowed))
            call = self._call(order, trunk, permit, due=due)
            calls.append(call)
            attempts.append(self._attempt(call, order, permit))
        if not attempts:
            return []
        try:
            await self._store.intend(self._lease.current, attempts)
        except BaseException:
            for call in calls:
                self._lines.release(call.trunk)
            self._give_back([order for order, _, _ in allowed])
            raise
        for call, (order, _, _) in zip(calls, allowed, strict=True):
            if order.agent is not None:
                call.agent_id = order.agent.id
                order.agent.call = call
            self._calls.add(call)
            self._tasks.spawn(self._send(call, order), name=f"originate-{call.key}")
        return calls

    async def _screen(self, orders: Sequence[Order]) -> list[tuple[Order, str, Permit]]:
        """Only orders with an Allow verdict and a line survive; the others' leads move on."""
        blocked: dict[object, frozenset[str]] = {}
        by_client: dict[object, list[str]] = {}
        for order in orders:
            by_client.setdefault(order.lead.client_id, []).append(order.lead.number)
        for client_id, numbers in by_client.items():
            blocked[client_id] = await self._store.blocked_by_do_not_call(
                client_id,  # type: ignore[arg-type]
                numbers,
            )
        now = self._clock.now()
        allowed: list[tuple[Order, str, Permit]] = []
        for order in orders:
            lead = order.lead
            if lead.number in blocked[lead.client_id]:
                self._put(LeadMove(lead.lead_id, LeadState.BLOCKED, reason="do_not_call"))
                continue
            verdict = self._permission.ask(lead, order.campaign.view, now=now, agent=order.agent)
            if isinstance(verdict, Postpone):
                self._put(
                    LeadMove(
                        lead.lead_id,
                        LeadState.CALLBACK if lead.callback_at else LeadState.RETRY,
                        next_at=verdict.until,
                        reason=verdict.reason,
                        callback_agent=lead.callback_agent,
                    )
                )
            elif isinstance(verdict, Refuse):
                self._put(LeadMove(lead.lead_id, LeadState.BLOCKED, reason=verdict.reason))
            else:
                trunk = self._lines.take(order.campaign.view.settings, order.node, lead.number)
                if trunk is None:
                    self._put(
                        LeadMove(
                            lead.lead_id,
                            LeadState.RETRY,
                            next_at=now + _NO_LINE_DELAY,
                            reason="no_line",
                        )
                    )
                else:
                    allowed.append((order, trunk, verdict))
        return allowed

    def _give_back(self, orders: Sequence[Order]) -> None:
        for order in orders:
            self._put(
                LeadMove(
                    order.lead.lead_id,
                    LeadState.RETRY,
                    next_at=self._clock.now(),
                    reason="not_committed",
                )
            )

    def _call(self, order: Order, trunk: str, permit: Permit, *, due: float) -> Call:
        lead, view = order.lead, order.campaign.view
        return Call(
            id=self._new_id(),
            lead=lead,
            lead_id=lead.lead_id,
            client_id=lead.client_id,
            campaign_id=view.id,
            customer_id=lead.customer_id,
            number=lead.number,
            node=order.node,
            trunk=trunk,
            mode=order.mode or view.settings.mode,
            intended_at=self._clock.now(),
            due=due,
            attempts_before=lead.attempts,
            outcomes_before=dict(lead.outcome_counts),
        )

    def _attempt(self, call: Call, order: Order, permit: Permit) -> NewAttempt:
        view = order.campaign.view
        return NewAttempt(
            id=call.id,
            lead_id=call.lead_id,
            client_id=call.client_id,
            campaign_id=call.campaign_id,
            customer_id=call.customer_id,
            number_id=order.lead.number_id,
            number=call.number,
            caller_id=view.settings.caller_id,
            node=call.node,
            trunk=call.trunk,
            mode=call.mode.value,
            intended_at=call.intended_at,
            settings_version=view.version,
            script_version=view.script_version,
            form_version=view.form_version,
            rules_profile=permit.profile,
            verdict=permit.compact,
            agent_id=order.agent.id if order.agent is not None else None,
        )

    async def _send(self, call: Call, order: Order) -> None:
        wait = call.due - self._clock.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        # A process that stood still, or lost its pool, must not call with old decisions.
        late = self._clock.monotonic() - call.due
        if late > self._settings.intent_expiry or not self._lease.held:
            self._expire(call)
            return
        settings = order.campaign.view.settings
        request = Originate(
            call_id=call.key,
            number=call.number,
            trunk=call.trunk,
            caller_id=settings.caller_id,
            ring_timeout=settings.ring_timeout,
            connect_window=settings.connect_window,
            abandon_sound=settings.abandon_sound,
            analyse=settings.analyse and order.agent is None,
            record=call.recording if settings.record else "",
        )
        call.sent = self._clock.monotonic()
        sent_at = self._clock.now()
        # The switch writes before it first waits; whatever runs next finds it on the wire.
        written = asyncio.get_running_loop().call_soon(self._written, call.due)
        try:
            await self._switch_for(call.node).originate(request)
        except NotSent:
            written.cancel()
            self._expire(call)
            return
        except Refused as error:
            log.warning(
                "originate refused", action="originate_refused", call=call.key, error=str(error)
            )
            self._lines.release(call.trunk)
            self._calls.refused(call, expired=False)
            return
        except Unanswered:
            pass  # it may have left: the tracker or the next resynchronisation tells
        self._put(AttemptUpdate(call.id, call.intended_at, sent_at=sent_at))

    def _written(self, due: float) -> None:
        self.lateness.add(self._clock.monotonic() - due)

    def _expire(self, call: Call) -> None:
        self._lines.release(call.trunk)
        self._calls.refused(call, expired=True)
