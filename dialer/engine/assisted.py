"""Preview and manual calls: one agent, one lead, the agent there from the first ring.

The lead is reserved like any other, the rules are asked like for any other, the attempt is written
before it is dialed; only who decides differs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from dialer.domain.agent import AgentEvent, AgentState
from dialer.domain.campaign import DialMode
from dialer.domain.errors import Conflict, Invalid, NotFound
from dialer.domain.lead import LeadState
from dialer.domain.work import ClaimedLead, LeadMove, PoolStore, Write
from dialer.engine.agents import AgentDesk, Post
from dialer.engine.hopper import Hopper
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

    def offer(self, campaign: Campaign) -> int:
        """Give each free agent of a preview campaign a lead to look at; returns how many."""
        shown = 0
        for agent in self._desk.agents.values():
            if not agent.available or campaign.id not in agent.view.campaigns:
                continue
            leads = self._hopper.take(campaign.id, 1)
            if not leads:
                break
            self._show(agent, campaign, leads[0])
            shown += 1
        return shown

    def _show(self, agent: Agent, campaign: Campaign, lead: ClaimedLead) -> None:
        agent.preview, agent.preview_campaign = lead, campaign.id
        self._desk.move(agent, AgentEvent.PREVIEW, campaign_id=campaign.id)
        self._post(f"agent:{agent.id}", "preview", self.describe(agent) or {})
        limit = campaign.view.settings.preview_timeout
        if limit > 0:
            loop = asyncio.get_running_loop()
            agent.timer = loop.call_later(limit, self._time_over, agent, lead)

    def _time_over(self, agent: Agent, lead: ClaimedLead) -> None:
        if agent.state is AgentState.PREVIEWING and agent.preview is lead:
            self._tasks.spawn(self.dial(agent), name=f"preview-{agent.id}")

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
        if campaign is None:
            raise Conflict("the campaign is gone")
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
            lead = await self._store.claim_one(lease, lead_id=lead_id, now=now)
            if lead is None:
                raise Conflict("somebody else is calling this person")
            if lead.campaign_id != campaign.id:
                self._return(lead, "other_campaign", timedelta(0))
                raise NotFound("no such lead in this campaign")
        except BaseException:
            self._desk.released(agent)
            raise
        return await self._dial(agent, campaign, lead, DialMode.MANUAL)

    async def _dial(
        self, agent: Agent, campaign: Campaign, lead: ClaimedLead, mode: DialMode
    ) -> Call:
        if agent.state is not AgentState.DIALING:
            self._desk.move(agent, AgentEvent.DIAL, campaign_id=campaign.id)
        try:
            calls = await self._placer.place(
                [Order(campaign, lead, agent.leg_node, agent, mode)], spread=0.0
            )
            if not calls:
                raise Conflict("the rules do not allow this call now")
        except BaseException:
            if agent.state is AgentState.DIALING:
                self._desk.released(agent)
            raise
        if agent.call is calls[0] and agent.leg_id:
            self._router.start_ringing(agent)
        return calls[0]

    def _return(self, lead: ClaimedLead, reason: str, delay: timedelta) -> None:
        self._put(
            LeadMove(
                lead.lead_id,
                LeadState.CALLBACK if lead.callback_at else LeadState.RETRY,
                next_at=self._clock.now() + delay,
                reason=reason,
                callback_agent=lead.callback_agent,
            )
        )


def is_assisted(mode: DialMode) -> bool:
    """Modes in which an agent starts each call."""
    return mode in (DialMode.PREVIEW, DialMode.MANUAL)
