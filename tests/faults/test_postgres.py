"""PostgreSQL fails in every way it can while a campaign is dialed; the invariants hold."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.postgres import SETTINGS, Breaker, Pair
from tests.faults.shift import CAMPAIGN, Shift, carry_on
from tests.lab.callcentre import CallCentre
from tests.lab.database_link import DatabaseLink
from tests.lab.evidence import read_cel
from tests.lab.faults import injected
from tests.lab.process import until
from tests.lab.scenario import number
from tests.lab.servers import LabPostgres

pytestmark = [pytest.mark.e2e, pytest.mark.full]


async def test_postgresql_fails_again_and_again_under_a_campaign() -> None:
    """Each kind of fault several times, in an order of chance, some with no rest in between."""
    rng = random.Random()
    with LabPostgres(settings=SETTINGS) as server:
        async with DatabaseLink(server.socket) as link:
            breaker = Breaker(server, link, rng=rng)
            async with CallCentre(agents=8, database=link.through(server.database())) as centre:
                shift = Shift(centre, rng=rng)
                await shift.begin(80)
                todo = [kind for kind in breaker.kinds for _ in range(6)]
                rng.shuffle(todo)
                for index, kind in enumerate(todo):
                    if index % 3 == 0 or kind.startswith("commit"):
                        await shift.supplied()
                    await breaker.one(kind)
                    await asyncio.sleep(rng.uniform(0.0, 1.5))
                print(Counter(todo))
                await shift.end()


async def test_postgresql_fails_over_in_the_middle_of_commits() -> None:
    """A synchronous standby is promoted each time: what the dialer was told is there, and what it
    was not told is found out."""
    rng = random.Random()
    first = LabPostgres(sync=True, settings=SETTINGS)
    await asyncio.to_thread(first.start)
    async with DatabaseLink(first.socket) as link:
        pair = Pair(first, link)
        try:
            await pair.attach()
            async with CallCentre(agents=8, database=link.through(first.database())) as centre:
                shift = Shift(centre, rng=rng)
                await shift.begin(120)
                for turn in range(6):
                    await shift.supplied()
                    await pair.fail_over(heard=turn % 2 == 0)
                    await pair.attach()
                await shift.end()
        finally:
            await pair.close()


async def test_with_the_database_down_nobody_is_called_and_who_is_on_the_line_is_served() -> None:
    """Stopped while phones ring, within the lease: who answers meets an agent and says goodbye,
    who did not ring yet is not called, and what happened is in the records afterwards."""
    agents = 6
    with LabPostgres() as server:
        async with CallCentre(
            agents=agents,
            database=server.database(),
            environment={"DIALER_LEASE_SECONDS": "40"},
        ) as centre:
            shift = Shift(centre, rng=random.Random())
            shift.campaign = await centre.campaign(
                "down", **{**CAMPAIGN, "mode": "progressive", "dial_ratio": 1.0}
            )
            # They ring for three seconds and talk until the agent hangs up.
            shift.given = [
                {
                    "number": number(behaviour=1, index=i, delay=6),
                    "name": f"Person {i}",
                    "attributes": {"index": i},
                }
                for i in range(4 * agents)
            ]
            await centre.load(shift.campaign, shift.given)
            await centre.add_agents(
                [shift.campaign], talk=(1.0, 2.0), wrap=(0.1, 0.2), on_message=carry_on
            )
            await centre.post(f"/campaigns/{shift.campaign}/start")
            await until(
                lambda: len(centre.public.truth()) >= agents, timeout=20, what="ringing phones"
            )
            await asyncio.to_thread(server.stop, immediate=True)
            injected("PostgreSQL: stopped at once")
            down = time.time()
            # An Originate whose attempt was committed before may still be on its way.
            await asyncio.sleep(1.5)
            called = len(centre.public.truth())
            await until(
                lambda: (
                    len(_met(centre.asterisk.cel, since=down)) >= agents
                    and all(a.state in ("ready", "wrap_up") for a in centre.agents)
                ),
                timeout=20,
                what="everybody who rang to have met an agent, and the agents to be done",
            )
            assert len(centre.public.truth()) == called
            assert (await centre.http.get("/readyz")).status_code == 503
            await asyncio.to_thread(server.start)
            calls = await shift.end()
            assert Counter(c["outcome"] for c in calls)["ended_by_agent"] == 4 * agents
            assert len(await centre.rows("disposition")) == 4 * agents


def _met(cel: Path, *, since: float) -> set[str]:
    """The calls that came into a bridge after this second."""
    return {
        call
        for call, channel in read_cel(cel).items()
        if not call.startswith("leg-") and any(at > since for _, at in channel.bridges)
    }
