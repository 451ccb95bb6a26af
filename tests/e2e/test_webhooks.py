"""Webhooks, end to end: what a receiver was told of a campaign is what the API says of it.

The real dialer process with a real Asterisk, SIPp as public and phones, and a receiver of its own
that fails for a while; the dialer is killed in the middle. Events may come twice, under one id:
after that is taken out, each concluded call was told exactly once, and nothing that did not happen.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_campaign import _come_back, finished, leads
from tests.lab.callcentre import CallCentre
from tests.lab.faults import injected
from tests.lab.process import until
from tests.lab.receiver import LabReceiver
from tests.lab.servers import LabPostgres

pytestmark = [pytest.mark.e2e, pytest.mark.full]

TIMES = ("intended_at", "answered_at", "connected_at", "ended_at")
SAME = ("id", "campaign_id", "customer_id", "agent_id", "mode", "trunk", "outcome")


def same_call(told: Mapping[str, Any], shown: Mapping[str, Any]) -> None:
    """An event and the API's record of the call."""
    assert {k: told[k] for k in SAME} == {k: shown[k] for k in SAME}
    for key in TIMES:
        first, second = told[key], shown[key]
        assert (first and datetime.fromisoformat(first)) == (
            second and datetime.fromisoformat(second)
        ), key


@pytest.mark.parametrize("kills", [0, 2], ids=["sqlite", "postgresql-killed"])
async def test_each_concluded_call_is_told_once_and_as_it_was(kills: int, tmp_path: Path) -> None:
    rng, count = random.Random(20261125), 60
    async with LabReceiver(tmp_path / "receiver", tls=True) as receiver:
        environment = {
            "DIALER_WEBHOOKS__ALLOW_NETWORKS": '["127.0.0.0/8"]',
            "DIALER_WEBHOOKS__PORTS": f"[{receiver.port}]",
            "DIALER_WEBHOOKS__AUTHORITIES": str(receiver.certificate),
        }
        with LabPostgres() as server:
            url = server.database() if kills else ""
            async with CallCentre(agents=6, database=url, environment=environment) as centre:
                hook = await centre.post("/webhooks", {"url": receiver.url})
                campaign = await centre.campaign(
                    "main",
                    mode="ratio",
                    dial_ratio=2.0,
                    target_abandon=1.0,
                    ring_timeout=5,
                    max_attempts=2,
                    retries={"busy": {"delay": 1.0, "most": 1}},
                    wrap_up=3,
                )
                await centre.load(campaign, leads(count, rng))
                await centre.add_agents([campaign], talk=(0.3, 1.0), wrap=(0.1, 0.2))
                await centre.post(f"/campaigns/{campaign}/start")
                await until(lambda: len(receiver.taken()) > 5, timeout=120, what="first events")
                receiver.behave("503")
                await until(
                    lambda: any(r["answered"] == "503" for r in receiver.received()),
                    timeout=120,
                    what="a refused event",
                )
                injected("webhooks: receiver failing")
                for called in (count // 3, count // 2)[:kills]:
                    await kill(centre, called)
                receiver.behave("204")
                await finished(centre, campaign, count, timeout=300)
                await told_all(centre, hook["id"])
                await compare(centre, campaign, receiver.events(hook["secret"]))
                times = Counter(r["headers"]["webhook-id"] for r in receiver.taken())
                print(f"\n{len(times)} events, {sum(times.values())} arrivals")


async def kill(centre: CallCentre, called: int) -> None:
    """`kill -9` when so many were called, and everybody back."""
    await until(lambda: len(centre.public.truth()) >= called, timeout=180, what=f"{called} calls")
    assert centre.dialer is not None
    await centre.dialer.stop(number=signal.SIGKILL)
    injected("dialer: kill -9")
    for agent in centre.agents:
        await agent.close()
    centre.agents.clear()
    await centre.start_dialer()
    await centre.sign_in()
    await _come_back(centre)


async def told_all(centre: CallCentre, webhook: str) -> None:
    """Wait until nothing is on its way, and nothing more is told for a while: a delivery that a
    dead dialer had taken waits a minute, and recordings are moved when they have settled."""
    loop = asyncio.get_running_loop()
    since, told = loop.time(), ""

    async def quiet() -> bool:
        nonlocal since, told
        path = f"/webhooks/{webhook}/deliveries"
        waiting = await centre.post(f"{path}?state=pending&limit=1", method="GET")
        newest = str(await centre.post(f"{path}?limit=1", method="GET"))
        if waiting["items"] or newest != told:
            since, told = loop.time(), newest
        await asyncio.sleep(0.5)
        return loop.time() - since > 8

    await until(quiet, timeout=240, what="the last event")


async def compare(centre: CallCentre, campaign: str, events: Mapping[str, Any]) -> None:
    by_type: dict[str, list[dict[str, Any]]] = {}
    for event in events.values():
        by_type.setdefault(event["type"], []).append(event["data"])
    calls = {c["id"]: c for c in await centre.calls(campaign) if c["outcome"] is not None}
    concluded = by_type["call.concluded"]
    assert len(concluded) == len({d["id"] for d in concluded}) == len(calls)
    for data in concluded:
        same_call(data, calls[data["id"]])
    said = {d["call_id"]: d["code"] for d in by_type["disposition.set"]}
    assert said == {c["id"]: c["disposition"] for c in calls.values() if c["disposition"]}
    assert len(by_type["disposition.set"]) == len(said)
    recordings = (await centre.post("/recordings?limit=500", method="GET"))["items"]
    stored = {r["call_id"]: (r["size"], r["sha256"]) for r in recordings if r["state"] == "stored"}
    told = {d["call_id"]: (d["size"], d["sha256"]) for d in by_type.get("recording.stored", [])}
    assert told == stored
    assert stored
    states = [d["state"] for d in by_type["campaign.state_changed"]]
    assert states == ["running", "finished"]
    text = str(events)
    assert not [c["number"] for c in calls.values() if c["number"] in text]
