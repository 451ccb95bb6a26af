"""The dialer's process stands still for three seconds, again and again: shorter than its lease.

What people hear does not depend on it: whoever answers meanwhile hears the dialplan's message once
the connect window is over. What it missed it catches up with, in order.
"""

from __future__ import annotations

import asyncio
import random
import signal

import pytest

from tests.faults.campaign import DELAYS, MOST, running
from tests.lab.faults import injected
from tests.lab.promises import promises_kept, settled

pytestmark = [pytest.mark.e2e, pytest.mark.full]

STOPS, SECONDS = 20, 3.0
LEASE = {"DIALER_LEASE_SECONDS": "12"}


async def test_the_process_stands_still_below_its_lease() -> None:
    rng = random.Random()
    async with running(rng, first=120, environment=LEASE) as run:
        centre = run.centre
        dialer = centre.dialer
        assert dialer is not None
        for _ in range(STOPS):
            await asyncio.sleep(rng.uniform(0.5, 3.0))
            dialer.send(signal.SIGSTOP)
            try:
                await asyncio.sleep(SECONDS)
            finally:
                dialer.send(signal.SIGCONT)
            injected("dialer: stopped for 3 s")
        run.feeding = False
        await settled(centre, run.campaign, timeout=60 + len(run.given) / 4)
        told = await promises_kept(
            centre, run.campaign, run.given, max_attempts=MOST, delays=DELAYS
        )
        print(f"\n{STOPS} stops, {len(told.calls)} calls: {told.outcomes}")
        # The same process, the same owner: nobody took the pool over.
        assert {r["epoch"] for r in await centre.rows("pool_lease")} == {1}
        # Some answered in the three seconds, and heard the message instead of silence.
        assert told.outcomes["abandoned"] > 0
        assert not told.outcomes["unknown"]
