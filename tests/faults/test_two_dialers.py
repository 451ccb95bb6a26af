"""Two dialers on two Asterisk nodes, one PostgreSQL and one Redis: one of them stops, dies, or
stands still in the middle of a campaign, and the other one goes on with its pool.
"""

from __future__ import annotations

import asyncio
import random
import signal
from datetime import datetime
from typing import Any

import httpx
import pytest

from tests.faults.campaign import Running, end, in_the_middle, running
from tests.lab.callcentre import CallCentre
from tests.lab.dialers import LabDialer
from tests.lab.faults import injected
from tests.lab.process import until
from tests.lab.promises import Told

pytestmark = [pytest.mark.e2e]

TAKEN = 15.0  # s from the death of an owner until its pool is at work again
_TALK = (2.0, 5.0)


def _owner(centre: CallCentre) -> LabDialer:
    """The one that took the pool last."""

    def newest(dialer: LabDialer) -> int:
        return max((line["epoch"] for line in dialer.said("lease_acquired")), default=0)

    return max(centre.dialers, key=newest)


def _ask(centre: CallCentre, dialer: LabDialer) -> None:
    """What the test asks the API goes to this one from now on."""
    centre.http.base_url = httpx.URL(dialer.address)


def _nobody_was_cut_off(run: Running, told: Told) -> int:
    """Every conversation that our side ended was ended because its agent asked for it."""
    asked = {call for agent in run.centre.agents for call in agent.hung_up}
    met = [call for call in told.calls if call["connected_at"]]
    dropped = [c for c in met if c["outcome"] == "ended_by_agent" and str(c["id"]) not in asked]
    assert not dropped, dropped
    return len(met)


def _states(centre: CallCentre) -> set[tuple[str, str]]:
    return {
        (message["data"]["state"], message["data"]["reason"])
        for agent in centre.agents
        for _, message in agent.messages
        if message["type"] in ("state", "snapshot")
    }


def _at(line: dict[str, Any]) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()


def _gaps(centre: CallCentre) -> list[float]:
    """Seconds between the last word of an owner and the moment the next one knew everything."""
    left = sorted(_at(line) for d in centre.dialers for line in d.said("handing_over"))
    known = sorted(_at(line) for d in centre.dialers for line in d.said("reconciled"))
    return [min(k for k in known if k > at) - at for at in left]


async def _restart(run: Running, dialer: LabDialer) -> None:
    """As a rolling restart does it: end one, in order, and start it again."""
    other = next(d for d in run.centre.dialers if d is not dialer)
    _ask(run.centre, other)
    assert await dialer.stop(timeout=40) == 0
    injected("dialer: SIGTERM while another one stands in line")
    await dialer.start()


@pytest.mark.full
async def test_a_rolling_restart_drops_no_conversation() -> None:
    restarts = 8
    rng = random.Random()
    async with running(rng, agents=6, nodes=2, dialers=2, talk=_TALK) as run:
        centre = run.centre
        for _ in range(restarts):
            await in_the_middle(run, 12)
            await _restart(run, _owner(centre))
        told = await end(run)
        met = _nobody_was_cut_off(run, told)
        # The agents were never asked anything: their phones stayed up, their states were kept.
        states = _states(centre)
        assert {state for state, _ in states} <= {
            "signed_out", "connecting", "paused", "ready", "reserved", "on_call", "wrap_up",
            "unavailable",
        }  # fmt: skip
        assert "dialer restarted" not in {reason for _, reason in states}, states
        legs = [channel for channel in told.channels if channel.startswith("leg-")]
        assert len(legs) == len(centre.agents), legs
        gaps = _gaps(centre)
        assert len(gaps) == restarts
        print(
            f"\n{restarts} handovers, without an owner for "
            f"{min(gaps):.2f} to {max(gaps):.2f} s; {met} conversations, {told.outcomes}"
        )


@pytest.mark.full
async def test_the_owner_is_killed_and_the_other_one_takes_over_in_time() -> None:
    rng = random.Random()
    took: list[float] = []
    async with running(
        rng, agents=6, nodes=2, dialers=2, talk=(4.0, 9.0),
        environment={"DIALER_LEASE_SECONDS": "10"},
    ) as run:  # fmt: skip
        centre = run.centre
        for _ in range(3):
            await in_the_middle(run, 15)
            owner = _owner(centre)
            heir = next(d for d in centre.dialers if d is not owner)
            _ask(centre, heir)
            await asyncio.sleep(rng.uniform(0, 1.0))
            epoch = len(heir.said("reconciled"))
            begun = asyncio.get_running_loop().time()
            await owner.stop(number=signal.SIGKILL)
            injected("dialer: kill -9 while another one stands in line")
            await until(
                lambda heir=heir, epoch=epoch: len(heir.said("reconciled")) > epoch,  # type: ignore[misc]
                timeout=2 * TAKEN,
                what="the pool to be taken over",
            )
            took.append(asyncio.get_running_loop().time() - begun)
            await owner.start()
        told = await end(run, crashed=True)
        met = _nobody_was_cut_off(run, told)
        print(f"\ntaken over in {[f'{t:.1f} s' for t in took]}; {met} conversations")
        print(f"{told.unknown} unknown of {len(told.calls)}: {told.outcomes}")
        assert max(took) <= TAKEN


@pytest.mark.full
async def test_an_owner_that_stood_still_past_its_lease_does_nothing_more_as_one() -> None:
    rng = random.Random()
    async with running(rng, agents=6, nodes=2, dialers=2, talk=_TALK) as run:
        centre = run.centre
        for _ in range(2):
            await in_the_middle(run, 15)
            owner = _owner(centre)
            heir = next(d for d in centre.dialers if d is not owner)
            _ask(centre, heir)
            stopped = len(owner.said("engine_stopped"))
            owner.freeze()
            injected("dialer: SIGSTOP past its lease")
            try:
                await until(
                    lambda owner=owner: _owner(centre) is not owner,  # type: ignore[misc]
                    timeout=2 * TAKEN,
                    what="the pool to be taken over",
                )
                await in_the_middle(run, 5, least=1)
            finally:
                owner.thaw()
            await until(
                lambda owner=owner, stopped=stopped: len(owner.said("engine_stopped")) > stopped,  # type: ignore[misc]
                timeout=10,
                what="the old owner to notice",
            )
            # It stands in line now, healthy, and has not taken the pool back.
            assert _owner(centre) is heir
            await owner.ready(timeout=20)
        told = await end(run, crashed=True)
        met = _nobody_was_cut_off(run, told)
        print(f"\n{met} conversations; {told.unknown} unknown: {told.outcomes}")
