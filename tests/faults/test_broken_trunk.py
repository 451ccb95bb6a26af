"""A trunk that fails everything is taken out before it burns the list, and is used again when it
works: one that answers 404 or 503 to every call, and one from which nothing comes at all.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from telephony.trunks import TrunkSettings
from tests.faults.campaign import Running, running
from tests.lab.faults import injected
from tests.lab.process import until
from tests.lab.promises import promises_kept, settled
from tests.lab.public import PublicCall, Sipp
from tests.lab.scenario import number, refusing_scenario

pytestmark = [pytest.mark.e2e, pytest.mark.full]

PEOPLE, AGENTS, RATIO, RING = 120, 6, 2, 5
#: Calls that may leave before the breaker opens: those it looks at, and those already under way.
BOUND = TrunkSettings("t", "n", "h").window + AGENTS * RATIO
RETRIES = {"congestion": {"delay": 1.0, "most": 50}, "expired": {"delay": 1.0, "most": 50}}


class SilentPeer(asyncio.DatagramProtocol):
    """Hears every INVITE and says nothing."""

    def __init__(self) -> None:
        self.calls: dict[str, PublicCall] = {}

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not data.startswith(b"INVITE"):
            return
        text = data.decode()
        call_id = _found(r"(?im)^Call-ID: *(\S+)", text)
        at = asyncio.get_running_loop().time()
        called = _found(r"(?m)^INVITE sip:([+0-9]+)", text)
        self.calls.setdefault(call_id, PublicCall(call_id, called, at))

    def truth(self) -> list[PublicCall]:
        return list(self.calls.values())


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match.group(1)


async def _broken_peer(kind: str, centre: Any, stack: AsyncExitStack) -> Any:
    """In the public's place; has `truth()`."""
    host, port = centre.trunk_host, centre.trunk_port
    await centre.public.stop()
    if kind == "silent":
        loop = asyncio.get_running_loop()
        transport, peer = await loop.create_datagram_endpoint(SilentPeer, local_addr=(host, port))
        stack.callback(transport.close)
        return peer
    status = int(kind)
    peer = Sipp("refuses", refusing_scenario(status, "As Told"), host=host, port=port, rtp_port=0)
    return await stack.enter_async_context(peer)


async def _all_told(run: Running) -> bool:
    return all(c["outcome"] is not None for c in await run.centre.calls(run.campaign))


async def _trunk(run: Running) -> dict[str, Any]:
    """As the live figures show it; where nobody owns the pool for a moment, nothing is known."""
    try:
        (pool,) = (await run.centre.post("/live", method="GET"))["pools"]
    except RuntimeError:
        return {"breaker": "", "used": 0}
    (trunk,) = pool["trunks"]
    return dict(trunk)


@pytest.mark.parametrize("kind", ["404", "503", "silent"])
async def test_a_trunk_that_fails_everything_does_not_burn_the_list(kind: str) -> None:
    rng = random.Random()
    settings = {
        "dial_ratio": float(RATIO), "ring_timeout": RING, "max_attempts": 1, "retries": RETRIES,
    }  # fmt: skip
    async with running(rng, agents=AGENTS, first=0, start=False, settings=settings) as run:
        centre = run.centre
        run.given = [
            {
                "number": number(behaviour=0, index=i, delay=rng.randrange(4), talk=2),
                "name": f"Person {i}",
                "attributes": {"index": i},
            }
            for i in range(PEOPLE)
        ]
        await centre.load(run.campaign, run.given)
        async with AsyncExitStack() as stack:
            peer = await _broken_peer(kind, centre, stack)
            await centre.post(f"/campaigns/{run.campaign}/start")

            async def is_open() -> bool:
                trunk = await _trunk(run)
                return trunk["breaker"] == "open" and trunk["used"] == 0

            await until(is_open, timeout=60, what="the breaker to open, and the last call to end")
            injected(f"trunk: {kind}", len(peer.truth()))
            burnt = len({call.number for call in peer.truth()})
            assert burnt <= BOUND, (burnt, BOUND)
            # Those that had not left yet expire when their moment comes.
            await until(lambda: _all_told(run), timeout=20, what="an outcome for every call")
            calls = await centre.calls(run.campaign)
            wanted = "invalid_number" if kind == "404" else "congestion"
            assert {c["outcome"] for c in calls if c["outcome"] != "expired"} == {wanted}
            done = (await centre.post(f"/campaigns/{run.campaign}/figures", method="GET"))["leads"]
            # "Not found" is final for a number; congestion costs nobody an attempt.
            assert done.get("done", 0) == (burnt if kind == "404" else 0), done
            broken = list(peer.truth())

            async def is_tried() -> bool:
                return len(peer.truth()) > len(broken)

            await until(is_tried, timeout=60, what="one call that tries the trunk again")
            await until(is_open, timeout=20, what="the trunk to be given up once more")
            assert len(peer.truth()) == len(broken) + 1
            broken = list(peer.truth())
        await centre.public.start()

        async def is_closed() -> bool:
            return bool((await _trunk(run))["breaker"] == "closed")

        await until(is_closed, timeout=90, what="the trunk to be used again")
        await settled(centre, run.campaign, timeout=240)

        def since_then() -> list[PublicCall]:
            return _joined(broken, centre.public.truth())[len(broken) :]

        await until(
            lambda: all(call.ended for call in since_then()), timeout=30, what="the last BYE"
        )
        truth = broken + since_then()
        told = await promises_kept(
            centre, run.campaign, run.given, max_attempts=1, delays={}, truth=truth
        )
        print(f"\n{kind}: {burnt} leads of {PEOPLE} reached it (bound {BOUND}); {told.outcomes}")
        if kind != "404":  # nobody was lost to the trunk: each was spoken with, at last
            met = Counter(
                c["number"] for c in told.calls if c["outcome"] not in ("congestion", "expired")
            )
            assert met == Counter(g["number"] for g in run.given)


def _joined(before: list[PublicCall], after: list[PublicCall]) -> list[PublicCall]:
    """Both logs in one, each with its own clock. Asterisk repeats an INVITE to which nothing was
    said: what the silent peer heard first and SIPp later is one call."""
    known = {call.call_id for call in before}
    start = max((call.at for call in before), default=0.0) + 1.0
    return before + [
        replace(
            call,
            at=call.at + start,
            end_at=call.end_at + start,
            answered_at=call.answered_at + start if call.answered_at else 0.0,
        )
        for call in after
        if call.call_id not in known
    ]
