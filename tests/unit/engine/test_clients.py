"""Several clients' pools in one process, on the same Asterisk: none touches what is another's."""

from __future__ import annotations

import pytest

from dialer.domain.agent import AgentState
from dialer.engine.settings import EngineSettings
from telephony.twin import Behaviour
from tests.unit.engine.evidence import check, evidence
from tests.unit.engine.pool import Pool

pytestmark = [pytest.mark.unit, pytest.mark.looptime(start=0)]

TALKS = Behaviour(delay=2.0, talk=30.0)


def _two() -> tuple[Pool, Pool]:
    """Two clients with the same node, the same store and the same people to call."""
    one = Pool(settings=EngineSettings(lease=3.0, lease_margin=1.0))
    return one, Pool(settings=one.settings, seed=2, beside=one)


async def test_a_pool_that_starts_leaves_the_calls_and_phones_of_another_alone() -> None:
    one, two = _two()
    campaign = one.campaign()
    agents = one.agents(2, campaign)
    one.leads(campaign, TALKS, TALKS)
    await one.start()
    await one.sign_in(*agents)
    await one.until(lambda: all(one.state(a) is AgentState.ON_CALL for a in agents))
    other = two.agent(two.campaign())
    await two.start()
    await two.sign_in(other)
    await two.crash()
    await two.start("again")
    await one.reach(one.now + 5)
    assert all(one.state(a) is AgentState.ON_CALL for a in agents)
    assert two.state(other) is AgentState.PAUSED
    await one.quiet()
    assert one.outcomes() == ["ended_by_customer"] * 2
    await one.stop()
    await two.stop()
    check(one)


async def test_two_clients_call_the_same_number_each_in_their_own_right() -> None:
    one, two = _two()
    number = "+12025557777"
    pools = (one, two)
    for pool in pools:
        campaign = pool.campaign()
        agent = pool.agent(campaign)
        pool.lead(campaign, TALKS, number=number)
        await pool.start()
        await pool.sign_in(agent)
    await one.until(lambda: len(one.dialed()) == 2)
    for pool in pools:
        await pool.command("pool.do_not_call", {"client_id": str(one.client), "numbers": [number]})
    await one.quiet()
    await two.quiet()
    states = sorted(row.state.value for row in one.store.leads.values())
    assert states == ["blocked", "done"]
    for pool in pools:
        await pool.stop()
    check(one)


async def test_figures_of_one_client_say_nothing_of_another() -> None:
    one, two = _two()
    for pool in (one, two):
        campaign = pool.campaign()
        agent = pool.agent(campaign)
        pool.lead(campaign, TALKS)
        await pool.start()
        await pool.sign_in(agent)
        await pool.until(lambda pool=pool: len(pool.calls) == 1)
    told = one.engine.figures(one.client)
    assert [c["id"] for c in told["campaigns"]] == [str(next(iter(one.engine.campaigns)))]
    assert sum(told["agents"].values()) == 1 and sum(told["calls"].values()) == 1
    assert one.engine.figures(two.client)["campaigns"] == []
    for pool in (one, two):
        await pool.quiet()
        await pool.stop()
    check(one)


async def test_a_campaigns_leads_are_shared_among_the_nodes_of_its_agents() -> None:
    pool = Pool(nodes=("n1", "n2"))
    campaign = pool.campaign()
    here, there = pool.agent(campaign, node="n1"), pool.agent(campaign, node="n2")
    second = pool.agent(campaign, node="n2")
    await pool.start()
    await pool.sign_in(here, there, second)
    pool.leads(campaign, *[TALKS] * 3)
    await pool.refresh()
    await pool.until(lambda: len(pool.calls) == 3)
    assert sorted(call.node for call in pool.calls) == ["n1", "n2", "n2"]
    assert {(c.node, c.trunk) for c in pool.calls} == {("n1", "t-n1"), ("n2", "t-n2")}
    await pool.until(lambda: all(pool.state(a) is AgentState.ON_CALL for a in (here, there)))
    await pool.quiet()
    assert evidence(pool).ledgers
    await pool.stop()
    check(pool)
