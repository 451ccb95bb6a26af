"""What many agents and calls must not cost: questions to the store, and turns of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from dialer.domain.campaign import DialMode
from dialer.domain.work import ClaimedLead, Lease
from dialer.engine.placing import Order
from telephony.trunks import TrunkSettings
from telephony.twin import Behaviour
from tests.unit.engine.pool import Pool

pytestmark = pytest.mark.unit


async def test_promised_callbacks_are_asked_for_once_a_second_and_at_once_for_who_comes() -> None:
    pool = Pool()
    campaign = pool.campaign()
    first, second = pool.agent(campaign), pool.agent(campaign)
    asked: list[tuple[float, frozenset[UUID]]] = []
    claim = pool.store.claim

    async def watched(
        lease: Lease,
        *,
        campaign_id: UUID,
        limit: int,
        now: datetime,
        agents: Collection[UUID] | None = None,
    ) -> list[ClaimedLead]:
        if agents is not None:
            asked.append((pool.now, frozenset(agents)))
        return await claim(lease, campaign_id=campaign_id, limit=limit, now=now, agents=agents)

    pool.store.claim = watched  # type: ignore[method-assign]
    for _ in range(60):
        pool.lead(campaign, Behaviour(delay=0.1, talk=0.2))
    engine = await pool.start()
    await pool.sign_in(first)
    start = pool.now
    await pool.reach(start + 10)
    assert 5 <= len([at for at, _ in asked if at >= start]) <= 12
    asked.clear()
    hopper, other = engine.hopper, pool.new_id()
    for agents in ([first], [first], [first, second], [second]):
        await hopper.fill_own(other, agents)
    assert [agents for _, agents in asked] == [{first}, {first, second}]
    await pool.stop()


async def test_the_rules_let_others_have_a_turn_and_give_lines_back_when_cut_off() -> None:
    trunk = TrunkSettings("t-n1", node="n1", host="127.0.0.1", lines=500, calls_per_second=500)
    pool = Pool(trunks=[trunk])
    campaign = pool.campaign(DialMode.RATIO)
    leads = [pool.lead(campaign) for _ in range(100)]
    engine = await pool.start()
    claimed = await pool.store.claim(
        engine.lease.current, campaign_id=campaign, limit=100, now=pool.clock.now()
    )
    assert len(claimed) == len(leads)
    orders = [Order(engine.campaigns[campaign], lead, "n1") for lead in claimed]
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    allowed: list[Any] = []
    await engine.placer._screen(orders, frozenset(), allowed)
    assert len(allowed) == 100 and turns >= 6
    line = engine.placer._lines.trunks["t-n1"]
    assert line.used == 100
    for _, name, _ in allowed:
        engine.placer._lines.release(name)
    placing = asyncio.create_task(engine.placer.place(orders, spread=0.0))
    while line.used < 20:  # noqa: ASYNC110
        await asyncio.sleep(0)
    placing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await placing
    assert line.used == 0
    counting.cancel()
    await pool.stop()
