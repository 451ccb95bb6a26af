"""How far a running campaign is with its leads, and the moment in which it is finished.

It is finished when no lead can be called now or later and nothing under way could change that: no
call, nobody wrapping up one (a callback may come of it), no write on its way. A campaign without a
single lead waits for its list; one dialed by hand is finished by people.
"""

from __future__ import annotations

from uuid import UUID

import structlog

from dialer.domain.campaign import CAMPAIGN, CampaignEvent, CampaignState, DialMode
from dialer.domain.lead import LeadState
from dialer.domain.work import LeadCounts, PoolStore
from dialer.engine.agents import AgentDesk
from dialer.engine.calls import CallDesk
from dialer.engine.hopper import Hopper
from dialer.engine.lease import LeaseKeeper
from dialer.engine.settings import EngineSettings
from dialer.engine.state import Campaign
from dialer.engine.writer import BatchWriter
from telephony.clock import Clock

log = structlog.get_logger(__name__)

ALL_DONE = "every lead is done"


class Completion:
    """Counts the leads of running campaigns now and then, and finishes those that are through."""

    def __init__(
        self,
        *,
        store: PoolStore,
        lease: LeaseKeeper,
        desk: AgentDesk,
        calls: CallDesk,
        hopper: Hopper,
        writer: BatchWriter,
        clock: Clock,
        settings: EngineSettings,
    ) -> None:
        self._store, self._lease, self._desk, self._calls = store, lease, desk, calls
        self._hopper, self._writer = hopper, writer
        self._clock, self._settings = clock, settings
        self._again: dict[UUID, float] = {}  # when to count next, monotonic

    async def look(self, campaign: Campaign) -> None:
        """Count, when it is time to; finish the campaign when it is through."""
        start = self._clock.monotonic()
        if start < self._again.get(campaign.id, 0.0):
            return
        counts = await self._store.lead_counts(campaign.id, self._clock.now())
        took, last = self._clock.monotonic() - start, not counts.open or self._quiet(campaign)
        pause = self._settings.empty_poll if last else self._settings.count
        self._again[campaign.id] = start + max(pause, took * self._settings.count_share)
        self._show(campaign, counts)
        if counts.total and not counts.open and self._quiet(campaign):
            await self._finish(campaign)

    async def _finish(self, campaign: Campaign) -> None:
        if campaign.view.settings.mode is DialMode.MANUAL:
            return
        await self._writer.flushed()  # an agent's last word may have opened a lead again
        if await self._store.finish_campaign(
            self._lease.current, campaign_id=campaign.id, reason=ALL_DONE
        ):
            finish(campaign, ALL_DONE, at=self._clock.monotonic())
            log.info("campaign finished", action="campaign_finished", campaign=str(campaign.id))

    def over(self, campaign: Campaign) -> bool:
        """The store says that it is finished. It stays on the board for a while, and for those who
        wrap up its calls; True when it may be forgotten."""
        self._hopper.send_back(campaign.id, reason="finished")
        if campaign.view.state is not CampaignState.FINISHED:
            finish(campaign, "stopped", at=self._clock.monotonic())
        shown = self._clock.monotonic() - campaign.finished
        return shown > self._settings.finished_shown and self._quiet(campaign)

    def _quiet(self, campaign: Campaign) -> bool:
        """No call is under way, and nobody is about to say what came of one."""
        return not self._calls.of_campaign(campaign.id) and not self._desk.describing(campaign.id)

    def _show(self, campaign: Campaign, counts: LeadCounts) -> None:
        states = counts.states
        campaign.leads = {
            "total": counts.total,
            "due": counts.due + self._hopper.size(campaign.id),
            "later": sum(
                states.get(s, 0) for s in (LeadState.NEW, LeadState.RETRY, LeadState.CALLBACK)
            )
            - counts.due,
            "dialing": states.get(LeadState.DIALING, 0),
            "callback": states.get(LeadState.CALLBACK, 0),
            "done": states.get(LeadState.DONE, 0),
            "blocked": states.get(LeadState.BLOCKED, 0),
        }
        campaign.next_due = counts.next_at


def finish(campaign: Campaign, reason: str, *, at: float) -> None:
    """The engine's own view of a campaign that is over. `at`: monotonic."""
    event = CampaignEvent.FINISH if reason == ALL_DONE else CampaignEvent.STOP
    campaign.view = campaign.view.moved(CAMPAIGN.next(campaign.view.state, event))
    campaign.reason, campaign.decision, campaign.finished = reason, {}, at
