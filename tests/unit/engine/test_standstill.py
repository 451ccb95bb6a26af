"""A process that stood still, or that has lost a part of itself, places no call before it may."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from dialer.domain.agent import AgentState
from dialer.domain.campaign import CampaignState
from dialer.domain.errors import Unavailable
from dialer.engine.pool import PoolEngine
from telephony.events import ChannelSnapshot
from telephony.twin import Behaviour
from tests.unit.engine.conftest import Logs
from tests.unit.engine.evidence import check
from tests.unit.engine.pool import Pool

pytestmark = [pytest.mark.unit, pytest.mark.looptime(start=0)]

SHORT = Behaviour(delay=0.5, talk=1.0)


async def busy(*, leads: int = 12, agents: int = 2) -> tuple[Pool, UUID, list[UUID]]:
    """Agents at work; wrap-up takes no time, so that there is always somebody to call for."""
    pool = Pool()
    campaign = pool.campaign(wrap_up=0.1)
    who = pool.agents(agents, campaign)
    await pool.start()
    await pool.sign_in(*who)
    pool.leads(campaign, *[SHORT] * leads)
    await pool.refresh()
    pool.engine.tasks.loop(pool.process.heartbeat.run(), name="heartbeat")
    await pool.until(lambda: len(pool.dialed()) >= agents)
    return pool, campaign, who


async def all_called(pool: Pool) -> None:
    await pool.until(lambda: len(pool.outcomes()) == 12 and "" not in pool.outcomes())


def stand_still(pool: Pool, seconds: float) -> None:
    """As if the loop had been blocked until now: the last beat is long ago."""
    pool.process.heartbeat.last = pool.now - seconds


class Order:
    """What was asked and done, in order."""

    def __init__(self, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        switch, store = pool.process.switch(), pool.store
        renew, channels, originate = store.renew, switch.channels, switch.originate

        async def renewed(lease: Any) -> Any:
            found = await renew(lease)
            self.said.append("lease")
            return found

        async def looked() -> Sequence[ChannelSnapshot]:
            await asyncio.sleep(3.0)  # a node with much to say
            found = await channels()
            self.said.append("channels")
            return found

        async def called(request: Any) -> None:
            self.said.append("call")
            await originate(request)

        monkeypatch.setattr(store, "renew", renewed)
        monkeypatch.setattr(switch, "channels", looked)
        monkeypatch.setattr(switch, "originate", called)


async def test_after_a_standstill_the_lease_and_the_nodes_come_before_any_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool, _, _ = await busy()
    order = Order(pool, monkeypatch)
    stand_still(pool, 3.0)
    await all_called(pool)
    first = order.said.index("call")
    assert "lease" in order.said[:first]
    assert "channels" in order.said[:first]
    assert pool.process.heartbeat.stalls == 1
    await pool.stop()
    check(pool)


async def test_a_short_lag_is_no_standstill(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, _, _ = await busy()
    order = Order(pool, monkeypatch)
    stand_still(pool, 1.9)
    await all_called(pool)
    assert pool.process.heartbeat.worst() > 1.7
    assert "channels" not in order.said
    assert "call" in order.said
    await pool.stop()
    check(pool)


async def test_no_call_leaves_while_the_database_cannot_be_asked_for_the_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool, campaign, _ = await busy()
    order = Order(pool, monkeypatch)
    away = True
    renewed = pool.store.renew

    async def renew(lease: Any) -> Any:
        if away:
            raise OSError("away")
        return await renewed(lease)

    monkeypatch.setattr(pool.store, "renew", renew)
    stand_still(pool, 3.0)
    await asyncio.sleep(2.5)
    assert "call" not in order.said
    assert pool.engine.campaigns[campaign].reason.startswith("stood still for 3.")
    away = False
    await all_called(pool)
    assert "call" in order.said
    assert pool.engine.gate.why == ""
    await pool.stop()
    check(pool)


async def test_a_pool_that_was_lost_meanwhile_is_left_alone(logs: Logs) -> None:
    logs.expect("lease_lost", "engine_died", "write_failed")
    pool, _, _ = await busy()
    before = len(pool.dialed())
    lease = pool.store._leases[pool.id]
    lease.epoch, lease.owner, lease.expires = lease.epoch + 1, "another", pool.now + 60.0
    stand_still(pool, 3.0)
    await pool.until(pool.engine.stopped.is_set)
    assert len(pool.dialed()) == before
    await pool.process.board.stop()


async def test_what_was_changed_meanwhile_is_known_before_the_next_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool, campaign, _ = await busy()
    order = Order(pool, monkeypatch)
    paused = pool.store.campaigns[campaign].moved(CampaignState.PAUSING)
    pool.store.campaigns[campaign] = paused  # by another process, whose word was not heard
    stand_still(pool, 3.0)
    await pool.quiet()
    await asyncio.sleep(5.0)
    assert "call" not in order.said
    await pool.stop()


async def test_nothing_is_placed_while_a_part_of_the_process_is_dead() -> None:
    pool, campaign, who = await busy()
    pool.hold = "task bus died: OSError"
    before = len(pool.dialed())
    await pool.until(lambda: all(pool.state(a) is AgentState.READY for a in who))
    await asyncio.sleep(5.0)
    assert len(pool.dialed()) == before, "conversations ended as ever, and no call followed"
    assert pool.engine.campaigns[campaign].reason == "task bus died: OSError"
    manual = pool.command("agent.manual_call", {"agent_id": str(who[0]), "number": "+12025550999"})
    with pytest.raises(Unavailable, match="task bus died"):
        await manual
    pool.hold = ""
    await all_called(pool)
    await pool.stop()
    check(pool)


def loop_of(engine: PoolEngine, name: str) -> asyncio.Task[Any]:
    (found,) = (t for t in engine.tasks._loops if t.get_name() == name)
    return found


@pytest.mark.parametrize("name", ["tick", "hopper", "figures", "writer"])
async def test_an_engine_that_loses_a_loop_stops_loudly(name: str, logs: Logs) -> None:
    logs.expect("engine_died")
    pool, _, _ = await busy()
    before = len(pool.dialed())
    loop_of(pool.engine, name).cancel()  # whoever did that, it was not the engine
    await pool.until(pool.engine.stopped.is_set)
    assert pool.engine.died == name
    assert pool.engine.stop_reason == f"{name} died: RuntimeError('was cancelled')"
    (line,) = logs.of("engine_died")
    assert line["log_level"] == "critical"
    await asyncio.sleep(5.0)
    assert len(pool.dialed()) == before
    await pool.process.board.stop()
