"""The manager link breaks at each step of a call's life, in each way it can.

One campaign for each way: while it is dialed, faults strike at one step after the other, several
times; for the steps of agents' phones, agents sign out and in again. Then the seven promises.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from tests.faults.campaign import DELAYS, MOST, Running, running
from tests.lab.faults import injected
from tests.lab.faulty_link import FaultyLink, Step
from tests.lab.promises import promises_kept, settled
from tests.lab.steps import CALL_STEPS, LEG_STEPS

pytestmark = [pytest.mark.e2e, pytest.mark.full]

#: A half-open link is noticed by an action or a ping without an answer: 5 to 10 s. One that is
#: mended before was only slow, one that is mended later was dead; both are wanted.
FROZEN = (1.5, 7.0)


def _ways(link: FaultyLink, rng: random.Random) -> dict[str, Callable[[], None]]:
    return {
        "cut": link.cut,
        "half-open": link.freeze,
        "delayed": lambda: link.delay(rng.uniform(0.2, 1.2)),
        "split": link.split,
        "garbage": link.garbage,
        "repeated": link.repeat,
    }


@pytest.mark.parametrize(
    ("way", "times"),
    [("cut", 5), ("half-open", 1), ("delayed", 4), ("split", 4), ("garbage", 4), ("repeated", 4)],
)
async def test_the_link_breaks_at_each_step(way: str, times: int) -> None:
    rng = random.Random()
    async with running(rng, link=True) as run:
        assert run.link is not None
        fault = _ways(run.link, rng)[way]
        steps = [*CALL_STEPS, *LEG_STEPS]
        for _ in range(times):
            rng.shuffle(steps)
            for step in steps:
                if way == "repeated" and not step.down:
                    continue  # TCP repeats nothing; what comes twice are events
                await _strike(run, step, way, fault, rng)
        run.feeding = False
        await settled(run.centre, run.campaign, timeout=60 + len(run.given) / 4)
        told = await promises_kept(
            run.centre, run.campaign, run.given, max_attempts=MOST, delays=DELAYS
        )
        print(f"\n{way}: {run.link.faults} faults, {len(told.calls)} calls, {told.outcomes}")


async def _strike(
    run: Running, step: Step, way: str, fault: Callable[[], None], rng: random.Random
) -> None:
    assert run.link is not None
    moving: asyncio.Task[None] | None = None
    if step in LEG_STEPS:
        moving = asyncio.create_task(run.agent_comes_anew(), name="sign-out")
    try:
        assert await run.link.strike(step, fault, timeout=30), f"nothing came to be {step.name}"
        injected(f"manager link {step.name}: {way}")
        await asyncio.sleep(rng.uniform(*FROZEN) if way == "half-open" else rng.uniform(0, 0.4))
    finally:
        run.link.mend()
        if moving is not None:
            await moving
