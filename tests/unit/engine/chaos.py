"""A random day in a pool: agents, people, supervisors and faults, all from one seed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from uuid import UUID

from dialer.domain.agent import AgentState
from dialer.domain.call import Outcome
from dialer.domain.campaign import CampaignState, DialMode, RetryRule
from dialer.domain.errors import DialerError
from dialer.domain.work import DoNotCall
from dialer.engine.settings import EngineSettings
from dialer.engine.writer import LeftBehind
from telephony.events import CallEnd
from telephony.twin import Behaviour
from tests.unit.engine.pool import Pool

RETRIES = {
    Outcome.BUSY: RetryRule(20.0, 2),
    Outcome.NO_ANSWER: RetryRule(30.0, 2),
    Outcome.CONGESTION: RetryRule(10.0, 3),
    Outcome.EXPIRED: RetryRule(5.0, 50),
    Outcome.ABANDONED: RetryRule(60.0, 1),
    Outcome.UNKNOWN: RetryRule(60.0, 1),
    Outcome.CANCELLED: RetryRule(20.0, 2),
}
MOST = 4
_ENDS = (
    CallEnd.BUSY, CallEnd.NO_ANSWER, CallEnd.REJECTED, CallEnd.INVALID_NUMBER,
    CallEnd.CONGESTION, CallEnd.FAILED,
)  # fmt: skip


class Chaos:
    """`run` for some seconds, then `settle`: what is left must satisfy the invariants."""

    def __init__(self, seed: int, *, clock_steps: bool = False, predictive: bool = False) -> None:
        """`clock_steps`: somebody sets the dialer's calendar clock, too, again and again;
        `predictive`: most campaigns dial ahead of their agents, and give calls up early."""
        self.rng = random.Random(seed)
        self._clock_steps, self._predictive = clock_steps, predictive
        nodes = ("n1", "n2") if self.rng.random() < 0.4 else ("n1",)
        self.pool = Pool(
            nodes=nodes,
            settings=EngineSettings(lease=4.0, lease_margin=1.0, leg_grace=10.0, node_wait=3.0),
            seed=seed,
            latency=self.rng.choice((0.0, 0.003, 0.03)),
        )
        self.pool.records_take = self.rng.choice((0.0, 0.1))
        self.agents: list[UUID] = []
        self.campaigns: list[UUID] = []
        self.done: list[str] = []

    # -- the world

    def _person(self) -> Behaviour:
        rng = self.rng
        delay = round(rng.uniform(0.0, 8.0), 2)
        if rng.random() < 0.35:
            return Behaviour(rng.choice(_ENDS), delay=delay)
        talk = rng.choice((None, 0.0, round(rng.uniform(0.1, 15.0), 2)))
        return Behaviour(
            delay=delay, talk=talk, machine=rng.random() < 0.2, opts_out=rng.random() < 0.2
        )

    def build(self) -> None:
        rng, pool = self.rng, self.pool
        modes = [DialMode.PROGRESSIVE, *rng.sample(list(DialMode), 2)]
        early = {}
        if self._predictive:
            modes[:2] = [DialMode.PREDICTIVE] * 2
            early = {"give_up_after": 2.0}
        for n, mode in enumerate(modes):
            self.campaigns.append(
                pool.campaign(
                    mode, name=f"c{n}", dial_ratio=1.5, wrap_up=rng.choice((3.0, 10.0)),
                    retries=RETRIES, max_attempts=MOST, analyse=rng.random() < 0.2,
                    preview_timeout=rng.choice((0.0, 6.0)), target_abandon=0.03, **early,
                )
            )  # fmt: skip
        for _ in range(rng.randint(2, 6)):
            works = [c for c in self.campaigns if rng.random() < 0.7] or self.campaigns[:1]
            self.agents.append(pool.agent(*works))
        people = [pool.new_id() for _ in range(25)]
        for n in range(60):
            campaign = rng.choice(self.campaigns)
            person, number = n % len(people), f"+1202555{n % 40:04}"
            taken = [
                row.lead
                for row in pool.store.leads.values()
                if row.lead.campaign_id == campaign
                and (row.lead.customer_id == people[person] or row.lead.number == number)
            ]
            if not taken:
                pool.lead(campaign, self._person(), number=number, person=people[person])

    # -- what happens

    async def run(self, seconds: float) -> None:
        await self.pool.start("first")
        end = self.pool.now + seconds
        while self.pool.now < end:
            await asyncio.sleep(self.rng.choice((0.0, 0.01, 0.3, 1.0, 2.0)))
            await self._alive()
            await self._step()

    async def _step(self) -> None:
        if self.rng.random() < 0.8 and self.agents:
            await self._agent(self.rng.choice(self.agents))
            return
        actions: list[Callable[[], Awaitable[None]]] = [
            self._lose_leg, self._cut, self._refuse, self._lose, self._node, self._database,
            self._block, self._campaign, self._crash, self._forget,
        ]  # fmt: skip
        if self._clock_steps:  # and no entries whose time is another clock's
            actions.remove(self._block)
            actions += [self._step_clock] * 5
        action = self.rng.choice(actions)
        self.done.append(f"{self.pool.now:.2f} {action.__name__}")
        await action()

    async def _try(self, agent: UUID, what: str, **payload: object) -> None:
        self.done.append(f"{self.pool.now:.2f} {str(agent)[-4:]} {what}")
        try:
            await self.pool.does(agent, what, **payload)
        except DialerError:
            pass  # refused, as a screen would be told

    async def _agent(self, agent: UUID) -> None:
        rng, person = self.rng, self.pool.person(agent)
        match person.state:
            case AgentState.SIGNED_OUT:
                await self._try(agent, "sign_in")
            case AgentState.PAUSED if rng.random() < 0.7:
                await self._try(agent, "ready")
            case AgentState.PREVIEWING:
                await self._try(agent, rng.choice(("preview_dial", "preview_skip", "pause")))
            case AgentState.WRAP_UP if person.last_call is not None:
                later = self.pool.after(self.pool.now + 15.0).isoformat()
                await self._try(
                    agent, "disposition", call_id=person.last_call.key,
                    code=rng.choice(("sale", "later", "again", "never")), callback_at=later,
                    callback_mine=rng.random() < 0.5, then=rng.choice(("ready", "pause")),
                )  # fmt: skip
            case AgentState.ON_CALL | AgentState.DIALING if rng.random() < 0.4:
                await self._try(agent, "hang_up")
            case _:
                await self._odd(agent)

    async def _odd(self, agent: UUID) -> None:
        rng = self.rng
        what = rng.choice(("pause", "ready", "sign_out", "manual_call", "manual_call"))
        if what != "manual_call":
            await self._try(agent, what, reason="odd")
            return
        campaign = rng.choice(self.campaigns)
        number = f"+1202555{rng.randint(0, 45):04}"
        await self._try(agent, what, campaign_id=str(campaign), number=number)

    async def _lose_leg(self) -> None:
        legs = [(n, c) for n in self.pool.nodes.values() for c in n.channels.values() if c.leg]
        if legs:
            node, leg = self.rng.choice(legs)
            node.far_hang_up(leg.id)

    def _switch(self):  # type: ignore[no-untyped-def]
        return self.pool.process.switch(self.rng.choice(list(self.pool.nodes)))

    async def _cut(self) -> None:
        switch = self._switch()
        switch.cut(back=False)
        await asyncio.sleep(self.rng.uniform(0.0, 4.0))
        switch.restore()

    async def _refuse(self) -> None:
        self._switch().refuse()

    async def _lose(self) -> None:
        switch = self._switch()
        self.rng.choice((switch.lose_request, switch.lose_answer))()

    async def _node(self) -> None:
        node = self.pool.nodes[self.rng.choice(list(self.pool.nodes))]
        node.crash()
        await asyncio.sleep(self.rng.uniform(0.0, 15.0))
        node.boot()

    async def _database(self) -> None:
        self.pool.store.down = True
        await asyncio.sleep(self.rng.uniform(0.0, 5.0))
        self.pool.store.down = False

    async def _step_clock(self) -> None:
        clock = self.pool.dialer_clock
        if self.rng.random() < 0.3:
            clock.slew(self.rng.choice((-0.05, -0.0005, 0.0, 0.0005, 0.05)))
        else:
            clock.step(self.rng.choice((-7200.0, -1.0, 1.0, 7200.0)))

    async def _forget(self) -> None:
        self.pool.store.lose_answers += 1

    async def _block(self) -> None:
        number = f"+1202555{self.rng.randint(0, 39):04}"
        entry = DoNotCall(self.pool.client, number, None, "client", "api", self.pool.clock.now())
        self.pool.store.rows.apply(entry)
        payload = {"client_id": str(self.pool.client), "numbers": [number]}
        try:
            await self.pool.command("pool.do_not_call", payload)
        except DialerError:
            pass

    async def _campaign(self) -> None:
        campaign = self.rng.choice(self.campaigns)
        view = self.pool.store.campaigns[campaign]
        if view.state is CampaignState.FINISHED:
            return
        running = view.state is CampaignState.RUNNING
        state = CampaignState.PAUSING if running else CampaignState.RUNNING
        self.pool.store.campaigns[campaign] = view.moved(state)
        try:
            await self.pool.refresh()
        except (DialerError, ConnectionError):
            pass

    async def _crash(self) -> None:
        await self.pool.crash()
        await asyncio.sleep(self.rng.choice((0.0, 1.0, 10.0)))
        await self._again()

    async def _alive(self) -> None:
        """An engine that lost its lease is followed by another, as the process would do it."""
        if self.pool.engine.stopped.is_set() or not self.pool.engine.lease.held:
            await asyncio.sleep(0.1)
            await self.pool.until(self.pool.engine.stopped.is_set)
            await self.pool.process.board.stop()
            self.pool.process.feed.alive = False
            self.pool.mark_crash()
            await self._again(self.pool.engine.left_behind)

    async def _again(self, left_behind: LeftBehind | None = None) -> None:
        self.pool.store.lose_answers = 0
        await self.pool.start(f"owner-{len(self.pool.processes)}", left_behind)

    # -- the end

    async def settle(self) -> None:
        """Faults end, campaigns stop, everything comes to rest."""
        # A database that was away until now may have cost the pool, which shows a little later.
        await asyncio.sleep(self.pool.settings.lease)
        await self._alive()
        for name in self.pool.nodes:
            self.pool.nodes[name].boot()
            switch = self.pool.process.switch(name)
            switch._refusals = switch._lost_requests = switch._lost_answers = 0
            switch.restore()
        self.pool.store.lose_answers = 0
        for campaign in self.campaigns:
            view = self.pool.store.campaigns[campaign]
            if view.state is CampaignState.RUNNING:
                self.pool.store.campaigns[campaign] = view.moved(CampaignState.PAUSING)
        await self.pool.refresh()
        await asyncio.sleep(60)
        for node in self.pool.nodes.values():  # those who would talk for ever
            for channel in [c for c in node.channels.values() if not c.leg]:
                node.far_hang_up(channel.id)
        await self.pool.until(
            lambda: not self.pool.engine.hopper.uncertain and not self.pool.calls, within=300
        )
        await self.pool.stop()
