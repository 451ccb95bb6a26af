"""The calendar clock of a real dialer is set again and again while a campaign is dialed.

Only the dialer's: Asterisk, SIPp, PostgreSQL and the agents keep the machine's, as where one
machine's clock is wrong. What a calendar cannot tell any more is left out of the comparison: which
of a number's attempts was first (so everybody is called once), and agents' time, which is looked
at in virtual time.
"""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path

import pytest

from tests.faults.shift import Shift, carry_on
from tests.faults.stepped_dialer import SharedOffset
from tests.lab.agents import LabAgent
from tests.lab.callcentre import CallCentre
from tests.lab.faults import injected
from tests.lab.servers import LabPostgres

pytestmark = [pytest.mark.e2e, pytest.mark.full]

STEPS = (-7200.0, -1.0, 1.0, 7200.0)


async def test_the_calendar_clock_is_set_again_and_again(tmp_path: Path) -> None:
    rng = random.Random()
    offset = SharedOffset(tmp_path / "offset")
    with LabPostgres() as postgres:
        async with CallCentre(
            agents=6,
            folder=tmp_path,
            database=postgres.database(),
            program=("-m", "tests.faults.stepped_dialer", str(tmp_path / "offset")),
        ) as centre:
            shift = Shift(centre, rng=rng)
            shift.beside = frozenset({"clock", "node ast1"})  # readiness tells the truth
            await shift.begin(80, retries={}, max_attempts=1)
            for index, step in enumerate(rng.sample(STEPS * 6, 24)):
                await shift.supplied()
                if index == 12:  # what it finds afterwards stands under another calendar
                    offset.seconds = rng.choice((-7200.0, 7200.0))
                    injected("dialer: calendar clock set")
                    await asyncio.sleep(3.0)
                    checks = (await centre.http.get("/readyz")).json()["checks"]
                    assert checks["clock"] != "ok"
                    await _crash(centre, offset)
                elif index % 4 == 3:
                    await _slew(offset, step, seconds=3.0)
                else:
                    offset.seconds += step
                    injected("dialer: calendar clock set")
                await asyncio.sleep(rng.uniform(0.2, 2.0))
            offset.seconds = 0.0
            calls = await shift.end(calendar=False)
            # Everybody once, and those not at all whose attempt expired.
            called = [seen.number for seen in centre.public.truth()]
            undialed = {c["number"] for c in calls if c["outcome"] == "expired"}
            assert len(called) == len(set(called)) == len({c["number"] for c in calls} - undialed)
    offset.close()


async def _slew(offset: SharedOffset, step: float, *, seconds: float) -> None:
    """Little by little, as a time server's correction, and faster than one would."""
    parts = 60
    for _ in range(parts):
        offset.seconds += step / parts
        await asyncio.sleep(seconds / parts)
    injected("dialer: calendar clock slewed")


async def _crash(centre: CallCentre, offset: SharedOffset) -> None:
    """Killed, and started again on a machine whose clock was set right meanwhile."""
    assert centre.dialer is not None
    await centre.dialer.stop(number=signal.SIGKILL)
    injected("dialer: kill -9")
    for agent in centre.agents:
        await agent.close()
    offset.seconds = 0.0
    injected("dialer: calendar clock set")
    await centre.start_dialer()
    await centre.sign_in()
    centre.agents = [
        LabAgent(
            centre.address, await centre.token(login, password), name=login, talk=(1.0, 3.0),
            wrap=(0.1, 0.3), on_message=carry_on,
        )
        for login, password in centre.logins.items()
    ]  # fmt: skip
    await asyncio.gather(*(agent.start() for agent in centre.agents))
