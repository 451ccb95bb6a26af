"""Preview and manual calls: one agent, one lead, the agent there from the first ring.

The lead is reserved like any other, the rules are asked like for any other, the attempt is written
before it is dialed; only who decides differs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from dialer.domain.agent import AgentEvent, AgentState
from dialer.domain.campaign import CampaignState, DialMode
from dialer.domain.errors import Conflict, DialerError, Invalid, NotFound, Unavailable
from dialer.domain.work import ClaimedLead, Lease, PoolStore, Write
from dialer.engine.agents import AgentDesk, Post
from dialer.engine.hopper import Hopper, returned
from dialer.engine.lease import LeaseKeeper
from dialer.engine.placing import Order, Placer
from dialer.engine.router import Router
from dialer.engine.state import Agent, Call, Campaign
from dialer.engine.tasks import TaskGroup
from telephony.clock import Clock

_SKIPPED = timedelta(minutes=10)  # a skipped lead is shown again after this


class AssistedDialing:
    """Previews shown, skipped or dialed; manual calls by lead or number."""

    def __init__(
        self,
        *,
        store: PoolStore,
        lease: LeaseKeeper,
        desk: AgentDesk,
        hopper: Hopper,
        placer: Placer,
        router: Router,
        campaigns: Mapping[UUID, Campaign],
        put: Callable[[Write], None],
        post: Post,
        clock: Clock,
        tasks: TaskGroup,
    ) -> None:
        self._store, self._lease, self._desk, self._hopper = store, lease, desk, hopper
        self._placer, self._router, self._campaigns = placer, router, campaigns
        self._put, self._post, self._clock, self._tasks = put, post, clock, tasks

    def offer(self, campaign: Campaign, agents: Collection[UUID]) -> int:
        """Give those of these agents who are free a lead of a preview campaign to look at, the
        longest idle first; returns how many."""
        shown = 0
        for agent in self._idle():
            if agent.id not in agents:
                continue
            leads = self._hopper.take(campaign.id, 1)
            if not leads:
                break
            self._show(agent, campaign, leads[0])
            shown += 1
        return shown

    def call_back(self, needed: Collection[UUID]) -> int:
        """Free agents get the callbacks they promised that are due: shown where agents start the
        calls, dialed with them on the line elsewhere. Not those who are `needed` for calls under
        way. Returns how many."""
        given = 0
        for agent in self._idle():
            if agent.id in needed:
                continue
            lead = self._hopper.own_callback(agent.id)
            campaign = self._campaigns.get(lead.campaign_id) if lead is not None else None
            if lead is None or campaign is None or not self._runs(campaign):
                continue
            self._hopper.take_lead(lead.lead_id)
            given += 1
            if is_assisted(campaign.view.settings.mode):
                self._show(agent, campaign, lead)
            else:
                self._desk.move(agent, AgentEvent.DIAL, campaign_id=campaign.id)
                work = partial(self._dial, agent, campaign, lead, DialMode.PREVIEW)
                self._tasks.spawn(self._quietly(agent, work), name=f"callback-{agent.id}")
        return given

    def _idle(self) -> list[Agent]:
        free = [a for a in self._desk.agents.values() if a.available]
        return sorted(free, key=lambda a: a.since)

    def put_back(self, agent: Agent) -> None:
        """The agent cannot look at the lead any more: it goes back as it came."""
        lead, agent.preview = agent.preview, None
        if lead is not None:
            self._return(lead, "not called", timedelta(0))

    def withdraw(self, campaign_id: UUID) -> None:
        """The campaign dials no more: its previews close."""
        for agent in self._desk.signed_in():
            lead = agent.preview
            if lead is not None and lead.campaign_id == campaign_id:
                self.put_back(agent)
                self._desk.notice(agent, "campaign-stopped", "the campaign does not call now")
                self._desk.move(agent, AgentEvent.SKIP)

    @staticmethod
    def _runs(campaign: Campaign) -> bool:
        return campaign.view.state is CampaignState.RUNNING

    async def _quietly(self, agent: Agent, work: Callable[[], Awaitable[Call]]) -> None:
        """Dial for an agent who did not ask this moment: what goes wrong is told, not raised."""
        try:
            await work()
        except DialerError as error:
            self._desk.notice(agent, error.slug, error.detail)

    def _show(self, agent: Agent, campaign: Campaign, lead: ClaimedLead) -> None:
        agent.preview, agent.preview_campaign = lead, campaign.id
        self._desk.move(agent, AgentEvent.PREVIEW, campaign_id=campaign.id)
        self._post(f"agent:{agent.id}", "preview", self.describe(agent) or {})
        limit = campaign.view.settings.preview_timeout
        if limit > 0:
            self._desk.later(agent, limit, self._time_over)

    def _time_over(self, agent: Agent) -> None:
        if agent.state is AgentState.PREVIEWING:
            work = partial(self.dial, agent)
            self._tasks.spawn(self._quietly(agent, work), name=f"preview-{agent.id}")

    def describe(self, agent: Agent) -> dict[str, Any] | None:
        """The `preview` message's data."""
        lead = agent.preview
        if lead is None:
            return None
        campaign = self._campaigns.get(lead.campaign_id)
        return {
            "campaign": {
                "id": str(lead.campaign_id),
                "name": campaign.view.name if campaign else "",
            },
            "customer": {
                "id": str(lead.customer_id),
                "name": lead.name,
                "number": lead.number,
                "attributes": dict(lead.attributes),
            },
            "lead": {"id": str(lead.lead_id), "attempts": lead.attempts},
        }

    def skip(self, agent: Agent) -> None:
        """Not this one now: the lead goes back for some minutes."""
        if agent.state is not AgentState.PREVIEWING or agent.preview is None:
            raise Conflict(f"expected previewing, got {agent.state.value}")
        self._return(agent.preview, "skipped", _SKIPPED)
        agent.preview = None
        self._desk.move(agent, AgentEvent.SKIP)

    async def dial(self, agent: Agent) -> Call:
        """Call the previewed lead."""
        lead = agent.preview
        if agent.state is not AgentState.PREVIEWING or lead is None:
            raise Conflict(f"expected previewing, got {agent.state.value}")
        campaign = self._campaigns.get(lead.campaign_id)
        if campaign is None or not self._runs(campaign):
            raise Conflict("the campaign does not call now")
        agent.preview = None
        return await self._dial(agent, campaign, lead, DialMode.PREVIEW)

    async def manual(
        self, agent: Agent, campaign: Campaign, *, number: str, lead_id: UUID | None
    ) -> Call:
        """Call a lead, or a number (which becomes a lead of the campaign)."""
        parked = await self._desk.until_parked(agent)
        if agent.state not in (AgentState.READY, AgentState.PAUSED):
            raise Conflict(f"expected ready or paused, got {agent.state.value}")
        if not parked:
            raise Conflict("the phone is not connected", state=agent.state.value)
        if lead_id is None and not number:
            raise Invalid("either lead_id or number is needed")
        if not self._runs(campaign):
            raise Conflict(f"the campaign is {campaign.view.state.value}")
        lease, now = self._lease.current, self._clock.now()
        if agent.state is AgentState.PAUSED:  # and paused again afterwards
            agent.pending, agent.pending_reason = AgentEvent.PAUSE, agent.reason
        # Taken out of routing first: nobody may be bridged to this agent while we ask the store.
        self._desk.move(agent, AgentEvent.DIAL, campaign_id=campaign.id)
        try:
            if lead_id is None:
                lead_id = await self._store.ensure_lead(
                    lease, campaign_id=campaign.id, number=number, now=now
                )
            lead = await self._claim(lease, lead_id, now)
            if lead is None:
                raise Conflict("this person cannot be called now: not known, blocked, or in a call")
            if lead.campaign_id != campaign.id:
                self._return(lead, "other_campaign", timedelta(0))
                raise NotFound("no such lead in this campaign")
        except BaseException as error:
            if agent.allows(AgentEvent.RELEASE):  # else the phone was lost meanwhile
                self._desk.released(agent)
            if isinstance(error, (DialerError, asyncio.CancelledError)):
                raise
            raise Unavailable("the database is away") from error
        return await self._dial(agent, campaign, lead, DialMode.MANUAL)

    async def _claim(self, lease: Lease, lead_id: UUID, now: datetime) -> ClaimedLead | None:
        lead = self._hopper.take_lead(lead_id)  # claimed already, for the campaign's own dialing
        if lead is not None:
            return lead
        try:
            lead = await self._store.claim_one(lease, lead_id=lead_id, now=now)
        except BaseException:
            self._hopper.doubt()
            raise
        if lead is not None:
            self._hopper.hold(lead)
        return lead

    async def _dial(
        self, agent: Agent, campaign: Campaign, lead: ClaimedLead, mode: DialMode
    ) -> Call:
        if agent.state is AgentState.PREVIEWING:
            self._desk.move(agent, AgentEvent.DIAL, campaign_id=campaign.id)
        try:
            if agent.state is not AgentState.DIALING:
                self._return(lead, "not called", timedelta(0))
                raise Conflict("the phone was lost", state=agent.state.value)
            calls = await self._placer.place(
                [Order(campaign, lead, agent.leg_node, agent, mode)], spread=0.0
            )
            if not calls:
                raise Conflict("the rules or the lines do not allow this call now")
        except BaseException as error:
            if agent.state is AgentState.DIALING and agent.call is None:
                self._desk.released(agent)
            if isinstance(error, (DialerError, asyncio.CancelledError)):
                raise
            raise Unavailable("the database is away") from error
        if agent.call is not calls[0]:
            raise Conflict("the phone was lost", state=agent.state.value)
        self._router.start_ringing(agent)
        return calls[0]

    def _return(self, lead: ClaimedLead, reason: str, delay: timedelta) -> None:
        at = self._clock.now() + delay
        if not delay and lead.callback_at is not None:
            at = lead.callback_at
        self._put(returned(lead, next_at=at, reason=reason))


def is_assisted(mode: DialMode) -> bool:
    """Modes in which an agent starts each call."""
    return mode in (DialMode.PREVIEW, DialMode.MANUAL)
