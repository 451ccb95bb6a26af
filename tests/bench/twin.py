"""The dialer alone, on one core: a real pool engine over the switch in memory, with a thousand
agents. Run as a process of its own; prints one JSON object.

In the process, and so in every figure: the engine with all its loops (pacing, rules, hopper,
router, agents, ledger, batched writes), the live feed with one subscriber for each agent, the
commands agents give, live figures once a second, the twin itself and the agents' stand-ins. Not in
it: AMI frames, SQL and sockets; the database is the store in memory, answering after some
milliseconds. What the twin and the stand-ins cost by themselves is measured by `--bare`: the same
calls, bridged by three lines of code.

An event is due when the network has it (the second for which the twin set its timer), not when a
loop that stood still came round to it; it is decided when the engine has done all that follows.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import resource
import time
from collections import Counter, deque
from collections.abc import Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import structlog

from api.runtime import spare_the_collector
from dialer.domain.agent import AgentState
from dialer.domain.campaign import (
    CampaignSettings,
    CampaignState,
    CampaignView,
    DialMode,
    DispositionCode,
)
from dialer.domain.errors import DialerError
from dialer.domain.ids import id_source
from dialer.domain.lead import LeadState
from dialer.domain.work import AgentView, ClaimedLead, ContactHistory, LeadCounts, Lease
from dialer.engine.lines import Lines
from dialer.engine.memory_store import MemoryPoolStore
from dialer.engine.permission import Permission
from dialer.engine.pool import PoolEngine
from dialer.engine.settings import EngineSettings
from dialer.live.feed import Feed, Seq, Subscription
from dialer.live.gateway import LocalGateway
from telephony.clock import SystemClock
from telephony.events import CallAnswered, CallBridged, CallEnd, CallEnded, LegParked, SwitchEvent
from telephony.nodes import Switchboard
from telephony.switch import Originate
from telephony.trunks import TrunkSettings
from telephony.twin import Behaviour, TwinNode, TwinRecords, TwinSwitch
from tests.bench.report import percentile

_NODE, _TRUNK = "n1", "t1"
_ANSWERED = 0.15  # of the calls
_TALK, _WRAP = (2.5, 4.5), (0.3, 0.7)  # s
_LATENCY = 0.003  # s the store takes
_RING = (0.1, 0.5)  # s until a call's answer or refusal


def public(number: str) -> Behaviour:
    """The same number always behaves the same; as many answer as `_ANSWERED` says."""
    rng = random.Random(number)
    delay = rng.uniform(*_RING)
    if rng.random() < _ANSWERED:
        return Behaviour(delay=delay, talk=rng.uniform(*_TALK))
    return Behaviour(CallEnd.BUSY if rng.random() < 0.4 else CallEnd.NO_ANSWER, delay=delay)


class OneList(MemoryPoolStore):
    """New leads of one campaign, in order, each called once: a claim costs what it returns, as it
    does the process that asks a database."""

    def __init__(self, *, clock: SystemClock, new_id: Any) -> None:
        super().__init__(clock=clock, new_id=new_id)
        self.fresh: deque[UUID] = deque()

    async def claim(
        self,
        lease: Lease,
        *,
        campaign_id: UUID,
        limit: int,
        now: datetime,
        agents: Collection[UUID] | None = None,
    ) -> list[ClaimedLead]:
        await self._owned(lease)
        if agents is not None:
            return []
        claimed = []
        while self.fresh and len(claimed) < limit:
            row = self.leads[self.fresh.popleft()]
            self.rows.reserve(row, lease.pool_id)
            row.state, row.reason = LeadState.HOPPER, "new"
            claimed.append(row.lead)
        return claimed

    async def lead_counts(self, campaign_id: UUID, now: datetime) -> LeadCounts:
        await self._asked()
        left = len(self.fresh)
        gone = {LeadState.DONE: len(self.leads) - left}
        return LeadCounts({LeadState.NEW: left, **gone}, left)


@dataclass
class Seen:
    """Seconds from due to decided, of what happened in the measured time."""

    since: float = float("inf")
    answers: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    due: dict[str, float] = field(default_factory=dict)  # of calls that are up


class Turns(asyncio.SelectorEventLoop):
    """A loop that notes the processor seconds of each of its turns: what a neighbour on the machine
    takes is not in them, and nothing can be decided before the turn that runs is over."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: list[float] = []

    def _run_once(self) -> None:
        begun = time.thread_time()
        super()._run_once()  # type: ignore[misc]
        self.turns.append(time.thread_time() - begun)


class Network(TwinNode):
    """A node that notes when each event was due."""

    def __init__(self, seen: Seen, clock: SystemClock) -> None:
        super().__init__(
            _NODE, clock=clock, public=public, records=False, phones=lambda _: Behaviour()
        )
        self._seen = seen

    def originate(self, request: Originate) -> None:
        super().originate(request)
        channel = self.channels[request.call_id]
        self._seen.due[request.call_id] = channel.born + channel.behaviour.delay


class Listener:
    """Attached behind the dialer's switch: when it hears an event, the dialer has dealt with it."""

    def __init__(self, node: Network, seen: Seen) -> None:
        self._node, self._seen = node, seen

    def node_gone(self) -> None: ...

    def node_back(self) -> None: ...

    def hear(self, event: SwitchEvent) -> None:
        seen, now = self._seen, time.monotonic()
        if isinstance(event, CallAnswered):
            due = seen.due[event.call_id]
            channel = self._node.channels.get(event.call_id)
            if channel is not None and channel.behaviour.talk is not None:
                seen.due[event.call_id] = due + channel.behaviour.talk
            if due >= seen.since:
                seen.answers.append(now - due)
        elif isinstance(event, CallEnded):
            due = seen.due.pop(event.call_id, now)
            if due >= seen.since:
                seen.kinds[event.end.value] += 1
                if event.end is not CallEnd.HUNG_UP_NEAR:  # that one is the dialplan's
                    seen.ends.append(now - due)
        elif isinstance(event, CallBridged) and now >= seen.since:
            seen.kinds["bridged"] += 1


class Screen:
    """What an agent's websocket does in the API, and the agent behind it."""

    def __init__(self, agent_id: UUID, pool_id: UUID, gateway: LocalGateway) -> None:
        self.agent_id, self._pool, self._gateway = agent_id, pool_id, gateway
        self._rng = random.Random(agent_id.int)
        self.pops = self.refused = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, subscription: Subscription) -> None:
        snapshot = await self.does("snapshot")
        subscription.rebase(Seq.parse(str(snapshot["seq"])))
        while True:
            for message in await subscription.wait():
                text = message.frame.decode()
                if message.type == "pop":
                    self.pops += 1
                elif message.type == "call_ended":
                    self._wrap_up(orjson.loads(text)["data"])

    def _wrap_up(self, data: Mapping[str, Any]) -> None:
        if data["by"]:
            loop, pause = asyncio.get_running_loop(), self._rng.uniform(*_WRAP)
            loop.call_later(pause, self._begin, data["call_id"])

    def _begin(self, call_id: str) -> None:
        self.spawn(self._describe(call_id))

    async def _describe(self, call_id: str) -> None:
        try:
            await self.does("disposition", call_id=call_id, code="success", form={}, note="")
        except DialerError:  # signed out meanwhile: the engine stops
            self.refused += 1

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def does(self, what: str, **data: Any) -> Mapping[str, Any]:
        payload = {**data, "agent_id": str(self.agent_id)}
        return await self._gateway.call(self._pool, f"agent.{what}", payload)


class House:
    """One pool with one campaign, its people and its agents."""

    def __init__(self, *, agents: int, leads: int, rate: float) -> None:
        self.clock = SystemClock()
        self.seen = Seen()
        new_id = id_source(self.clock)
        self.pool, client = new_id(), new_id()
        self.store = OneList(clock=self.clock, new_id=new_id)
        self.store.latency = _LATENCY
        self.campaign = new_id()
        self.store.campaigns[self.campaign] = CampaignView(
            self.campaign, client, self.pool, "capacity", CampaignState.RUNNING, 1,
            CampaignSettings(
                mode=DialMode.RATIO, dial_ratio=10.0, ratio_cap=10.0, target_abandon=1.0,
                rules_profile="laboratory", caller_id="+12125550199", record=False,
                max_attempts=1, retries={}, wrap_up=30.0,
            ),
            {"success": DispositionCode("success", "Success", contact=True, success=True)},
        )  # fmt: skip
        for index in range(agents):
            agent = new_id()
            self.store.agents[agent] = AgentView(
                agent, client, self.pool, f"Agent {index}", f"phone{index}", "",
                frozenset({self.campaign}),
            )  # fmt: skip
        for index in range(leads):
            self._lead(index, client, new_id)
        self.node = Network(self.seen, self.clock)
        self.board = Switchboard(
            {_NODE: lambda sink: TwinSwitch(self.node, sink=sink, clock=self.clock)}
        )
        self.feed, self.gateway = Feed(self.clock), LocalGateway()
        trunk = TrunkSettings(
            _TRUNK, node=_NODE, host="127.0.0.1", lines=10_000, calls_per_second=rate,
            trip_share=1.1,  # a public that is often busy is no trunk failure
        )  # fmt: skip
        self.engine = PoolEngine(
            self.pool, owner="bench", store=self.store, switchboard=self.board,
            records=TwinRecords([self.node]), feed=self.feed, gateway=self.gateway,
            lines=Lines([trunk], clock=self.clock),
            permission=Permission(lambda: ("127.0.0.1",)), clock=self.clock, new_id=new_id,
            settings=EngineSettings(drain=0.5),
        )  # fmt: skip
        self.screens = [Screen(a, self.pool, self.gateway) for a in self.store.agents]

    def _lead(self, index: int, client: UUID, new_id: Any) -> None:
        number = f"+1202{index:07}"
        lead = ClaimedLead(
            lead_id=new_id(), client_id=client, campaign_id=self.campaign, list_id=client,
            customer_id=new_id(), number_id=new_id(), number=number, zone=None, region="US",
            number_kind="mobile", attempts=0, outcome_counts={}, consent=True,
            attributes={"plan": "gold"}, name=f"Person {index}", callback_agent=None,
            callback_at=None, history=ContactHistory(),
        )  # fmt: skip
        self.store.add_lead(lead)
        self.store.fresh.append(lead.lead_id)

    async def open(self) -> None:
        """The engine runs and every agent is ready; nothing is dialed yet."""
        view = self.store.campaigns[self.campaign]
        self.store.campaigns[self.campaign] = view.moved(CampaignState.PAUSED)
        self.board.listen(self.engine.on_event)
        await self.board.start()
        self.node.attach(Listener(self.node, self.seen))
        await self.engine.start()
        for screen in self.screens:
            subscription = await self.feed.subscribe(f"agent:{screen.agent_id}", None)
            screen.spawn(screen.run(subscription))
            await screen.does("sign_in")
        agents = self.engine.desk.agents
        async with asyncio.timeout(30):
            while any(a.state is not AgentState.PAUSED for a in agents.values()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        for screen in self.screens:
            await screen.does("ready")
        self.store.campaigns[self.campaign] = view
        await self.gateway.call(self.pool, "pool.refresh", {})

    def concluded(self) -> int:
        return sum(1 for row in self.store.attempts.values() if row.outcome is not None)


async def dial(house: House, *, warm_up: float, seconds: float) -> dict[str, Any]:
    """Figures of `seconds` of dialing."""
    await house.open()
    spare_the_collector()
    await asyncio.sleep(warm_up)
    placed, concluded = len(house.node.dialed), house.concluded()
    cpu, start = time.process_time(), time.monotonic()
    house.seen.since = start
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Turns)
    loop.turns.clear()
    await asyncio.sleep(seconds)
    took, cpu = time.monotonic() - start, time.process_time() - cpu
    placed, concluded = len(house.node.dialed) - placed, house.concluded() - concluded
    seen, engine, turns = house.seen, house.engine, loop.turns.copy()
    signed_in = len(engine.desk.signed_in())
    late = list(engine.placer.lateness.recent)
    refused = sum(s.refused for s in house.screens)
    await engine.stop()
    for screen in house.screens:
        screen.close()
    open_attempts = sum(row.outcome is None for row in house.store.attempts.values())
    return {
        "agents": signed_in,
        "placed": placed / took,
        "concluded": concluded / took,
        "answers": len(seen.answers) / took,
        "bridged": seen.kinds["bridged"] / took,
        "cpu": cpu / max(placed, 1),
        "share": cpu / took,
        "answer": summary(seen.answers),
        "end": summary(seen.ends),
        "late": summary(late),
        "turn": summary(turns),
        "doubled": len(house.node.dialed) - len(set(house.node.dialed)),
        "open": open_attempts,
        "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "collections": [g["collections"] for g in gc.get_stats()],
        "pops": sum(s.pops for s in house.screens),
        "refused": refused,
    }


async def bare(*, agents: int, rate: float, seconds: float) -> dict[str, Any]:
    """The twin by itself: calls at this rate, answers bridged to whoever is free."""
    seen, clock = Seen(since=0.0), SystemClock()
    node = Network(seen, clock)
    free: deque[str] = deque()

    def sink(event: SwitchEvent) -> None:
        if isinstance(event, LegParked):
            free.append(event.leg_id)
        elif isinstance(event, CallAnswered) and free:
            switch.bridge(event.call_id, free.popleft())

    switch = TwinSwitch(node, sink=sink, clock=clock)
    await switch.start()
    node.attach(Listener(node, seen))
    for index in range(agents):
        leg = f"leg-{index}"
        await switch.call_leg(leg, endpoint="p", caller_id="dialer", ring_timeout=5.0)
    loop, count = asyncio.get_running_loop(), int(rate * seconds)
    tasks: set[asyncio.Task[None]] = set()

    def send(index: int) -> None:
        request = Originate(
            f"call-{index}", f"+1202{index:07}", _TRUNK, "+12125550199", 25.0, 2.0, "sorry"
        )
        task = loop.create_task(switch.originate(request))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    spare_the_collector()
    cpu, start = time.process_time(), loop.time() + 0.05
    for index in range(count):
        loop.call_at(start + index / rate, send, index)
    await asyncio.sleep(seconds + 0.1)
    cpu = time.process_time() - cpu
    return {"cpu": cpu / count, "answer": summary(seen.answers), "end": summary(seen.ends)}


def summary(values: list[float]) -> dict[str, float]:
    """Milliseconds; empty when there was nothing."""
    if not values:
        return {}
    return {
        "p50": percentile(values, 0.5) * 1000,
        "p99": percentile(values, 0.99) * 1000,
        "max": max(values) * 1000,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--warm-up", type=float, default=4.0)
    parser.add_argument("--core", type=int, default=-1, help="-1: any one of those allowed")
    parser.add_argument("--bare", action="store_true")
    given = parser.parse_args()
    core = given.core if given.core >= 0 else max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    if given.bare:
        work = bare(agents=given.agents, rate=given.rate, seconds=given.seconds)
    else:
        leads = int(given.rate * (given.seconds + given.warm_up + 3))
        house = House(agents=given.agents, leads=leads, rate=given.rate)
        work = dial(house, warm_up=given.warm_up, seconds=given.seconds)
    with asyncio.Runner(loop_factory=Turns) as runner:
        print(json.dumps(runner.run(work)))


if __name__ == "__main__":
    main()
