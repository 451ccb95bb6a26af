"""The engine of one pool: owns it by lease, reacts to events, paces by ticks, writes in batches.

Life: acquire the lease - wait for the nodes - reconcile - run - drain - release. A loop that dies,
or a lease that is lost, stops the engine loudly: `stopped` is set with the reason, no call is
placed after that, and the people on the line are safe in the dialplan.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any
from uuid import UUID

import structlog

from dialer.domain.errors import LeaseLost
from dialer.domain.ids import NewId
from dialer.domain.work import LeadMove, PoolStore, Write
from dialer.engine.agents import AgentDesk
from dialer.engine.assisted import AssistedDialing
from dialer.engine.calls import CallDesk
from dialer.engine.catch_up import CatchUp
from dialer.engine.commands import Commands
from dialer.engine.completion import Completion
from dialer.engine.configuration import Configuration
from dialer.engine.downtime import Downtime
from dialer.engine.explaining import Explaining
from dialer.engine.figures import figures
from dialer.engine.gate import Gate
from dialer.engine.giving_up import GivingUp
from dialer.engine.handover import hand_over, read_handover
from dialer.engine.hangups import HangUps
from dialer.engine.heartbeat import Heartbeat
from dialer.engine.hopper import Hopper
from dialer.engine.lease import LeaseKeeper
from dialer.engine.lines import Lines
from dialer.engine.observing import Observer
from dialer.engine.pacer import Pacer
from dialer.engine.permission import Permission
from dialer.engine.placing import Placer
from dialer.engine.reconcile import Found
from dialer.engine.recovery import Recovery
from dialer.engine.router import Router
from dialer.engine.seating import node_again, node_for
from dialer.engine.settings import EngineSettings
from dialer.engine.state import Agent, Call, Campaign
from dialer.engine.switching import EventRouter
from dialer.engine.tasks import TaskGroup
from dialer.engine.ticking import Ticker
from dialer.engine.writer import BatchWriter, LeftBehind
from dialer.live.feed import LiveFeed, Publisher, Seq
from dialer.live.gateway import CommandGateway
from telephony.clock import Clock
from telephony.events import CallEnd, CallEnded, LegEnded, NodeDown, NodeUp, SwitchEvent
from telephony.nodes import Switchboard
from telephony.records import CallRecords

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
        inherited: LeftBehind | None = None,
        heartbeat: Heartbeat | None = None,
        hold: Callable[[], str] = lambda: "",
    ) -> None:
        """`inherited`: what this process's engine before this one could not write any more.
        `heartbeat`: the process's. `hold`: why the process may place no calls; '' while it may."""
        self.pool_id, self._store, self._switchboard = pool_id, store, switchboard
        self._records, self._feed, self._gateway = records, feed, gateway
        self._lines, self._clock, self._settings = lines, clock, settings
        self.stopped = asyncio.Event()
        self.stop_reason = ""
        self.died = ""  # the loop that ended on its own
        self.found: Found | None = None
        self.ready = asyncio.Event()
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
        self._heartbeat = heartbeat or Heartbeat(clock, limit=settings.lease_margin)
        self.gate = Gate(self.lease, self.writer, switchboard, heartbeat=self._heartbeat, hold=hold)
        self.campaigns: dict[UUID, Campaign] = {}
        put = self._put
        self.observer = Observer()
        self._hang_ups = HangUps(switch_for=self.gate.switch, tasks=self.tasks)
        self.desk = AgentDesk(
            switch_for=self.gate.switch,
            hang_ups=self._hang_ups,
            put=put,
            post=self._post,
            new_id=new_id,
            clock=clock,
            settings=settings,
            tasks=self.tasks,
            became_ready=self._agent_ready,
            work_cut=self._work_cut,
            epoch=self._epoch,
            node_for=lambda agent: node_again(agent, self.desk, switchboard),
            held=lambda: self.lease.held,
            wrapped_up=self.observer.wrapped_up,
        )
        self.router = Router(
            campaigns=self.campaigns, desk=self.desk, switch_for=self.gate.switch,
            hang_ups=self._hang_ups, post=self._post, tasks=self.tasks, clock=clock,
        )  # fmt: skip
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
            observer=self.observer,
        )
        self.placer = Placer(
            store=store,
            lease=self.lease,
            calls=self.calls,
            lines=lines,
            permission=permission,
            switch_for=self.gate.switch,
            put=put,
            new_id=new_id,
            clock=clock,
            settings=settings,
            tasks=self.tasks,
            settle=self.hopper.settle,
            doubt=lambda: self.gate.doubt,
            placed=self.observer.placed,
            unwritten_blocks=self.writer.unwritten_blocks,
        )
        self.assisted = AssistedDialing(
            store=store, lease=self.lease, desk=self.desk, hopper=self.hopper,
            placer=self.placer, router=self.router, campaigns=self.campaigns, put=put,
            post=self._post, clock=clock, tasks=self.tasks,
        )  # fmt: skip
        self._completion = Completion(
            store=store, lease=self.lease, desk=self.desk, calls=self.calls, hopper=self.hopper,
            writer=self.writer, clock=clock, settings=settings,
        )  # fmt: skip
        self.pacer = Pacer(
            store=store, campaigns=self.campaigns, desk=self.desk, calls=self.calls, lines=lines,
            observer=self.observer, clock=clock, settings=settings,
            giving_up=GivingUp(
                switch_for=self.gate.switch, router=self.router, tasks=self.tasks, clock=clock
            ),
            explaining=Explaining(put=put, clock=clock, settings=settings),
        )  # fmt: skip
        self.ticker = Ticker(
            store=store, campaigns=self.campaigns, desk=self.desk, calls=self.calls,
            hopper=self.hopper, placer=self.placer, completion=self._completion,
            assisted=self.assisted, pacer=self.pacer, switchboard=switchboard, put=put, clock=clock,
            settings=settings, gate=self.gate, flushed=self.writer.flushed,
        )  # fmt: skip
        self._events = EventRouter(self.calls, self.desk)
        self._configuration = Configuration(
            pool_id, store=store, campaigns=self.campaigns, desk=self.desk, hopper=self.hopper,
            assisted=self.assisted, completion=self._completion, clock=clock,
        )  # fmt: skip
        self._recovery = Recovery(
            pool_id, store=store, switchboard=switchboard, hang_ups=self._hang_ups,
            records=records, calls=self.calls, desk=self.desk, router=self.router, clock=clock,
            take_line=lines.adopt, replay=self.on_event,
        )  # fmt: skip
        self._commands = Commands(
            campaigns=self.campaigns, desk=self.desk, calls=self.calls, router=self.router,
            hopper=self.hopper, assisted=self.assisted, put=put, clock=clock,
            node_for=lambda agent: node_for(agent, self.desk, switchboard),
            refresh=self.refresh, gate=self.gate, figures=self.figures, outlook=self.pacer.outlook,
            last_seq=self._last_seq,
        )  # fmt: skip
        self._catch_up = CatchUp(
            gate=self.gate, lease=self.lease, switchboard=switchboard, recovery=self._recovery,
            refresh=self.refresh, tasks=self.tasks, ready=self.ready,
            wake=self.ticker.wake,
        )  # fmt: skip
        self._deaf = self._heartbeat.on_stall(self._catch_up.stalled)
        self._release_gateway: Any = None
        self._publisher: Publisher | None = None
        self._unsaid: list[tuple[str, str, dict[str, Any]]] = []
        self._inherited = inherited or LeftBehind(0)
        self._downtime = Downtime(settings.leg_grace, too_long=self._node_lost)

    # -- life -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Own the pool, reconcile, and run. Returns when the engine is dialing."""
        await self.lease.acquire(poll=self._settings.lease / 10)
        self.tasks.loop(self.lease.keep(), name="lease", returns=True)
        self.tasks.loop(self._watch_lease(), name="lease-watch", returns=True)
        self.tasks.loop(self.writer.run(), name="writer")
        await self._inherit()
        await self._store.unclaim_all(self.lease.current)
        await self.refresh()
        await self._wait_for_nodes()
        handed = read_handover(await self._store.take_handover(self.lease.current))
        self.found = await self._recovery.run(
            originate_time=self._settings.originate_time, handed=handed
        )
        if self.stopped.is_set() or self.gate.stopping:
            raise LeaseLost("the pool was lost during the start")
        self._release_gateway = await self._gateway.serve(self.pool_id, self._commands.handle)
        self._publisher = self._feed.own(self.pool_id, self.lease.current.epoch)
        for topic, kind, data in self._unsaid:
            self._publisher.post(topic, kind, data)
        self._unsaid.clear()
        self.desk.tell_states()  # every screen hears that there is a new owner
        self.tasks.loop(self.ticker.tick_loop(), name="tick")
        self.tasks.loop(self.ticker.fill_loop(), name="hopper")
        self.tasks.loop(self._figures_loop(), name="figures")
        self.ready.set()

    async def _inherit(self) -> None:
        writes = self._inherited.for_epoch(self.lease.current.epoch)
        if writes:
            self.writer.put(*writes)
            await self._unless_stopped(self.writer.flushed())
            log.info("writes inherited", action="writes_inherited", count=len(writes))
        self._inherited = LeftBehind(0)

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for `work`; raises LeaseLost when the engine stops before it is done."""
        tasks = [asyncio.ensure_future(work), asyncio.ensure_future(self.stopped.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        if self.stopped.is_set():
            raise LeaseLost("the pool was lost during the start")

    @property
    def left_behind(self) -> LeftBehind:
        """What the next engine of this process should be given, once this one has stopped."""
        epoch, writes = self._epoch(), self.writer.left_behind()
        return LeftBehind(epoch, writes) if epoch and writes else self._inherited

    async def stop(self, *, reason: str = "stopped") -> None:
        """Stop originating, let conversations end for a while, write what happened, let go."""
        if self.stopped.is_set():
            return
        await self._place_no_more()
        deadline = self._clock.monotonic() + self._settings.drain
        await self.calls.over(deadline)
        for call in list(self.calls.calls.values()):
            self.router.hang_up(call)
        await self.calls.over(self._clock.monotonic() + self._settings.originate_time)
        try:
            if self.lease.held:
                await self._send_home()
        finally:
            await self._finish(reason)

    async def leave(self, *, reason: str = "handed over") -> None:
        """Give the pool to another dialer that stands in line for it: phones, conversations and
        agents stay as they are. Calls that are not answered yet are waited for, so that nobody
        answers while the pool has no owner."""
        if self.stopped.is_set():
            return
        await self._place_no_more()
        deadline = self._clock.monotonic() + self._settings.drain
        await self.calls.over(deadline, talking=True)
        await self.tasks.settle()
        self.hopper.send_back_all(reason="engine stopping")  # what a late claim brought
        try:
            if self.lease.held:
                await self._release(self._last_words())
        finally:
            await self._finish(reason)

    def _last_words(self) -> Mapping[str, Any]:
        """From here on what happens is the next owner's: they find it out."""
        self.gate.leaving = True
        told = hand_over(self.desk, self.calls.calls.values(), put=self._put, clock=self._clock)
        log.info("handing over", action="handing_over", agents=len(told["agents"]),
                 calls=len(self.calls.calls))  # fmt: skip
        return told

    async def _place_no_more(self) -> None:
        self.gate.stopping = True
        try:
            async with asyncio.timeout(self._settings.originate_time):
                await self.gate.idle()
        except TimeoutError:
            log.warning("the store does not answer", action="stop_busy")
        self.hopper.send_back_all(reason="engine stopping")
        for campaign_id in list(self.campaigns):
            self.assisted.withdraw(campaign_id)

    async def _send_home(self) -> None:
        """Everybody signed out, everything written, the pool free for the next owner."""
        for agent in self.desk.signed_in():
            agent.call = None
            self.desk.leave_for_shutdown(agent)
        await self.tasks.settle()
        self.hopper.send_back_all(reason="engine stopping")  # what a late claim brought
        await self._release(None)

    async def _release(self, handover: Mapping[str, Any] | None) -> None:
        if self._release_gateway is not None:  # no command may change what is written now
            await self._release_gateway()
            self._release_gateway = None
        try:
            async with asyncio.timeout(10.0):
                await self.writer.flushed()
            await self.lease.release(handover=handover)
        except Exception as error:
            log.error(
                "not handed over",
                action="stop_unwritten",
                backlog=self.writer.backlog,
                error=repr(error),
            )

    async def abandon(self) -> None:
        """End an engine whose start failed, without touching what it does not own."""
        await self._finish("start failed")

    async def _finish(self, reason: str) -> None:
        self.stop_reason = reason
        self._deaf()
        if self._release_gateway is not None:
            await self._release_gateway()
            self._release_gateway = None
        self._downtime.forget()
        await self.tasks.cancel()
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None
        self.desk.break_off()
        for call in self.calls.calls.values():  # whoever adopts them takes their lines again
            self._lines.release(call.trunk)
        self.ready.clear()
        self.stopped.set()

    def _loop_died(self, name: str, error: BaseException) -> None:
        if not isinstance(error, LeaseLost):
            self.died = name
        log.critical("engine stopped", action="engine_died", loop=name, exc_info=error)
        self._abort(f"{name} died: {error!r}")

    def _abort(self, reason: str) -> None:
        if not self.gate.stopping and not self.stopped.is_set():
            self.gate.stopping = True
            self._aborting = asyncio.get_running_loop().create_task(
                self._finish(reason), name="engine-abort"
            )

    async def _watch_lease(self) -> None:
        await self.lease.lost.wait()
        self._abort("the lease was lost")

    async def _wait_for_nodes(self) -> None:
        await self._switchboard.settled(self._settings.node_wait)
        if down := self._switchboard.down():
            log.warning("started without all nodes", action="nodes_missing", down=down)
            for node in down:
                self._downtime.began(node)

    # -- what happens -----------------------------------------------------------------------------

    def on_event(self, event: SwitchEvent) -> None:
        """The switchboard's sink: synchronous, in order, on the loop."""
        if self.stopped.is_set() or self.gate.leaving or self.lease.lease is None:
            return
        if not self.lease.held:
            self.lease.lost.set()  # what was not heard cannot be made up for
            return
        if self._recovery.keeps(event):
            return
        if isinstance(event, CallEnded):
            self._hang_ups.gone(event.call_id)
        elif isinstance(event, LegEnded):
            self._hang_ups.gone(event.leg_id)
        if isinstance(event, NodeUp):
            log.info("node", action="node_up", node=event.node)
            self._hang_ups.node_up(event.node)
            self._downtime.over(event.node)
            back = self._recovery.node_back(event.node, event.channels)
            self.tasks.spawn(back, name=f"node-back-{event.node}")
            self.ticker.wake()
        elif isinstance(event, NodeDown):
            log.info("node", action="node_down", node=event.node)
            self.calls.out_of_sight(event.node)
            self._downtime.began(event.node)
        elif isinstance(event, CallEnded) and self.calls.unsure(event):
            look = self._recovery.look_up(event, self._settings.record_waits)
            self.tasks.spawn(look, name=f"look-up-{event.call_id}")
        else:
            self._events.dispatch(event)

    def _node_lost(self, node: str) -> None:
        if not self.stopped.is_set() and self.lease.held:
            log.warning("node given up", action="node_given_up", node=node)
            self.desk.node_lost(node)
            gone = self._recovery.node_gone(node, self._settings.record_waits)
            self.tasks.spawn(gone, name=f"node-gone-{node}")

    def _concluded(self, call: Call, outcome: Any, event: CallEnded) -> None:
        silent = event.end is CallEnd.SILENT
        self._lines.report(
            call.trunk, outcome, tech_cause="silence" if silent else event.tech_cause
        )
        self._lines.release(call.trunk)
        self.ticker.wake()

    def _agent_ready(self, agent: Agent) -> None:
        self.router.agent_ready(agent)
        self.ticker.wake()

    def _work_cut(self, agent: Agent) -> None:
        """The agent's phone is gone, or the agent: their person and their leads move on."""
        self.calls.leg_lost(agent)
        self.assisted.put_back(agent)
        self.hopper.send_back_own(agent.id, reason="agent away")

    def _put(self, write: Write) -> None:
        if isinstance(write, LeadMove):
            self.hopper.settle(write.lead_id)
        self.writer.put(write)

    def _post(self, topic: str, kind: str, data: dict[str, Any]) -> None:
        if self._publisher is not None:
            self._publisher.post(topic, kind, data)
        elif not self.stopped.is_set():
            # Said while we still look what there is: heard once screens can ask us back.
            self._unsaid.append((topic, kind, data))

    def _last_seq(self, topic: str) -> Seq:
        return self._publisher.last(topic) if self._publisher is not None else Seq(0, 0)

    def _epoch(self) -> int:
        return self.lease.lease.epoch if self.lease.lease is not None else 0

    async def refresh(self) -> None:
        """Read the pool's configuration again: campaigns, their states and settings, agents."""
        await self._configuration.refresh()
        self.ticker.wake()

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
