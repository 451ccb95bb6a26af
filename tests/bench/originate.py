"""The full path of a call, two hundred times a second: claim, rules, write, Originate, outcome,
write; with a real Asterisk, SIPp and a PostgreSQL that really syncs, beside a bare AMI client.

Every call ends busy at once, so that new calls are the load. A call is due when the pacing decision
wants it to leave; it is on the wire when its Originate is written to the AMI socket.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.bench.report import agree, bucket_percentile, line, percentile, processor_seconds, say
from tests.lab.callcentre import CallCentre
from tests.lab.process import until
from tests.lab.scenario import number
from tests.lab.servers import LabPostgres

NAME = "originate"
RATE = 200.0
SECONDS = 30.0
WARM_UP = 5.0
LEADS = int(RATE * (WARM_UP + SECONDS)) + 600
_BUCKET = re.compile(r'dialer_originate_seconds_bucket\{le="([^"]+)",pool="[^"]+"\} (\S+)')


@dataclass(frozen=True, slots=True)
class Reading:
    """Where the counters stand: lateness buckets, and processor seconds by process."""

    at: float
    buckets: dict[float, float]
    processors: dict[str, float]


async def reading(centre: CallCentre, postgres: LabPostgres) -> Reading:
    text = (await centre.http.get("/metrics")).text
    assert centre.dialer is not None
    return Reading(
        asyncio.get_running_loop().time(),
        {float(bound): float(count) for bound, count in _BUCKET.findall(text)},
        {
            "dialer": processor_seconds(centre.dialer.process.pid),
            "asterisk": processor_seconds(centre.asterisk.pid),
            "sipp": processor_seconds(centre.public.pid),
            "postgresql": processor_seconds(postgres.pid, children=True),
        },
    )


async def _bare(centre: CallCentre, numbers: list[str]) -> dict[str, Any]:
    """The reference in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.bare",
        "--port", str(centre.asterisk.ami_port), "--user", "dialer", "--trunk", "public",
        "--rate", str(RATE),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[2], env=dict(os.environ),
    )  # fmt: skip
    given = " ".join([centre.asterisk.secret, *numbers]).encode()
    out, _ = await process.communicate(given)
    if process.returncode:
        raise RuntimeError("the bare client failed")
    figures = dict(json.loads(out))
    if figures["ended"] < figures["calls"]:
        raise RuntimeError(
            f"the bare client saw {figures['ended']} of {figures['calls']} calls end"
        )
    return figures


async def run() -> bool:
    """Print the figures; False when a goal is missed."""
    with LabPostgres(sync=True) as postgres:
        say("starting Asterisk, SIPp, PostgreSQL and the dialer")
        async with CallCentre(
            agents=10, database=postgres.database(), calls_per_second=RATE, lines=500
        ) as centre:
            return await _measure(centre, postgres)


async def _measure(centre: CallCentre, postgres: LabPostgres) -> bool:
    campaign = await centre.campaign(
        NAME, mode="ratio", dial_ratio=10.0, ratio_cap=10.0, target_abandon=1.0,
        max_attempts=1, retries={},
    )  # fmt: skip
    leads = [{"number": number(behaviour=2, index=i), "name": f"P{i}"} for i in range(LEADS)]
    await centre.load(campaign, leads)
    await centre.add_agents([campaign])
    say(f"dialing {LEADS} leads at {RATE:.0f} calls/s")
    await centre.post(f"/campaigns/{campaign}/start")
    await until(lambda: bool(centre.public.truth()), timeout=30, what="the first call")
    await asyncio.sleep(WARM_UP)
    first = await reading(centre, postgres)
    await asyncio.sleep(SECONDS)
    last = await reading(centre, postgres)
    truth = await centre.public.truth_of(LEADS, timeout=60, ended=True)

    async def written() -> bool:
        figures = await centre.post(f"/campaigns/{campaign}/figures", method="GET")
        return bool(figures["outcomes"].get("busy") == LEADS)

    await until(written, timeout=60, what="all outcomes to be written")
    records = await centre.calls(campaign)
    story = agree(NAME, records, truth)
    doubled = sum(n - 1 for n in Counter(t.number for t in truth).values())
    lost = LEADS - len({t.number for t in truth})
    await centre.post(f"/campaigns/{campaign}/stop")
    say("the same by a bare AMI client")
    asterisk, sipp = centre.asterisk.pid, centre.public.pid
    before = processor_seconds(asterisk), processor_seconds(sipp)
    bare = await _bare(centre, [lead["number"] for lead in leads[: int(RATE * SECONDS)]])
    spent = processor_seconds(asterisk) - before[0], processor_seconds(sipp) - before[1]

    begin = truth[0].at + WARM_UP
    placed = sum(begin <= t.at < begin + SECONDS for t in truth)
    late = [(b, last.buckets[b] - first.buckets.get(b, 0.0)) for b in last.buckets]
    calls = max(count for _, count in late)
    good = [
        story,
        line(
            NAME, "calls per second", placed / SECONDS, "1/s", goal="200 for 30 s",
            baseline=bare["calls"] / bare["seconds"], ok=placed >= 0.99 * RATE * SECONDS,
        ),
    ]  # fmt: skip
    for share, goal in ((0.5, None), (0.95, 50.0), (0.99, None)):
        value = bucket_percentile(late, share) * 1000
        good.append(
            line(
                NAME, f"due to on the wire p{share * 100:.0f} (at most)", value, "ms",
                goal=f"below {goal:.0f} ms" if goal else "",
                baseline=bare[f"p{share * 100:.0f}"] * 1000,
                ok=value < goal if goal else None,
            )
        )  # fmt: skip
    reference = {
        "dialer": bare["cpu"] / bare["calls"],
        "asterisk": spent[0] / bare["calls"],
        "sipp": spent[1] / bare["calls"],
    }
    for part, seconds in last.processors.items():
        mean = (seconds - first.processors[part]) / calls
        base = reference.get(part)
        line(
            NAME, f"processor time per call, {part}", mean * 1000, "ms",
            baseline=None if base is None else base * 1000,
        )  # fmt: skip
    good.append(line(NAME, "calls lost", lost, "calls", goal="0", ok=lost == 0))
    good.append(line(NAME, "calls doubled", doubled, "calls", goal="0", ok=doubled == 0))
    gaps = [b.at - a.at for a, b in pairwise(truth)]
    line(NAME, "between two INVITEs, p99", percentile(gaps, 0.99) * 1000, "ms")
    return all(good)
