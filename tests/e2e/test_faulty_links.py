"""A campaign is dialed while the manager link misbehaves; the seven promises hold all the same."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from tests.faults.campaign import DELAYS, MOST, running
from tests.lab.faults import injected
from tests.lab.faulty_link import FaultyLink
from tests.lab.promises import promises_kept, settled

pytestmark = pytest.mark.e2e

#: How often each is drawn. Those that last are joined by one that does not, every other time.
LASTING = {"delay": 3, "split": 3, "repeat": 3, "freeze": 1}
SHARP = {"cut": 2, "garbage": 1}


def _draw(kinds: dict[str, int], rng: random.Random) -> str:
    return rng.choices(list(kinds), weights=list(kinds.values()))[0]


def _inflict(link: FaultyLink, kind: str, rng: random.Random) -> None:
    if kind == "delay":
        link.delay(rng.uniform(0.01, 0.8))
    else:
        getattr(link, kind)()
    injected(f"manager link: {kind}")


async def misbehave(link: FaultyLink, rng: random.Random, faults: int) -> Counter[str]:
    """At least so many faults at moments of chance, some of them at once."""
    done: Counter[str] = Counter()
    while done.total() < faults:
        await asyncio.sleep(rng.uniform(0.05, 0.6))
        kinds = [_draw(LASTING, rng)] if rng.random() < 0.5 else []
        if not kinds or rng.random() < 0.5:
            kinds.append(_draw(SHARP, rng))
        for kind in kinds:
            _inflict(link, kind, rng)
            done[kind] += 1
            # A half-open link is noticed by its pings; then the dialer connects again.
            longest = 12.0 if kind == "freeze" else 0.5
            await asyncio.sleep(rng.uniform(0.0, longest))
        link.mend()
    return done


@pytest.mark.parametrize("faults", [20, pytest.param(260, marks=pytest.mark.full)])
async def test_the_manager_link_misbehaves(faults: int) -> None:
    rng = random.Random()
    async with running(rng, link=True) as run:
        assert run.link is not None
        done = await misbehave(run.link, rng, faults)
        run.feeding = False
        await settled(run.centre, run.campaign, timeout=60 + len(run.given) / 4)
        told = await promises_kept(
            run.centre, run.campaign, run.given, max_attempts=MOST, delays=DELAYS
        )
        print(f"\n{dict(done)}; {len(told.calls)} calls, {told.unknown} unknown: {told.outcomes}")
