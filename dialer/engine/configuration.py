"""What people configure, as the engine has it: read at start and again whenever it changes."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from dialer.domain.campaign import CampaignState, CampaignView
from dialer.domain.work import PoolStore
from dialer.engine.agents import AgentDesk
from dialer.engine.assisted import AssistedDialing
from dialer.engine.completion import Completion
from dialer.engine.hopper import Hopper
from dialer.engine.permission import abandon_window
from dialer.engine.state import Campaign
from telephony.clock import Clock


class Configuration:
    """Brings campaigns and agents up to date with the store."""

    def __init__(
        self,
        pool_id: UUID,
        *,
        store: PoolStore,
        campaigns: dict[UUID, Campaign],
        desk: AgentDesk,
        hopper: Hopper,
        assisted: AssistedDialing,
        completion: Completion,
        clock: Clock,
    ) -> None:
        self._pool_id, self._store, self._campaigns = pool_id, store, campaigns
        self._desk, self._hopper, self._completion = desk, hopper, completion
        self._assisted, self._clock = assisted, clock
        self._asked = self._applied = 0

    async def refresh(self) -> None:
        """Read campaigns, their states and settings, and agents. Of two at once the later wins."""
        self._asked += 1
        mine = self._asked
        view = await self._store.load(self._pool_id)
        await self._fill_ledgers([c for c in view.campaigns if c.id not in self._campaigns])
        if mine < self._applied:
            return
        self._applied = mine
        self._desk.load(view.agents)
        known = {c.id for c in view.campaigns}
        for campaign_view in view.campaigns:
            self._campaigns[campaign_view.id].view = campaign_view
            self._hopper.poke(campaign_view.id)
            if campaign_view.state is not CampaignState.RUNNING:
                self._halt(campaign_view.id, campaign_view.state.value)
        for campaign_id in [c for c in self._campaigns if c not in known]:
            # Finished. Its calls that are up, and who describes them, still need its settings.
            self._halt(campaign_id, "finished")
            over = self._completion.over(self._campaigns[campaign_id])
            if over and not self._desk.describing(campaign_id):
                del self._campaigns[campaign_id]

    def _halt(self, campaign_id: UUID, reason: str) -> None:
        self._hopper.send_back(campaign_id, reason=reason)
        self._assisted.withdraw(campaign_id)

    async def _fill_ledgers(self, views: Sequence[CampaignView]) -> None:
        """Campaigns new to this engine come with what the records say of them."""
        now = self._clock.now()
        counts = await self._store.hour_counts(
            {view.id: now - abandon_window(view.settings) for view in views}
        )
        for view in views:
            if view.id not in self._campaigns:  # another refresh may have been faster
                campaign = self._campaigns[view.id] = Campaign(view)
                campaign.ledger.load(counts[view.id])
