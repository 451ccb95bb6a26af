"""The dialer is killed fifty times in one campaign, at moments of chance: at work, and while it is
still finding out what the one before it left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal

import pytest

from tests.faults.campaign import DELAYS, MOST, Running, running
from tests.lab.faults import injected
from tests.lab.process import until
from tests.lab.promises import promises_kept, settled

pytestmark = [pytest.mark.e2e, pytest.mark.full]

KILLS = 50
EARLY = 0.2  # share of kills that come while the new one starts
#: Short, so that fifty successors need not wait long for the lease of one that is dead.
LEASE = {"DIALER_LEASE_SECONDS": "4"}
#: No time limit: whoever spoke with a person says how it went, however often the dialer dies.
WRAP_UP = {"wrap_up": 0}


async def _kill(run: Running) -> None:
    dialer = run.centre.dialer
    assert dialer is not None and dialer.alive
    await dialer.stop(number=signal.SIGKILL)
    injected("dialer: kill -9")


async def _start_and_kill(run: Running) -> None:
    """The next one dies before it is ready, or soon after."""
    starting = asyncio.create_task(run.centre.start_dialer(), name="start")
    before = run.centre.dialer
    await until(lambda: run.centre.dialer is not before, timeout=10, what="the next one's start")
    await asyncio.sleep(run.rng.uniform(0.0, 6.0))
    await _kill(run)
    with contextlib.suppress(RuntimeError):  # "the dialer ended at start"
        await starting


async def test_the_dialer_is_killed_fifty_times() -> None:
    rng = random.Random()
    async with running(rng, first=160, settings=WRAP_UP, environment=LEASE, start=False) as run:
        centre = run.centre
        await centre.post(f"/campaigns/{run.campaign}/start")
        kills = 0
        while kills < KILLS:
            await asyncio.sleep(rng.uniform(0.0, 3.0))
            await _kill(run)
            kills += 1
            while kills < KILLS and rng.random() < EARLY:
                await _start_and_kill(run)
                kills += 1
            await centre.start_dialer()
            if len(run.given) - run.called < 40:
                await run.load(40)
        await settled(centre, run.campaign, timeout=60 + len(run.given) / 4)
        told = await promises_kept(
            centre, run.campaign, run.given, max_attempts=MOST, delays=DELAYS, crashed=True
        )
        print(f"\n{kills} kills, {len(told.calls)} calls, {told.unknown} unknown: {told.outcomes}")
        spoken = {(r["attempt_id"], r["agent_id"]) for r in await centre.rows("conversation")}
        described = {(r["attempt_id"], r["agent_id"]) for r in await centre.rows("disposition")}
        assert spoken, "nobody was spoken with"
        assert not spoken - described, f"{len(spoken - described)} of {len(spoken)} undescribed"
