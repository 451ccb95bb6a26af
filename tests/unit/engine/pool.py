"""A pool in virtual time: engine, twin nodes, store in memory, agents; and the evidence of a run.

`Pool` is the world that outlives a dialer: nodes, people, rows. `start` runs an engine in it as a
process would, `crash` takes it away without a word, and the next `start` has to find its way.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from dialer.domain.agent import AgentState
from dialer.domain.campaign import (
    CampaignSettings,
    CampaignState,
    CampaignView,
    DialMode,
    DispositionCode,
)
from dialer.domain.ids import uuid7
from dialer.domain.work import AgentView, ClaimedLead, ContactHistory
from dialer.engine.heartbeat import Heartbeat
from dialer.engine.lines import Lines
from dialer.engine.memory_store import MemoryPoolStore
from dialer.engine.permission import Permission
from dialer.engine.pool import PoolEngine
from dialer.engine.settings import EngineSettings
from dialer.engine.state import Agent, Call
from dialer.engine.writer import LeftBehind
from dialer.live.feed import Feed, Publisher, Seq
from dialer.live.gateway import LocalGateway
from telephony.clock import LoopClock, SteppedClock
from telephony.nodes import Switchboard
from telephony.records import CallRecord
from telephony.trunks import TrunkSettings
from telephony.twin import ANSWERS, Behaviour, TwinNode, TwinRecords, TwinSwitch
from tests.unit.engine.network import Watch

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
CODES = {
    code.code: code
    for code in (
        DispositionCode("sale", "Sale", contact=True, success=True),
        DispositionCode("later", "Call back", callback=True, final=False),
        DispositionCode("again", "Try again", final=False, retry_delay=60.0),
        DispositionCode("never", "Never again", do_not_call=True),
    )
}


@dataclass(frozen=True, slots=True)
class Posted:
    at: datetime
    topic: str
    kind: str
    data: Mapping[str, Any]
    seq: Seq


class WatchedPublisher:
    """Keeps what was posted, in order."""

    def __init__(self, inner: Publisher, feed: WatchedFeed) -> None:
        self._inner, self._feed = inner, feed

    def post(self, topic: str, kind: str, data: Mapping[str, Any]) -> Seq:
        seq = self._inner.post(topic, kind, data)
        if self._feed.alive:
            self._feed.told(Posted(self._feed.now(), topic, kind, data, seq))
        return seq

    def show(self, topic: str, kind: str, data: Mapping[str, Any]) -> Seq:
        return self._inner.show(topic, kind, data)

    def last(self, topic: str) -> Seq:
        return self._inner.last(topic)

    def close(self) -> None:
        self._inner.close()


class WatchedFeed(Feed):
    """A feed whose owners are overheard."""

    def __init__(self, clock: LoopClock, told: Callable[[Posted], None]) -> None:
        super().__init__(clock)
        self.told, self.now = told, clock.now
        self.alive = True

    def own(self, pool_id: UUID, epoch: int) -> Publisher:
        return WatchedPublisher(super().own(pool_id, epoch), self)


class SlowRecords:
    """The nodes' call records, read in `records_take` seconds."""

    def __init__(self, pool: Pool) -> None:
        self._pool, self._real = pool, TwinRecords(pool.nodes.values())

    async def find(self, ids: Sequence[str], *, since: datetime) -> Mapping[str, CallRecord]:
        await asyncio.sleep(self._pool.records_take)
        return await self._real.find(ids, since=since)


class Process:
    """One dialer process: its engine and all that dies with it."""

    def __init__(self, pool: Pool, owner: str, inherited: LeftBehind | None) -> None:
        self.pool = pool
        self.feed = WatchedFeed(pool.clock, pool.told)
        self.gateway = LocalGateway()
        self.board = Switchboard(
            {
                name: lambda sink, node=node: TwinSwitch(node, sink=sink, clock=pool.clock)
                for name, node in pool.nodes.items()
            }
        )
        self.lines = Lines(pool.trunks, clock=pool.dialer_clock)
        self.heartbeat = Heartbeat(pool.clock, limit=pool.settings.lease_margin)
        self.engine = PoolEngine(
            pool.id,
            owner=owner,
            store=pool.store,
            switchboard=self.board,
            records=SlowRecords(pool),
            feed=self.feed,
            gateway=self.gateway,
            lines=self.lines,
            permission=Permission(lambda: tuple(t.host for t in pool.trunks)),
            clock=pool.dialer_clock,
            new_id=pool.new_id,
            settings=pool.settings,
            inherited=inherited,
            heartbeat=self.heartbeat,
            hold=lambda: pool.hold,
        )
        self.board.listen(self.engine.on_event)
        self.board.listen(lambda event: pool.changed.set())

    def switch(self, node: str = "n1") -> TwinSwitch:
        found = self.board.switch(node)
        assert isinstance(found, TwinSwitch)
        return found


class Pool:
    """The world of one pool."""

    def __init__(
        self,
        *,
        nodes: Iterable[str] = ("n1",),
        settings: EngineSettings | None = None,
        trunks: Iterable[TrunkSettings] | None = None,
        beside: Pool | None = None,
        seed: int = 1,
        latency: float = 0.0,
    ) -> None:
        self.clock, self.rng = LoopClock(START), random.Random(seed)
        self.dialer_clock = SteppedClock(self.clock)  # the dialers' own may be set wrongly
        self.new_id = lambda: uuid7(self.dialer_clock, self.rng.getrandbits)
        self.id, self.client = self.new_id(), self.new_id()
        self.settings = settings or EngineSettings()
        self.people: dict[str, Behaviour] = {}
        self.others = Behaviour(delay=2.0, talk=30.0)
        self.phones: dict[str, Behaviour] = {}
        self.nodes = {
            name: TwinNode(
                name,
                clock=self.clock,
                public=lambda number: self.people.get(number, self.others),
                phones=lambda endpoint: self.phones.get(endpoint, ANSWERS),
            )
            for name in nodes
        }
        self.watches = [Watch(node, clock=self.clock, start=START) for node in self.nodes.values()]
        self.trunks = list(
            trunks
            or [
                TrunkSettings(f"t-{n}", node=n, host="127.0.0.1", calls_per_second=100)
                for n in self.nodes
            ]
        )
        self.store = MemoryPoolStore(clock=self.clock, new_id=self.new_id)
        self.store.latency = latency
        self.records_take = 0.0
        self.hold = ""  # why its processes may place no calls
        self.posted: list[Posted] = []
        #: (after so many posts, when, whose phones)
        self.crashes: list[tuple[int, datetime, frozenset[str]]] = []
        self.changed = asyncio.Event()
        self.processes: list[Process] = []
        self.loaded: list[UUID] = []
        self._numbers = 0
        if beside is not None:  # another pool of the same process, nodes and database
            self.nodes, self.people, self.phones = beside.nodes, beside.people, beside.phones
            self.watches, self.posted, self.crashes = beside.watches, beside.posted, beside.crashes
            self.store = beside.store

    def told(self, posted: Posted) -> None:
        self.posted.append(posted)
        self.changed.set()

    # -- what there is

    def campaign(
        self, mode: DialMode = DialMode.PROGRESSIVE, *, name: str = "c", **settings: Any
    ) -> UUID:
        view = CampaignView(
            id=self.new_id(),
            client_id=self.client,
            pool_id=self.id,
            name=name,
            state=CampaignState.RUNNING,
            version=1,
            settings=CampaignSettings(
                mode=mode, **{"rules_profile": "laboratory", "wrap_up": 10.0, **settings}
            ),
            dispositions=CODES,
        )
        self.store.campaigns[view.id] = view
        return view.id

    def agent(self, *campaigns: UUID, node: str = "") -> UUID:
        agent_id = self.new_id()
        self.store.agents[agent_id] = AgentView(
            agent_id, self.client, self.id, "A", f"phone-{agent_id.hex[-6:]}", node,
            frozenset(campaigns),
        )  # fmt: skip
        return agent_id

    def agents(self, count: int, *campaigns: UUID) -> list[UUID]:
        return [self.agent(*campaigns) for _ in range(count)]

    def lead(
        self,
        campaign: UUID,
        behaviour: Behaviour | None = None,
        *,
        number: str = "",
        person: UUID | None = None,
    ) -> UUID:
        if not number:
            self._numbers += 1
            number = f"+1202555{self._numbers:04}"
        if behaviour is not None:
            self.people[number] = behaviour
        lead = ClaimedLead(
            lead_id=self.new_id(), client_id=self.client, campaign_id=campaign,
            list_id=self.new_id(), customer_id=person or self.new_id(), number_id=self.new_id(),
            number=number, zone=None, region="US", number_kind="mobile", attempts=0,
            outcome_counts={}, consent=True, attributes={"n": number}, name=f"Person {number}",
            callback_agent=None, callback_at=None, history=ContactHistory(),
        )  # fmt: skip
        self.store.add_lead(lead)
        self.loaded.append(lead.lead_id)
        return lead.lead_id

    def leads(self, campaign: UUID, *behaviours: Behaviour) -> list[UUID]:
        return [self.lead(campaign, behaviour) for behaviour in behaviours]

    def number(self, lead_id: UUID) -> str:
        return self.store.leads[lead_id].lead.number

    # -- dialers

    async def start(self, owner: str = "one", inherited: LeftBehind | None = None) -> PoolEngine:
        process = Process(self, owner, inherited)
        self.processes.append(process)
        await process.board.start()
        await process.engine.start()
        return process.engine

    @property
    def process(self) -> Process:
        return self.processes[-1]

    @property
    def engine(self) -> PoolEngine:
        return self.process.engine

    async def crash(self) -> None:
        """kill -9: nothing more is sent, written or told."""
        process = self.process
        await process.board.stop()
        process.feed.alive = False
        self.mark_crash()
        await process.engine.tasks.cancel()
        for agent in process.engine.desk.agents.values():
            if agent.timer is not None:
                agent.timer.cancel()

    def mark_crash(self) -> None:
        """Sign-ins are cut off here: their last stretches were never written."""
        mine = frozenset(str(a.id) for a in self.store.agents.values() if a.pool_id == self.id)
        self.crashes.append((len(self.posted), self.clock.now(), mine))

    async def stop(self) -> None:
        await self.engine.stop()
        await self.process.board.stop()

    async def command(self, name: str, payload: Mapping[str, Any] | None = None) -> Any:
        return await self.process.gateway.call(self.id, name, payload or {})

    async def refresh(self) -> None:
        await self.command("pool.refresh")

    async def move(self, campaign: UUID, state: CampaignState) -> None:
        self.store.campaigns[campaign] = self.store.campaigns[campaign].moved(state)
        await self.refresh()

    async def change(self, campaign: UUID, **settings: Any) -> None:
        view = self.store.campaigns[campaign]
        new = replace(view.settings, **settings)
        self.store.campaigns[campaign] = replace(view, settings=new, version=view.version + 1)
        await self.refresh()

    # -- agents

    async def does(self, agent: UUID, what: str, **payload: Any) -> Any:
        return await self.command(f"agent.{what}", {"agent_id": str(agent), **payload})

    async def sign_in(self, *agents: UUID, ready: bool = True) -> None:
        for agent in agents:
            await self.does(agent, "sign_in")
        for agent in agents:
            await self.until(lambda a=agent: self.state(a) is AgentState.PAUSED)
            if ready:
                await self.does(agent, "ready")

    def person(self, agent: UUID) -> Agent:
        return self.engine.desk.agents[agent]

    def state(self, agent: UUID) -> AgentState:
        return self.person(agent).state

    # -- waiting

    async def until(self, true: Callable[[], bool], *, within: float = 120.0) -> None:
        """Return in the moment an event makes `true` true, or soon after something silent does;
        fails after `within` seconds."""
        async with asyncio.timeout(within):
            while not true():
                self.changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.changed.wait(), 0.2)

    async def reach(self, second: float) -> None:
        """Let time pass to this second of the test."""
        await asyncio.sleep(second - self.clock.monotonic())

    async def written(self) -> None:
        await self.engine.writer.flushed()

    async def quiet(self, *, within: float = 600.0) -> None:
        """Until no call is up and all is written."""
        await self.until(
            lambda: (
                not self.engine.calls.calls
                and all(c.leg for node in self.nodes.values() for c in node.channels.values())
            ),
            within=within,
        )
        await self.written()

    # -- what was seen

    @property
    def now(self) -> float:
        return self.clock.monotonic()

    @property
    def calls(self) -> list[Call]:
        return list(self.engine.calls.calls.values())

    def dialed(self) -> list[tuple[float, str]]:
        """(second, number) of every INVITE, over all nodes."""
        return sorted(
            ((c.at - START).total_seconds(), c.number) for w in self.watches for c in w.calls()
        )

    def outcomes(self) -> list[str]:
        """Of all attempts in the store, in order of intention."""
        rows = sorted(self.store.attempts.values(), key=lambda a: a.new.intended_at)
        return [row.outcome.value if row.outcome else "" for row in rows]

    def told_agent(self, agent: UUID, kind: str) -> list[Posted]:
        return [p for p in self.posted if p.topic == f"agent:{agent}" and p.kind == kind]

    def after(self, seconds: float) -> datetime:
        return START + timedelta(seconds=seconds)
