"""The pacing tick: looks at the whole pool, asks `pacing`, and has the calls placed.

It runs once a second, or sooner on a wake (an agent got free, a call ended); a late tick never
bursts, because it decides from the state as it is. Claiming leads is a loop of its own, so that a
tick never waits for the database to choose.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from uuid import UUID

import structlog

from dialer.domain.call import CallState
from dialer.domain.campaign import CampaignState, DialMode
from dialer.domain.errors import LeaseLost
from dialer.domain.work import CampaignMove, PoolStore, Write
from dialer.engine.agents import AgentDesk
from dialer.engine.assisted import AssistedDialing
from dialer.engine.calls import CallDesk
from dialer.engine.completion import Completion
from dialer.engine.hopper import Hopper
from dialer.engine.lines import Lines
from dialer.engine.pacing_view import Row, pacing_input
from dialer.engine.permission import abandon_window
from dialer.engine.placing import Order, Placer
from dialer.engine.settings import EngineSettings
from dialer.engine.state import Campaign
from pacing.engine import pace
from telephony.clock import Clock
from telephony.nodes import Switchboard

log = structlog.get_logger(__name__)


class Ticker:
    """Decides about new calls; nothing else does (but agents, in preview and manual)."""

    def __init__(
        self,
        *,
        store: PoolStore,
        campaigns: Mapping[UUID, Campaign],
        desk: AgentDesk,
        calls: CallDesk,
        hopper: Hopper,
        placer: Placer,
        completion: Completion,
        assisted: AssistedDialing,
        lines: Lines,
        switchboard: Switchboard,
        put: Callable[[Write], None],
        clock: Clock,
        settings: EngineSettings,
        healthy: Callable[[], bool],
    ) -> None:
        self._store, self._campaigns, self._desk, self._calls = store, campaigns, desk, calls
        self._hopper, self._placer, self._assisted = hopper, placer, assisted
        self._completion = completion
        self._lines, self._switchboard = lines, switchboard
        self._put, self._clock, self._settings = put, clock, settings
        self._healthy = healthy
        self._wake = asyncio.Event()
        self._fill = asyncio.Event()
        self._last = clock.monotonic()
        self._placed: dict[UUID, deque[float]] = {}
        self.ticks = 0

    def wake(self) -> None:
        """Something changed that new calls depend on."""
        self._wake.set()

    async def tick_loop(self) -> None:
        while True:
            try:
                await asyncio.wait_for(self._wake.wait(), self._settings.tick)
            except TimeoutError:
                pass
            self._wake.clear()
            early = self._last + self._settings.wake_gap - self._clock.monotonic()
            if early > 0:
                await asyncio.sleep(early)
            try:
                await self.tick()
            except LeaseLost:
                raise
            except Exception as error:  # the database is away: no new calls until it is back
                log.error("tick failed", action="tick_failed", error=repr(error))
                await asyncio.sleep(self._settings.tick)

    async def tick(self) -> int:
        """One decision for all campaigns; returns how many calls were committed."""
        now = self._clock.monotonic()
        elapsed, self._last = now - self._last, now
        self.ticks += 1
        self._hopper.send_back_stale()
        self._drain_pausing()
        self._roll_ledgers()
        if not self._healthy():
            return 0
        rows = self._rows()
        if not rows:
            return 0
        decision = pace(
            pacing_input(
                rows,
                desk=self._desk,
                calls=self._calls,
                lines=self._lines,
                tick=max(elapsed, self._settings.wake_gap),
                now=now,
            )
        )
        orders: list[Order] = []
        for index, row in enumerate(rows):
            count = int(decision.calls[index])
            row.campaign.decision = {
                "calls": count,
                "reason": decision.explain(index).sentence,
            }
            leads = self._hopper.take(row.campaign.id, count)
            orders.extend(Order(row.campaign, lead, row.node) for lead in leads)
            self._note(row.campaign, len(leads), elapsed, now)
            if row.campaign.view.settings.mode is DialMode.PREVIEW:
                self._assisted.offer(row.campaign)
        self._fill.set()
        placed = await self._placer.place(orders, spread=self._spread(len(orders), elapsed))
        return len(placed)

    def _rows(self) -> list[Row]:
        """A row per running campaign and node that has agents who may work it."""
        rows: list[Row] = []
        up = {switch.node for switch in self._switchboard.up()}
        for campaign in self._campaigns.values():
            if campaign.view.state is not CampaignState.RUNNING:
                if campaign.view.state is not CampaignState.FINISHED:  # which says why itself
                    campaign.reason = campaign.view.state.value
                continue
            nodes = sorted(
                {
                    agent.leg_node
                    for agent in self._desk.agents.values()
                    if agent.leg_id and campaign.id in agent.view.campaigns
                }
                & up
            )
            if not nodes:
                campaign.reason = "no agents signed in" if up else "no Asterisk node is up"
                continue
            waiting = self._hopper.size(campaign.id)
            campaign.reason = "" if waiting else "no leads due"
            share, rest = divmod(waiting, len(nodes))
            rows.extend(
                Row(campaign, node, share + (1 if i < rest else 0)) for i, node in enumerate(nodes)
            )
        return rows

    def _spread(self, count: int, elapsed: float) -> float:
        """Seconds over which a batch leaves: small ones at once, large ones within the tick."""
        if count <= 10:
            return 0.0
        return min(elapsed, self._settings.tick) * 0.8

    def _drain_pausing(self) -> None:
        for campaign in self._campaigns.values():
            if campaign.view.state is CampaignState.PAUSING and not any(
                call.state is not CallState.ENDED for call in self._calls.of_campaign(campaign.id)
            ):
                self._put(
                    CampaignMove(campaign.id, CampaignState.PAUSED, "drained", self._clock.now())
                )
                campaign.view = campaign.view.moved(CampaignState.PAUSED)

    def _roll_ledgers(self) -> None:
        now = self._clock.now()
        for campaign in self._campaigns.values():
            campaign.ledger.roll(now - abandon_window(campaign.view.settings))

    def _note(self, campaign: Campaign, taken: int, elapsed: float, now: float) -> None:
        self._hopper.note_rate(campaign.id, taken, elapsed)
        placed = self._placed.setdefault(campaign.id, deque())
        placed.extend([now] * taken)
        while placed and placed[0] < now - 60.0:
            placed.popleft()

    def per_minute(self) -> dict[UUID, int]:
        """Calls placed in the last minute, by campaign."""
        horizon = self._clock.monotonic() - 60.0
        return {
            campaign_id: sum(1 for at in placed if at >= horizon)
            for campaign_id, placed in self._placed.items()
        }

    # -- the hopper's loop ------------------------------------------------------------------------

    async def fill_loop(self) -> None:
        while True:
            try:
                await asyncio.wait_for(self._fill.wait(), self._settings.empty_poll)
            except TimeoutError:
                pass
            self._fill.clear()
            if not self._healthy():
                continue
            try:
                await self._fill_all()
            except LeaseLost:
                raise
            except Exception as error:
                log.error("claiming failed", action="claim_failed", error=repr(error))
                await asyncio.sleep(self._settings.empty_poll)

    async def _fill_all(self) -> None:
        for campaign in list(self._campaigns.values()):
            if campaign.view.state is not CampaignState.RUNNING:
                continue
            if self._has_agents(campaign) and await self._hopper.fill(campaign.id):
                self.wake()
            await self._completion.look(campaign)

    def _has_agents(self, campaign: Campaign) -> bool:
        return any(
            agent.leg_id and campaign.id in agent.view.campaigns
            for agent in self._desk.agents.values()
        )
