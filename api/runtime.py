"""One process with everything in it: database, switches, engines, API. What `dialer serve` runs."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import structlog
import uvicorn
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

from api.app import Deps, create_app
from api.auth import Auth
from api.metrics import EngineMetrics
from api.pools import FREED, POOLS, Pools
from api.process_metrics import CheckMetrics, JobMetrics, ProcessMetrics
from api.readiness import Readiness, folders_written
from api.settings import NodeSettings, Settings, WebhookSettings
from api.watchdog import Watchdog
from api.watched import WatchedTasks
from api.webhook_metrics import WebhookMetrics
from dialer.domain.ids import id_source
from dialer.engine.heartbeat import Heartbeat
from dialer.engine.lines import Lines
from dialer.engine.permission import Permission
from dialer.engine.pool import PoolEngine
from dialer.engine.settings import EngineSettings
from dialer.engine.tasks import TaskGroup
from dialer.engine.timing import Timing
from dialer.engine.writer import LeftBehind
from dialer.jobs.decisions import keep_decisions
from dialer.jobs.partitions import keep_partitions
from dialer.jobs.recordings import RecordingMover
from dialer.jobs.storage import RecordingStorage
from dialer.jobs.webhooks import DeliverySettings, WebhookDeliverer
from dialer.live.bus import open_bus
from dialer.services.accounts import Accounts
from dialer.services.agents import Agents
from dialer.services.campaigns import Campaigns
from dialer.services.webhooks import Webhooks
from dialer.store.database import Database, upgrade
from dialer.store.pool_store import SqlPoolStore
from dialer.webhooks.guard import Guard, Policy, Resolver
from dialer.webhooks.sender import Limits, Sender
from telephony.ami import AmiAccount, AmiSwitch
from telephony.clock import Clock, SystemClock
from telephony.events import NodeUp, SwitchEvent
from telephony.nodes import Switchboard
from telephony.provision.phones import Phone, write_phones
from telephony.records import CelFiles
from telephony.switch import EventSink, Switch, SwitchError
from telephony.trunks import TrunkSettings

log = structlog.get_logger(__name__)


class Runtime:
    """The parts of one process and their life."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.new_id = id_source(self.clock)
        self.database = Database(settings.database_url)
        self.tasks = WatchedTasks()
        self.heartbeat = Heartbeat(self.clock, limit=EngineSettings().lease_margin)
        self.watchdog = Watchdog(self.heartbeat, clock=self.clock, threshold=settings.stall)
        self.switches: dict[str, AmiSwitch] = {}
        self.pops = Timing()
        self.bus = open_bus(settings.redis.get_secret_value(), clock=self.clock)
        self.feed, self.gateway = self.bus.feed, self.bus.gateway
        self.switchboard = Switchboard({node.name: self._maker(node) for node in settings.nodes})
        self.lines = Lines(
            [
                TrunkSettings(
                    name=t.name,
                    node=t.node,
                    host=t.host,
                    lines=t.lines,
                    calls_per_second=t.calls_per_second,
                    prefixes=t.prefixes,
                    refused=t.refused,
                )
                for t in settings.trunks
            ],
            clock=self.clock,
        )
        self.auth = Auth(
            self.database,
            key=settings.signing_key(),
            token_seconds=settings.token_seconds,
            clock=self.clock,
        )
        self._errands = TaskGroup(lambda name, error: None)  # short ones; none of them is a loop
        self._phones_unread: set[str] = set()  # nodes whose phones were written meanwhile
        self.switchboard.listen(self._on_event)
        self.pools = Pools(
            self.database,
            gateway=self.gateway,
            switchboard=self.switchboard,
            make=self._engine,
            tasks=self.tasks,
            signal=self.bus.signal,
            others=lambda: self.bus.others(),
        )
        self.bus.on_signal(POOLS, self.pools.changed)
        self.bus.on_signal(FREED, self.pools.freed)
        self.registry = CollectorRegistry()
        self.registry.register(EngineMetrics(self.pools.engines))
        self.registry.register(
            ProcessMetrics(
                tasks=self.tasks,
                heartbeat=self.heartbeat,
                watchdog=self.watchdog,
                bus=self.bus,
                switchboard=self.switchboard,
                switches=self.switches,
                lines=self.lines,
                pops=self.pops,
            )
        )
        self.storage = RecordingStorage(
            settings.recordings_url, key=bytes.fromhex(settings.recordings.key.get_secret_value())
        )
        self.mover = RecordingMover(
            self.database,
            self.storage,
            folders={n.name: n.recordings for n in settings.nodes if n.recordings is not None},
            clock=self.clock,
            poll=settings.recordings.poll,
        )
        self.registry.register(JobMetrics(self.mover))
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.readiness = Readiness(
            database=self.database,
            bus=self.bus,
            switchboard=self.switchboard,
            switches=self.switches,
            lines=self.lines,
            pools=self.pools,
            mover=self.mover,
            tasks=self.tasks,
            heartbeat=self.heartbeat,
            watchdog=self.watchdog,
            folders=folders_written(
                settings.database_url,
                settings.recordings_url,
                [(node.name, node.recordings) for node in settings.nodes],
            ),
            least_free=settings.disk_free,
            clock=self.clock,
        )
        self.registry.register(CheckMetrics(self.readiness))
        self.names = Resolver()
        guard = self._guard(settings.webhooks)
        self.deliverer = WebhookDeliverer(
            self.database,
            Sender(
                guard,
                clock=self.clock,
                limits=Limits(whole=settings.webhooks.timeout),
                authorities=settings.webhooks.authorities,
            ),
            clock=self.clock,
            new_id=self.new_id,
            settings=DeliverySettings(poll=settings.webhooks.poll),
        )
        self.registry.register(WebhookMetrics(self.deliverer.figures))
        self.app = create_app(
            Deps(
                database=self.database,
                gateway=self.gateway,
                feed=self.feed,
                clock=self.clock,
                new_id=self.new_id,
                auth=self.auth,
                campaigns=Campaigns(
                    self.database, gateway=self.gateway, clock=self.clock, new_id=self.new_id
                ),
                agents=Agents(
                    self.database,
                    gateway=self.gateway,
                    clock=self.clock,
                    new_id=self.new_id,
                    hash_password=self.auth.hash,
                    nodes=[node.name for node in settings.nodes],
                    provision=self._provision,
                ),
                accounts=Accounts(
                    self.database,
                    clock=self.clock,
                    new_id=self.new_id,
                    hash_password=self.auth.hash,
                ),
                webhooks=Webhooks(
                    self.database,
                    guard=guard,
                    clock=self.clock,
                    new_id=self.new_id,
                    posted=self.deliverer.wake,
                ),
                registry=self.registry,
                ready=self.checks,
                pops=self.pops,
                body_bytes=settings.body_bytes,
                upload_rows=settings.upload_rows,
                storage=self.storage,
                address_seconds=settings.recordings.address_seconds,
                region=settings.region or None,
                pools_changed=lambda: self.bus.signal(POOLS),
            )
        )

    def _guard(self, settings: WebhookSettings) -> Guard:
        policy = Policy(ports=settings.ports, networks=settings.allow_networks, http=settings.http)
        return Guard(policy, self.names)

    def _maker(self, node: NodeSettings) -> Any:
        account = AmiAccount(
            node=node.name,
            host=node.host,
            port=node.port,
            user=node.user,
            secret=node.secret.get_secret_value(),
            provision_user=node.provision_user if node.provision_secret else "",
            provision_secret=node.provision_secret.get_secret_value(),
            record_user=node.record_user if node.record_secret else "",
            record_secret=node.record_secret.get_secret_value(),
        )

        def make(sink: EventSink) -> Switch:
            switch = AmiSwitch(account, sink=sink, clock=self.clock, spawn=self.tasks.start_link)
            self.switches[node.name] = switch
            return switch

        return make

    async def _provision(self, node: str, phones: Sequence[Phone]) -> None:
        """Write a node's phones and have Asterisk read them, where that is our business."""
        found = next((n for n in self.settings.nodes if n.name == node), None)
        if found is None or found.phones_file is None:
            return
        fenced = [replace(phone, permit=found.phones_permit) for phone in phones]
        await asyncio.to_thread(write_phones, found.phones_file, fenced)
        await self._read_phones(node)

    async def _read_phones(self, node: str) -> None:
        """Have Asterisk read its phones; one that is away is asked when it is back."""
        self._phones_unread.add(node)
        if node in self.switchboard.down():
            return
        try:
            await self.switchboard.switch(node).reload_phones()
            self._phones_unread.discard(node)
        except SwitchError as error:  # read at the node's next start or reload
            log.warning("phones not reloaded", action="provision_failed", error=str(error))

    def _on_event(self, event: SwitchEvent) -> None:
        if isinstance(event, NodeUp) and event.node in self._phones_unread:
            self._errands.spawn(self._read_phones(event.node), name=f"phones-{event.node}")

    async def checks(self) -> dict[str, Any]:
        """For /readyz: each part's state, 'ok' or what is wrong."""
        return dict(await self.readiness.checks())

    async def start(self) -> None:
        """Everything but the HTTP server."""
        await self.database.make_partitions(self.clock.now())
        await self.switchboard.start()
        self.watchdog.start()
        self.tasks.start("heartbeat", self.heartbeat.run())
        self.tasks.start("bus", self.bus.run())
        self.tasks.start("checks", self.readiness.keep(), holds=False)
        self.tasks.start("partitions", keep_partitions(self.database, clock=self.clock))
        days = self.settings.decisions_days
        pruning = keep_decisions(self.database, days=days, clock=self.clock)
        self.tasks.start("decisions", pruning, holds=False)
        self.tasks.start("recordings", self.mover.run())
        self.tasks.start("webhooks", self.deliverer.run(), holds=False)
        await self.pools.look()
        self.tasks.start("pools", self.pools.keep())

    def _engine(self, pool_id: UUID, inherited: LeftBehind) -> PoolEngine:
        return PoolEngine(
            pool_id,
            owner=f"{socket.gethostname()}:{os.getpid()}",
            store=SqlPoolStore(self.database, new_id=self.new_id, region=self.settings.region),
            switchboard=self.switchboard,
            records=CelFiles([n.cel for n in self.settings.nodes if n.cel is not None]),
            feed=self.feed,
            gateway=self.gateway,
            lines=self.lines,
            permission=Permission(lambda: tuple(t.host for t in self.settings.trunks)),
            clock=self.clock,
            new_id=self.new_id,
            settings=EngineSettings(drain=self.settings.drain, lease=self.settings.lease_seconds),
            inherited=inherited,
            heartbeat=self.heartbeat,
            hold=self.tasks.hold,
        )

    async def hand_over(self) -> None:
        """Leave the pools to another node, as they are; without one, drain the engines. The API
        still answers meanwhile, and says that it is not ready."""
        self.readiness.stopping = True
        await self.bus.stand_down()
        await self.pools.stop()
        await self.bus.settled()

    async def stop(self) -> None:
        """Let go of everything; of the pools first, unless that is done."""
        if not self.readiness.stopping:
            await self.hand_over()
        await self._errands.cancel()
        await self.tasks.stop()
        await self.bus.close()
        await self.switchboard.stop()
        self.names.close()
        await self.database.close()
        self.watchdog.stop()


def configure_logs(settings: Settings) -> None:
    """Structured lines on standard error; JSON for machines, plain for people."""
    level = logging.getLevelNamesMapping().get(settings.log_level.upper(), logging.INFO)
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings.log_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=max(level, logging.WARNING), stream=sys.stderr)


def http_config(
    app: Any, *, host: str, port: int, proxies: Sequence[str] = ("127.0.0.1",)
) -> uvicorn.Config:
    """How the API is served. No access log: addresses of recordings are signed, and secret."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=list(proxies),
        ws="websockets-sansio",
        ws_max_size=64 * 1024,
        ws_ping_interval=10.0,  # an agent whose machine vanished is noticed within 20 s
        ws_ping_timeout=10.0,
        timeout_graceful_shutdown=3,
    )


def listen(host: str, port: int) -> socket.socket:
    """The API's socket, before anything else is started; raises OSError that says what is wrong."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named asyncio sets TCP_NODELAY: a pop must not wait for an acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise OSError(error.errno, f"{error.strerror} ({host}:{port})") from None
    return listening


def spare_the_collector() -> None:
    """Take what was made at start out of the garbage collector's sight.

    It lives as long as the process; looking through all of it stops the loop for a tenth of a
    second, again and again, and with it every person who waits to be joined to an agent.
    """
    gc.collect()
    gc.freeze()
    # Nearly all that a call leaves behind dies young or has no cycles. The oldest generation is
    # looked through ten times more seldom than by Python's default: each look is a stall.
    gc.set_threshold(1_000, 10, 100)


async def serve(settings: Settings, *, make: Callable[[Settings], Runtime] = Runtime) -> int:
    """Run until SIGINT or SIGTERM; returns the exit code. `make`: for a process with other parts,
    such as a switch in memory."""
    configure_logs(settings)
    listening = listen(settings.host, settings.port)
    await asyncio.to_thread(upgrade, settings.database_url)
    runtime = make(settings)
    await runtime.start()
    config = http_config(
        runtime.app, host=settings.host, port=settings.port, proxies=settings.proxies
    )
    config.load()  # its protocols are imported here, and belong to what lives for ever
    server = uvicorn.Server(config)
    spare_the_collector()
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    with contextlib.suppress(AttributeError):
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    serving = asyncio.create_task(server.serve(sockets=[listening]), name="http")
    waiting = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait([serving, waiting], return_when=asyncio.FIRST_COMPLETED)
    early = serving.done()
    await runtime.hand_over()
    server.should_exit = True  # its sockets are told to come back elsewhere
    await asyncio.gather(serving, return_exceptions=True)
    await runtime.stop()
    waiting.cancel()
    return 1 if early else 0
