"""Placing calls: rules asked, attempts committed, Originates sent, in that order and no other.

An attempt is in the database as *intended* before its Originate leaves, in one batch per tick. One
that could not be sent in time expires, undialed. The verdict of the rules is stored with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from dialer.domain.agent import AgentState
from dialer.domain.call import Outcome
from dialer.domain.campaign import CampaignState, DialMode
from dialer.domain.errors import DialerError
from dialer.domain.ids import NewId
from dialer.domain.lead import LeadState
from dialer.domain.work import AttemptUpdate, ClaimedLead, LeadMove, NewAttempt, PoolStore, Write
from dialer.engine.calls import CallDesk
from dialer.engine.hopper import returned
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
_MOMENT = 0.01  # s: finer than this calls are not spread
_TURN = 16  # orders the rules are asked about before others have a turn


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
        settle: Callable[[UUID], None],
        doubt: Callable[[], str],
        placed: Callable[[Call], None],
        unwritten_blocks: Callable[[], Collection[tuple[UUID, str]]],
    ) -> None:
        """`doubt`: why what was decided may not be carried out any more; '' while it may.
        `unwritten_blocks`: (client, number) on a do-not-call list, unknown to the store so far."""
        self._store, self._lease, self._calls, self._lines = store, lease, calls, lines
        self._permission, self._switch_for, self._put = permission, switch_for, put
        self._new_id, self._clock, self._settings, self._tasks = new_id, clock, settings, tasks
        self._settle, self._doubt, self._placed = settle, doubt, placed
        self._unwritten_blocks = unwritten_blocks
        self._doubtful: list[Call] = []  # expired, if they were committed at all
        #: From the moment a decision wants a call to leave to its Originate on the wire.
        self.lateness = Timing()

    async def place(self, orders: Sequence[Order], *, spread: float) -> list[Call]:
        """Ask the rules, commit, and send over the next `spread` seconds.

        Returns the calls committed. Leads that may not be called now go back with the reason.
        Raises what the store raises (then nothing is sent, and the leads go back).
        """
        if not orders:
            return []
        start = self._clock.monotonic()  # what the store takes makes calls late, and is counted
        allowed: list[tuple[Order, str, Permit]] = []
        try:
            blocked = await self._blocked(orders)
            await self._screen(orders, blocked, allowed)
        except BaseException:
            for _, trunk, _ in allowed:
                self._lines.release(trunk)
            self._give_back(orders)
            raise
        calls: list[Call] = []
        attempts: list[NewAttempt] = []
        lately = self._unwritten_blocks()  # asked for since
        for index, (order, trunk, permit) in enumerate(allowed):
            # Calls of one moment leave in one write.
            due = start + (spread * index / len(allowed)) // _MOMENT * _MOMENT
            call = self._call(order, trunk, permit, due=due)
            call.do_not_call = (call.client_id, call.number) in lately
            calls.append(call)
            attempts.append(self._attempt(call, order, permit))
        if not attempts:
            return []
        try:
            with self._calls.intending(calls):
                await self._store.intend(self._lease.current, attempts)
        except BaseException as error:
            for call in calls:
                self._lines.release(call.trunk)
            self._undo([order for order, _, _ in allowed], calls, error)
            raise
        # Spread from here on: what the commit held up must not leave in one burst, which costs
        # Asterisk half as much again per call (docs/capacity.md).
        shift = self._clock.monotonic() - start if spread else 0.0
        moments: dict[float, list[tuple[Call, Order]]] = {}
        for call, (order, _, _) in zip(calls, allowed, strict=True):
            self._settle(order.lead.lead_id)
            self._calls.add(call)
            if order.agent is not None:
                call.agent_id = order.agent.id
                if order.agent.state is not AgentState.DIALING:  # gone while the store was asked
                    self._expire(call)
                    continue
                order.agent.call = call
            moments.setdefault(call.due + shift, []).append((call, order))
        for at, those in moments.items():
            self._tasks.spawn(self._leave(those, at=at), name=f"leave-{those[0][0].key}")
        return calls

    async def _blocked(self, orders: Sequence[Order]) -> frozenset[tuple[UUID, str]]:
        """(client, number) pairs of these orders that are on a do-not-call list now."""
        by_client: dict[UUID, list[str]] = {}
        for order in orders:
            by_client.setdefault(order.lead.client_id, []).append(order.lead.number)
        found = set(self._unwritten_blocks())  # before the store is asked: it may hear meanwhile
        for client_id, numbers in by_client.items():
            listed = await self._store.blocked_by_do_not_call(client_id, numbers)
            found.update((client_id, number) for number in listed)
        return frozenset(found)

    async def _screen(
        self,
        orders: Sequence[Order],
        blocked: Collection[tuple[UUID, str]],
        allowed: list[tuple[Order, str, Permit]],
    ) -> None:
        """Only orders with an Allow verdict and a line get into `allowed`; the others' leads move
        on."""
        now = self._clock.now()
        for index, order in enumerate(orders):
            if index % _TURN == _TURN - 1:
                await asyncio.sleep(0)  # the rules take their time; who answers must not wait
            lead = order.lead
            if (lead.client_id, lead.number) in blocked:
                self._put(LeadMove(lead.lead_id, LeadState.BLOCKED, reason="do_not_call"))
                continue
            verdict = self._permission.ask(lead, order.campaign.view, now=now, agent=order.agent)
            if isinstance(verdict, Postpone):
                self._put(returned(lead, next_at=verdict.until, reason=verdict.reason))
            elif isinstance(verdict, Refuse):
                self._put(LeadMove(lead.lead_id, LeadState.BLOCKED, reason=verdict.reason))
            elif not self._lines.lead_to(order.campaign.view.settings, lead.number):
                self._put(_unreachable(lead, now))
            else:
                trunk = self._lines.take(order.campaign.view.settings, order.node, lead.number)
                if trunk is None:
                    self._put(returned(lead, next_at=now + _NO_LINE_DELAY, reason="no_line"))
                else:
                    allowed.append((order, trunk, verdict))

    def _give_back(self, orders: Sequence[Order]) -> None:
        for order in orders:
            self._put(returned(order.lead, next_at=self._clock.now(), reason="not_committed"))

    def _undo(self, orders: Sequence[Order], calls: Sequence[Call], error: BaseException) -> None:
        """The attempts were not committed; unless the store said so itself, they may have been,
        and then they end here as what they are: never sent."""
        self._give_back(orders)
        if isinstance(error, DialerError):
            return
        now = self._clock.now()
        for order, call in zip(orders, calls, strict=True):
            self._put(
                AttemptUpdate(call.id, call.intended_at, ended_at=now, outcome=Outcome.EXPIRED)
            )
            back = returned(order.lead, next_at=now, reason="not_committed")
            self._put(replace(back, only_from=LeadState.DIALING))
        self._doubtful += calls

    @property
    def uncertain(self) -> bool:
        """Whether attempts may have been committed without our knowing."""
        return bool(self._doubtful)

    async def clear_doubt(self) -> None:
        """Count those that were; all earlier writes must be out."""
        doubtful = list(self._doubtful)
        if not doubtful:
            return
        there = await self._store.attempts_of_pool(
            self._lease.current.pool_id, [call.id for call in doubtful]
        )
        self._doubtful = self._doubtful[len(doubtful) :]
        for call in doubtful:
            if call.id in there:
                self._calls.count(call, Outcome.EXPIRED)

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
            window=view.settings.connect_window,
            analyse=view.settings.analyse and order.agent is None,
            record=view.settings.record,
            name=lead.name,
            attributes=lead.attributes,
            attempts_before=lead.attempts,
            outcomes_before=dict(lead.outcome_counts),
            reopened=lead.was is LeadState.DONE,
            callback_agent=lead.callback_agent,
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

    async def _leave(self, those: Sequence[tuple[Call, Order]], *, at: float) -> None:
        """Send the calls of one moment, each by itself from then on: one timer for all of them."""
        wait = at - self._clock.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        for call, order in those:
            self._tasks.spawn(self._send(call, order), name=f"originate-{call.key}")

    async def _send(self, call: Call, order: Order) -> None:
        # A process that stood still, or lost its pool, must not call with old decisions.
        late = self._clock.monotonic() - call.due
        stopped = order.campaign.view.state is not CampaignState.RUNNING
        if late > self._settings.intent_expiry or not self._lease.held or stopped:
            self._expire(call)
            return
        if call.do_not_call or call.cancelled or self._doubt():
            self._expire(call)
            return
        settings = order.campaign.view.settings
        request = Originate(
            call_id=call.key,
            number=call.number,
            trunk=call.trunk,
            caller_id=settings.caller_id,
            ring_timeout=settings.ring_timeout,
            connect_window=call.window,
            abandon_sound=settings.abandon_sound,
            analyse=call.analyse,
            record=call.recording if call.record else "",
        )
        call.sent = self._clock.monotonic()
        sent_at = self._clock.now()
        # The switch has written it by the loop's next turn.
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
            if self._calls.refused(call, expired=False):
                self._lines.report(call.trunk, Outcome.FAILED, tech_cause="refused")
                self._lines.release(call.trunk)
            return
        except Unanswered:
            pass  # it may have left: the tracker or the next resynchronisation tells
        self._placed(call)
        self._put(AttemptUpdate(call.id, call.intended_at, sent_at=sent_at))

    def _written(self, due: float) -> None:
        self.lateness.add(self._clock.monotonic() - due)

    def _expire(self, call: Call) -> None:
        if self._calls.refused(call, expired=True):
            self._lines.release(call.trunk)


def _unreachable(lead: ClaimedLead, now: datetime) -> LeadMove:
    """No trunk may ever call this number; a finished lead that an agent wanted stays finished."""
    if lead.was is LeadState.DONE:
        return returned(lead, next_at=now, reason="no_trunk_may_call")
    return LeadMove(lead.lead_id, LeadState.BLOCKED, reason="no_trunk_may_call")
