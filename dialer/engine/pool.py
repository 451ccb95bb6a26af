"""The engine of one pool: owns it by lease, reacts to events, paces by ticks, writes in batches.

Life: acquire the lease - wait for the nodes - reconcile - run - drain - release. A loop that dies,
or a lease that is lost, stops the engine loudly: `stopped` is set with the reason, no call is
placed after that, and the people on the line are safe in the dialplan.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import structlog

from dialer.domain.campaign import CampaignState, CampaignView
from dialer.domain.ids import NewId
from dialer.domain.work import PoolStore, Write
from dialer.engine.agents import AgentDesk
from dialer.engine.assisted import AssistedDialing
from dialer.engine.calls import CallDesk
from dialer.engine.commands import Commands
from dialer.engine.completion import Completion
from dialer.engine.figures import figures
from dialer.engine.hangups import HangUps
from dialer.engine.hopper import Hopper
from dialer.engine.lease import LeaseKeeper
from dialer.engine.lines import Lines
from dialer.engine.permission import Permission, abandon_window
from dialer.engine.placing import Placer
from dialer.engine.reconcile import Found, conclude, ours, reconcile
from dialer.engine.router import Router
from dialer.engine.settings import EngineSettings
from dialer.engine.state import Agent, Call, Campaign
from dialer.engine.switching import EventRouter
from dialer.engine.tasks import TaskGroup
from dialer.engine.ticking import Ticker
from dialer.engine.writer import BatchWriter
from dialer.live.feed import LiveFeed, Publisher, Seq
from dialer.live.gateway import CommandGateway
from telephony.clock import Clock
from telephony.events import (
    CallEnd,
    CallEnded,
    ChannelSnapshot,
    LegEnded,
    NodeDown,
    NodeUp,
    SwitchEvent,
)
from telephony.nodes import Switchboard
from telephony.records import CallRecord, CallRecords

log = structlog.get_logger(__name__)


class PoolEngine:
    """Everything that happens in one pool, on one event loop."""

    def __init__(
        self,
        pool_id: UUID,
        *,
        owner: str,
        store: PoolStore,
        switchboard: Switchboard,
        records: CallRecords,
        feed: LiveFeed,
        gateway: CommandGateway,
        lines: Lines,
        permission: Permission,
        clock: Clock,
        new_id: NewId,
        settings: EngineSettings,
    ) -> None:
        self.pool_id, self._store, self._switchboard = pool_id, store, switchboard
        self._records, self._feed, self._gateway = records, feed, gateway
        self._lines, self._clock, self._settings = lines, clock, settings
        self.stopped = asyncio.Event()
        self.stop_reason = ""
        self.found: Found | None = None
        self.ready = asyncio.Event()
        self._stopping = False
        self.tasks = TaskGroup(self._loop_died)
        self.lease = LeaseKeeper(
            store,
            pool_id,
            owner=owner,
            seconds=settings.lease,
            margin=settings.lease_margin,
            clock=clock,
        )
        self.writer = BatchWriter(
            store, self.lease, interval=settings.flush, capacity=settings.buffer
        )
        self.campaigns: dict[UUID, Campaign] = {}
        put = self._put
        self._hang_ups = HangUps(switch_for=switchboard.switch, tasks=self.tasks)
        self.desk = AgentDesk(
            switch_for=switchboard.switch,
            hang_ups=self._hang_ups,
            put=put,
            post=self._post,
            new_id=new_id,
            clock=clock,
            settings=settings,
            tasks=self.tasks,
            became_ready=self._agent_ready,
            conversation_cut=self._conversation_cut,
            epoch=self._epoch,
        )
        self.router = Router(
            campaigns=self.campaigns,
            desk=self.desk,
            switch_for=switchboard.switch,
            hang_ups=self._hang_ups,
            post=self._post,
            tasks=self.tasks,
            clock=clock,
        )
        self.hopper = Hopper(store, self.lease, settings=settings, clock=clock, put=put)
        self.calls = CallDesk(
            campaigns=self.campaigns,
            desk=self.desk,
            router=self.router,
            put=put,
            post=self._post,
            clock=clock,
            concluded=self._concluded,
            do_not_call=lambda client_id, number: self.hopper.drop_numbers(client_id, [number]),
        )
        self.placer = Placer(
            store=store,
            lease=self.lease,
            calls=self.calls,
            lines=lines,
            permission=permission,
            switch_for=switchboard.switch,
            put=put,
            new_id=new_id,
            clock=clock,
            settings=settings,
            tasks=self.tasks,
        )
        self.assisted = AssistedDialing(
            store=store,
            lease=self.lease,
            desk=self.desk,
            hopper=self.hopper,
            placer=self.placer,
            router=self.router,
            campaigns=self.campaigns,
            put=put,
            post=self._post,
            clock=clock,
            tasks=self.tasks,
        )
        self._completion = Completion(
            store=store, lease=self.lease, desk=self.desk, calls=self.calls, hopper=self.hopper,
            writer=self.writer, clock=clock, settings=settings,
        )  # fmt: skip
        self.ticker = Ticker(
            store=store,
            campaigns=self.campaigns,
            desk=self.desk,
            calls=self.calls,
            hopper=self.hopper,
            placer=self.placer,
            completion=self._completion,
            assisted=self.assisted,
            lines=lines,
            switchboard=switchboard,
            put=put,
            clock=clock,
            settings=settings,
            healthy=lambda: self.writer.healthy and self.lease.held and not self._stopping,
        )
        self._events = EventRouter(self.calls, self.desk)
        self._commands = Commands(
            campaigns=self.campaigns,
            desk=self.desk,
            calls=self.calls,
            router=self.router,
            hopper=self.hopper,
            assisted=self.assisted,
            put=put,
            clock=clock,
            node_for=self._node_for,
            refresh=self.refresh,
            figures=self.figures,
            last_seq=self._last_seq,
        )
        self._release_gateway: Any = None
        self._publisher: Publisher | None = None

    # -- life -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Own the pool, reconcile, and run. Returns when the engine is dialing."""
        await self.lease.acquire(poll=self._settings.lease / 5)
        self.tasks.loop(self.lease.keep(), name="lease")
        self.tasks.loop(self._watch_lease(), name="lease-watch")
        self.tasks.loop(self.writer.run(), name="writer")
        await self._store.unclaim_all(self.lease.current)
        await self.refresh()
        await self._wait_for_nodes()
        await self._reconcile()
        self._release_gateway = await self._gateway.serve(self.pool_id, self._handle)
        self._publisher = self._feed.own(self.pool_id, self.lease.current.epoch)
        self.desk.tell_states()  # every screen hears that there is a new owner
        self.tasks.loop(self.ticker.tick_loop(), name="tick")
        self.tasks.loop(self.ticker.fill_loop(), name="hopper")
        self.tasks.loop(self._figures_loop(), name="figures")
        self.ready.set()

    async def stop(self, *, reason: str = "stopped") -> None:
        """Stop originating, let conversations end for a while, write what happened, let go."""
        if self.stopped.is_set():
            return
        self._stopping = True
        for campaign_id in list(self.campaigns):
            self.hopper.send_back(campaign_id, reason="engine stopping")
        deadline = self._clock.monotonic() + self._settings.drain
        # Calls end by events of many kinds; polling for a bounded time is the simple way.
        while (  # noqa: ASYNC110
            self.calls.calls and self._clock.monotonic() < deadline and self.lease.held
        ):
            await asyncio.sleep(0.05)
        if self.lease.held:
            for agent in self.desk.signed_in():
                agent.call = None
                self.desk.leave_for_shutdown(agent)
            await self.tasks.settle()
            try:
                await asyncio.wait_for(self.writer.flushed(), 10.0)
            except TimeoutError:
                log.error(
                    "writes left behind", action="stop_unwritten", backlog=self.writer.backlog
                )
            await self.lease.release()
        await self._finish(reason)

    async def abandon(self) -> None:
        """End an engine whose start failed, without touching what it does not own."""
        await self._finish("start failed")

    async def _finish(self, reason: str) -> None:
        self.stop_reason = reason
        if self._release_gateway is not None:
            await self._release_gateway()
            self._release_gateway = None
        await self.tasks.cancel()
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None
        self.ready.clear()
        self.stopped.set()

    def _loop_died(self, name: str, error: BaseException) -> None:
        log.error("engine stopped", action="engine_died", loop=name, exc_info=error)
        self._abort(f"{name} died: {error!r}")

    def _abort(self, reason: str) -> None:
        if not self._stopping and not self.stopped.is_set():
            self._stopping = True
            self._aborting = asyncio.get_running_loop().create_task(
                self._finish(reason), name="engine-abort"
            )

    async def _watch_lease(self) -> None:
        await self.lease.lost.wait()
        self._abort("the lease was lost")

    async def _wait_for_nodes(self) -> None:
        try:
            await asyncio.wait_for(self._switchboard.all_up(), self._settings.node_wait)
        except TimeoutError:
            log.warning(
                "started without all nodes", action="nodes_missing", down=self._switchboard.down()
            )

    async def _reconcile(self) -> None:
        attempts = await self._store.open_attempts(self.pool_id)
        if attempts:  # what was sent just before the crash may not have a channel yet
            await asyncio.sleep(self._settings.originate_time)
        channels: list[tuple[str, ChannelSnapshot]] = []
        for switch in self._switchboard.up():
            channels.extend((switch.node, c) for c in await switch.channels())
        channels = await ours(channels, store=self._store, pool_id=self.pool_id)
        ids = [str(a.id) for a in attempts]
        since = min((a.intended_at for a in attempts), default=self._clock.now())
        records = await self._records.find(ids, since=since) if ids else {}
        self.found = reconcile(
            attempts,
            channels=channels,
            records=records,
            calls=self.calls,
            desk=self.desk,
            router=self.router,
            clock=self._clock,
            take_line=self._lines.adopt,
        )
        nodes = {c.dialer_id: node for node, c in channels}
        for key in self.found.swept:
            self._hang_ups.want(nodes[key], key)
        log.info(
            "reconciled",
            action="reconciled",
            adopted=self.found.adopted,
            concluded=self.found.concluded,
            unknown=self.found.unknown,
            swept=len(self.found.swept),
            legs=self.found.legs,
        )

    # -- what happens -----------------------------------------------------------------------------

    def on_event(self, event: SwitchEvent) -> None:
        """The switchboard's sink: synchronous, in order, on the loop."""
        if self.stopped.is_set() or not self.lease.held:
            return
        if isinstance(event, (NodeUp, NodeDown)):
            log.info(
                "node",
                action="node_up" if isinstance(event, NodeUp) else "node_down",
                node=event.node,
            )
            if isinstance(event, NodeUp):
                self._hang_ups.node_up(event.node)
            self.ticker.wake()
            return
        if isinstance(event, CallEnded):
            self._hang_ups.gone(event.call_id)
        elif isinstance(event, LegEnded):
            self._hang_ups.gone(event.leg_id)
        if isinstance(event, CallEnded) and event.end is CallEnd.UNKNOWN:
            self.tasks.spawn(self._ended_unseen(event), name=f"unseen-{event.call_id}")
            return
        self._events.dispatch(event)

    async def _ended_unseen(self, event: CallEnded) -> None:
        """The link was away as it ended: Asterisk's own records may know how."""
        call = self.calls.get(event.call_id)
        if call is None:
            return
        record: CallRecord | None = None
        for pause in self._settings.record_waits:
            await asyncio.sleep(pause)
            found = await self._records.find([call.key], since=call.intended_at)
            record = found.get(call.key)
            if record is not None and record.end is not None:
                self._events.dispatch(conclude(call, record, self._clock))
                return
        self._events.dispatch(event)

    def _concluded(self, call: Call, outcome: Any, event: CallEnded) -> None:
        self._lines.report(call.trunk, outcome, tech_cause=event.tech_cause)
        self._lines.release(call.trunk)
        self.ticker.wake()

    def _agent_ready(self, agent: Agent) -> None:
        self.router.agent_ready(agent)
        self.ticker.wake()

    def _conversation_cut(self, agent: Agent) -> None:
        self.calls.leg_lost(agent)

    def _put(self, write: Write) -> None:
        self.writer.put(write)

    def _post(self, topic: str, kind: str, data: dict[str, Any]) -> None:
        # Before we speak for the pool nobody needs to hear it: their snapshot will include it.
        if self._publisher is not None:
            self._publisher.post(topic, kind, data)

    def _last_seq(self, topic: str) -> Seq:
        return self._publisher.last(topic) if self._publisher is not None else Seq(0, 0)

    async def _handle(self, command: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Commands are for the owner; a process that slept through its lease is none any more."""
        _ = self.lease.current  # raises LeaseLost
        return await self._commands.handle(command, payload)

    def _epoch(self) -> int:
        return self.lease.lease.epoch if self.lease.lease is not None else 0

    def _node_for(self, agent: Agent) -> str:
        if agent.view.node:
            return agent.view.node
        nodes = [s.node for s in self._switchboard.up()] or list(self._switchboard.names)
        legs = {n: sum(a.leg_node == n for a in self.desk.signed_in()) for n in nodes}
        return min(nodes, key=lambda n: legs[n])

    async def refresh(self) -> None:
        """Read the pool's configuration again: campaigns, their states and settings, agents."""
        view = await self._store.load(self.pool_id)
        await self._fill_ledgers([c for c in view.campaigns if c.id not in self.campaigns])
        self.desk.load(view.agents)
        known = {c.id for c in view.campaigns}
        for campaign_view in view.campaigns:
            self.campaigns[campaign_view.id].view = campaign_view
            self.hopper.poke(campaign_view.id)
            if campaign_view.state is not CampaignState.RUNNING:
                self.hopper.send_back(campaign_view.id, reason=campaign_view.state.value)
        for campaign_id in [c for c in self.campaigns if c not in known]:
            if self._completion.over(self.campaigns[campaign_id]):
                del self.campaigns[campaign_id]
        self.ticker.wake()

    async def _fill_ledgers(self, views: Sequence[CampaignView]) -> None:
        """Campaigns new to this engine come with what the records say of them."""
        now = self._clock.now()
        counts = await self._store.hour_counts(
            {view.id: now - abandon_window(view.settings) for view in views}
        )
        for view in views:
            if view.id not in self.campaigns:  # another refresh may have been faster
                campaign = self.campaigns[view.id] = Campaign(view)
                campaign.ledger.load(counts[view.id])

    # -- figures ----------------------------------------------------------------------------------

    def figures(self, client_id: UUID | None) -> dict[str, Any]:
        return figures(
            pool=self.pool_id,
            client_id=client_id,
            campaigns=self.campaigns.values(),
            desk=self.desk,
            calls=self.calls,
            router=self.router,
            trunks=self._lines.describe(),
            nodes=self._nodes(),
            per_minute=self.ticker.per_minute(),
            clock=self._clock,
        )

    def _nodes(self) -> Sequence[Mapping[str, Any]]:
        up = {s.node for s in self._switchboard.up()}
        return [{"name": name, "up": name in up} for name in self._switchboard.names]

    async def _figures_loop(self) -> None:
        while True:
            clients = {c.view.client_id for c in self.campaigns.values()}
            for client_id in clients | {a.view.client_id for a in self.desk.agents.values()}:
                if self._publisher is not None:
                    self._publisher.show(f"live:{client_id}", "figures", self.figures(client_id))
            await asyncio.sleep(self._settings.figures)
