"""The pacing tick: looks at the whole pool, asks `pacing`, and has the calls placed.

It runs once a second, or sooner on a wake (an agent got free, a call ended); a late tick never
bursts, because it decides from the state as it is. Claiming leads is a loop of its own, so that a
tick never waits for the database to choose.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import UUID

import structlog

from dialer.domain.call import CallState
from dialer.domain.campaign import CampaignState, DialMode
from dialer.domain.errors import Conflict, LeaseLost
from dialer.domain.work import CampaignMove, PoolStore, Write
from dialer.engine.agents import AgentDesk
from dialer.engine.assisted import AssistedDialing
from dialer.engine.calls import CallDesk
from dialer.engine.completion import Completion
from dialer.engine.gate import Gate
from dialer.engine.hopper import Hopper
from dialer.engine.pacer import Pacer
from dialer.engine.pacing_view import Lending, Row, lend
from dialer.engine.permission import abandon_window
from dialer.engine.placing import Order, Placer
from dialer.engine.settings import EngineSettings
from dialer.engine.state import Agent, Campaign
from pacing.decision import Binding
from telephony.clock import Clock
from telephony.nodes import Switchboard

log = structlog.get_logger(__name__)

_NEXT = 50  # leads that say from which lists the next calls are


_FREE_WEIGHT = 1000


def _shares(count: int, weights: Sequence[int]) -> list[int]:
    """`count` divided in proportion to `weights` (all above zero), by largest remainders."""
    total = sum(weights)
    shares = [count * weight // total for weight in weights]
    order = sorted(range(len(weights)), key=lambda i: -(count * weights[i] % total))
    for i in order[: count - sum(shares)]:
        shares[i] += 1
    return shares


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
        pacer: Pacer,
        switchboard: Switchboard,
        put: Callable[[Write], None],
        clock: Clock,
        settings: EngineSettings,
        gate: Gate,
        flushed: Callable[[], Awaitable[None]],
    ) -> None:
        self._store, self._campaigns, self._desk, self._calls = store, campaigns, desk, calls
        self._hopper, self._placer, self._assisted = hopper, placer, assisted
        self._completion = completion
        self._pacer, self._switchboard = pacer, switchboard
        self._put, self._clock, self._settings = put, clock, settings
        self._gate, self._flushed = gate, flushed
        self._wake = asyncio.Event()
        self._fill = asyncio.Event()
        self._last = clock.monotonic()
        self._placed: dict[UUID, deque[tuple[float, int]]] = {}  # (when, how many) in a tick
        self._held_back = False  # by the trunks' calls per second, in the last tick
        self.ticks = 0

    def wake(self) -> None:
        """Something changed that new calls depend on."""
        self._wake.set()

    async def tick_loop(self) -> None:
        while True:
            try:
                # What the trunks' rate held back leaves as soon as they take more.
                pause = self._settings.wake_gap if self._held_back else self._settings.tick
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            early = self._last + self._settings.wake_gap - self._clock.monotonic()
            if early > 0:
                await asyncio.sleep(early)
            try:
                with self._gate.busy():
                    await self.tick()
            except LeaseLost:
                raise
            except Conflict as error:  # a lead was moved by somebody else; the others go back
                log.warning("nothing placed", action="tick_conflict", error=str(error))
            except Exception as error:  # the database is away: no new calls until it is back
                log.error("tick failed", action="tick_failed", error=repr(error))
                await asyncio.sleep(self._settings.tick)

    async def tick(self) -> int:
        """One decision for all campaigns; returns how many calls were committed."""
        now = self._clock.monotonic()
        elapsed, self._last = now - self._last, now
        self.ticks += 1
        self._held_back = False
        self._hopper.send_back_stale()
        self._drain_pausing()
        self._roll_ledgers()
        if why := self._gate.why:
            for campaign in self._campaigns.values():
                if campaign.view.state is CampaignState.RUNNING:
                    campaign.reason = why  # the board says it
            return 0
        rows = self._rows()
        if not rows:
            return 0
        await self._pacer.prepare()
        lending = self._lend(rows)
        if self._assisted.call_back(lending.needed):
            lending = self._lend(rows)
        for index, row in enumerate(rows):
            if row.campaign.view.settings.mode is DialMode.PREVIEW:
                theirs = {agent for agent, home in lending.homes.items() if home == index}
                self._assisted.offer(row.campaign, theirs)
        decision = self._pacer.decide(rows, lending.homes)
        self._held_back = bool((decision.binding == Binding.RATE).any())
        orders: list[Order] = []
        for index, row in enumerate(rows):
            count = int(decision.calls[index])
            leads = self._hopper.take(row.campaign.id, count)
            orders.extend(Order(row.campaign, lead, row.node) for lead in leads)
            self._note(row.campaign, len(leads), elapsed, now)
        self._fill.set()
        placed = await self._placer.place(orders, spread=self._spread(len(orders), elapsed))
        return len(placed)

    def _lend(self, rows: Sequence[Row]) -> Lending:
        return lend(rows, desk=self._desk, calls=self._calls, campaigns=self._campaigns)

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
            weights = [self._weight(campaign.id, node) for node in nodes]
            predictive = campaign.view.settings.mode is DialMode.PREDICTIVE
            lists = self._hopper.lists(campaign.id, _NEXT) if predictive else {}
            rows.extend(
                Row(campaign, node, leads, lists)
                for node, leads in zip(nodes, _shares(waiting, weights), strict=True)
            )
        return rows

    def _weight(self, campaign_id: UUID, node: str) -> int:
        """Leads go to nodes by the agents there, and above all by those who are free."""
        here = [a for a in self._at_phone(campaign_id) if a.leg_node == node]
        campaign = self._campaigns.get(campaign_id)
        if campaign is not None and campaign.view.settings.mode is DialMode.PREDICTIVE:
            return len(here)  # it dials for those who are not free yet, too
        return len(here) + _FREE_WEIGHT * sum(a.available for a in here)

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
        if taken:
            placed.append((now, taken))
        while placed and placed[0][0] < now - 60.0:
            placed.popleft()

    def per_minute(self) -> dict[UUID, int]:
        """Calls placed in the last minute, by campaign."""
        horizon = self._clock.monotonic() - 60.0
        return {
            campaign_id: sum(taken for at, taken in placed if at >= horizon)
            for campaign_id, placed in self._placed.items()
        }

    # -- the hopper's loop ------------------------------------------------------------------------

    async def fill_loop(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._settings.empty_poll):
                    await self._fill.wait()
            except TimeoutError:
                pass
            self._fill.clear()
            if not self._gate.open:
                continue
            try:
                with self._gate.busy():
                    await self._fill_all()
            except LeaseLost:
                raise
            except Exception as error:
                log.error("claiming failed", action="claim_failed", error=repr(error))
                await asyncio.sleep(self._settings.empty_poll)

    async def _fill_all(self) -> None:
        if self._hopper.uncertain or self._placer.uncertain:
            await self._flushed()  # what was written before must be out first
            await self._hopper.clear_doubt()
            await self._placer.clear_doubt()
        for campaign in list(self._campaigns.values()):
            if campaign.view.state is CampaignState.RUNNING:
                await self._fill_one(campaign)
                await self._completion.look(campaign)

    async def _fill_one(self, campaign: Campaign) -> None:
        agents = [agent.id for agent in self._at_phone(campaign.id)]
        if not agents:
            return
        came = await self._hopper.fill_own(campaign.id, agents)
        # Where agents choose whom to call, nothing is claimed ahead of them.
        if campaign.view.settings.mode is not DialMode.MANUAL:
            came += await self._hopper.fill(campaign.id)
        if campaign.view.state is not CampaignState.RUNNING or self._gate.stopping:
            self._hopper.send_back(campaign.id, reason="stopped meanwhile")
        elif came:
            self.wake()

    def _at_phone(self, campaign_id: UUID) -> list[Agent]:
        return [
            agent
            for agent in self._desk.agents.values()
            if agent.leg_id and campaign_id in agent.view.campaigns
        ]
