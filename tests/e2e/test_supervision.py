"""The dialer watches itself, with a real Asterisk and real calls: a loop that is really blocked,
tasks that really die. What was dialed is read from SIPp's log."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import ExitStack

import pytest
from structlog.testing import capture_logs

from dialer.domain.call import Outcome
from dialer.store.pool_store import SqlPoolStore
from telephony.ami import AmiSwitch
from tests.e2e.test_campaign import finished
from tests.lab.evidence import Evidence, agent_time_adds_up
from tests.lab.faults import injected
from tests.lab.inside import InsideCentre, noted
from tests.lab.process import until
from tests.lab.scenario import number
from tests.lab.verdict import same_story

pytestmark = [pytest.mark.e2e, pytest.mark.full]

COUNT = 60


def the_culprit(seconds: float) -> None:
    """Blocks the loop it is called from."""
    time.sleep(seconds)


async def started(centre: InsideCentre) -> str:
    """A campaign in the middle of its list, with conversations up."""
    campaign = await centre.campaign(
        "main", mode="ratio", dial_ratio=2.0, target_abandon=1.0, max_attempts=1, wrap_up=1
    )
    rng = random.Random(7)
    talkers = [{"number": number(behaviour=0, index=i, delay=rng.randrange(6), talk=3)}
               for i in range(COUNT)]  # fmt: skip
    await centre.load(campaign, talkers)
    await centre.add_agents([campaign], talk=(0.5, 1.5), wrap=(0.1, 0.2))
    await centre.post(f"/campaigns/{campaign}/start")
    await until(
        lambda: (
            len(centre.public.truth()) >= COUNT // 4
            and any(agent.state == "on_call" for agent in centre.agents)
        ),
        timeout=40,
        what="conversations",
    )
    return campaign


async def all_is_well(centre: InsideCentre, campaign: str) -> None:
    """Everybody called once, the three witnesses of one mind. What was committed just before a
    standstill is never sent, and tells so; its person is called by a later attempt."""
    await finished(centre, campaign, COUNT, timeout=120)
    placed = await centre.calls(campaign)
    calls = [call for call in placed if call["outcome"] != Outcome.EXPIRED.value]
    truth = await centre.public.truth_of(len(calls), timeout=30, ended=True)
    assert len({c["number"] for c in calls}) == len(calls) == COUNT, "each person once"
    same_story(calls, truth)
    Evidence([centre.asterisk.cel], calls).check(window=2.0)
    agent_time_adds_up(await centre.rows("agent_interval"))


async def test_a_blocked_loop_is_reported_and_no_call_is_placed_on_what_was_known_before() -> None:
    order: list[tuple[float, str]] = []

    def note(what: str) -> None:
        order.append((time.monotonic(), what))

    lease = {"DIALER_LEASE_SECONDS": "15"}  # so that the stall leaves the pool ours
    async with InsideCentre(agents=8, environment=lease) as centre:
        campaign = await started(centre)
        stalls = await centre.metric("dialer_stale_stalls_total")  # a busy machine has its own
        with ExitStack() as stack:
            logs = stack.enter_context(capture_logs())
            stack.enter_context(noted(AmiSwitch, "originate", note))
            stack.enter_context(noted(SqlPoolStore, "renew", note))
            # A node that has much to say: agents get free meanwhile, and there is whom to call.
            stack.enter_context(noted(AmiSwitch, "channels", note, takes=2.0))
            asyncio.get_running_loop().call_soon(the_culprit, 3.0)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            after = time.monotonic()
            injected("dialer: event loop blocked for 3 s")
            await until(
                lambda: any(at > after and what == "+originate" for at, what in order),
                timeout=30,
                what="calls after the stall",
            )
        since = [what for at, what in order if at > after]
        before_the_first = since[: since.index("+originate")]
        assert "-renew" in before_the_first, "the lease was asked for"
        assert "-channels" in before_the_first, "and the node"
        stalled = [line for line in logs if line.get("action") == "loop_stalled"]
        assert any("the_culprit" in line["stack"] for line in stalled)
        stood = [line["seconds"] for line in logs if line.get("action") == "engine_stalled"]
        assert max(stood) >= 2.9
        assert any(line.get("action") == "caught_up" for line in logs)
        assert await centre.metric("dialer_stale_stalls_total") > stalls
        assert await centre.metric("dialer_loop_stalls_total") >= 1
        assert await centre.metric("dialer_loop_lag_worst_seconds") > 2.5
        assert (await centre.checks())["loop"].startswith("degraded: stood still for ")
        assert await centre.is_ready()
        await all_is_well(centre, campaign)


async def test_a_loop_blocked_past_its_lease_gives_the_pool_up_and_begins_anew() -> None:
    async with InsideCentre(agents=8, environment={"DIALER_LEASE_SECONDS": "5"}) as centre:
        campaign = await started(centre)
        (before,) = centre.runtime.pools.engines.values()
        with capture_logs() as logs:
            the_culprit(6.0)
            injected("dialer: event loop blocked past its lease")
            await until(before.stopped.is_set, timeout=10, what="the engine's end")
            dialed = len(centre.public.truth())
            await until(centre.is_ready, timeout=30, what="the next engine")
        assert len(centre.public.truth()) == dialed, "nothing in between"
        assert any(line.get("action") == "reconciled" for line in logs)
        for agent in centre.agents:  # their phones were up all the time; they say so themselves
            if agent.state == "paused":
                await agent.command("ready")
        await all_is_well(centre, campaign)


async def test_a_dead_task_stops_dialing_and_nothing_else() -> None:
    async with InsideCentre(agents=8) as centre:
        campaign = await started(centre)
        with capture_logs() as logs:
            centre.task("bus").cancel()
            injected("dialer: a task of the process ended")
            await until(
                lambda: centre.runtime.tasks.hold() != "", timeout=5, what="the death's notice"
            )
        held = "task bus died: cancelled"
        (loud,) = (line for line in logs if line["log_level"] == "critical")
        assert (loud["action"], loud["task"]) == ("task_died", "bus")
        await asyncio.sleep(1.0)  # what was on the wire arrives
        dialed = len(centre.public.truth())
        checks = await centre.checks()
        assert not await centre.is_ready()
        assert (checks["tasks"], checks["task bus"]) == (held, "died: cancelled")
        (pool,) = (why for name, why in checks.items() if name.startswith("pool "))
        assert pool == f"places no calls: {held}"
        assert await centre.metric("dialer_tasks_dead") == 1
        assert await centre.metric("dialer_dialing_held") == 1
        assert await centre.metric("dialer_task_deaths_total") == 1
        assert await centre.metric("dialer_pool_dialing") == 0
        await until(
            lambda: all(agent.state == "ready" for agent in centre.agents),
            timeout=30,
            what="the end of the conversations",
        )
        assert len(centre.public.truth()) == dialed, "no call was placed"
        (live,) = (await centre.post("/live", method="GET"))["pools"]
        assert live["campaigns"][0]["reason"] == held
        calls = await centre.calls(campaign)
        assert all(call["outcome"] for call in calls), "what was up has ended as ever"
        Evidence([centre.asterisk.cel], calls).check(window=2.0)


@pytest.mark.parametrize("name", ["writer", "tick", "lease"])
async def test_an_engine_that_loses_a_loop_is_replaced(name: str) -> None:
    async with InsideCentre(agents=8) as centre:
        campaign = await started(centre)
        (before,) = centre.runtime.pools.engines.values()
        with capture_logs() as logs:
            centre.task(name).cancel()
            injected("dialer: a loop of the engine ended")
            await until(before.stopped.is_set, timeout=5, what="the engine's end")
            checks = await centre.checks()
            (pool,) = (why for key, why in checks.items() if key.startswith("pool "))
            assert f"{name} died" in pool
            await until(centre.is_ready, timeout=30, what="the next engine")
        assert any(line.get("action") == "engine_died" and line["loop"] == name for line in logs)
        assert await centre.metric("dialer_task_deaths_total") == 1
        for agent in centre.agents:
            if agent.state == "paused":
                await agent.command("ready")
        await all_is_well(centre, campaign)


async def test_a_dead_link_takes_its_node_down() -> None:
    async with InsideCentre(agents=4) as centre:
        await started(centre)
        centre.task("ami ast1").cancel()
        injected("dialer: the task of a manager link ended")
        await until(lambda: centre.runtime.switchboard.down() == ["ast1"], timeout=5, what="down")
        checks = await centre.checks()
        assert checks["task ami ast1"] == "died: cancelled"
        assert checks["nodes"] == "no Asterisk node is up"
        assert await centre.metric("dialer_node_up") == 0
        assert not await centre.is_ready()
        await asyncio.sleep(0.5)
        dialed = len(centre.public.truth())
        await asyncio.sleep(3.0)
        assert len(centre.public.truth()) == dialed
