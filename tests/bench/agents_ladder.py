"""How many agents in conversation the machine carries with the real Asterisk: phones and media too.

Agents are added step by step; everybody called answers, each conversation lasts two to four seconds
with voice both ways. A step holds while 99 of 100 bridges stand within 20 ms of person and agent
both being there, and hardly anybody who answers meets nobody.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.bench.report import line, processor_seconds, say
from tests.bench.soak import Buckets, between, metrics
from tests.lab.callcentre import CallCentre
from tests.lab.scenario import number

NAME = "capacity"
STEPS = (25, 50, 100, 150, 200)
TALK, WRAP = (2.0, 4.0), (0.3, 0.8)
WARM_UP, SECONDS = 4.0, 6.0
WITHIN, ABANDONED = 0.02, 0.03  # s (p99); share of live answers
_PROJECT = Path(__file__).resolve().parents[2]


class Agents:
    """The trials; the call centre has Asterisk, SIPp and the dialer running."""

    def __init__(self, centre: CallCentre) -> None:
        self._centre = centre
        self._campaign, self._made, self._people = "", 0, 0
        self._processes: list[asyncio.subprocess.Process] = []

    async def highest(self) -> bool:
        """Print the most agents that held; False when not even the first step did."""
        self._campaign = await self._centre.campaign(
            "agents", mode="progressive", target_abandon=1.0, max_attempts=1, retries={},
            record=False, trunks=["public"],
        )  # fmt: skip
        best, figures = 0, {}
        try:
            for count in STEPS:
                await self._sign_in(count - self._made)
                found = await self._try(count)
                if not holds(found):
                    found = await self._try(count)
                if not holds(found):
                    break
                best, figures = count, found
        finally:
            for process in self._processes:
                await process.communicate(b"")
        line(NAME, "agents in conversation that hold, with Asterisk and voice", best, "agents",
             ok=best > 0)  # fmt: skip
        for what, (value, unit) in figures.items():
            line(NAME, f"{what} with that many agents", value, unit)
        return best > 0

    async def _sign_in(self, count: int) -> None:
        centre = self._centre
        agents = []
        for index in range(self._made, self._made + count):
            login = f"talker{index}"
            agents.append([login, await centre.make_agent(login, [self._campaign])])
        self._made += count
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bench.agents", cwd=_PROJECT,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 26,
        )  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        told = {"address": centre.address, "talk": TALK, "wrap": WRAP, "agents": agents}
        process.stdin.write(json.dumps(told).encode() + b"\n")
        await process.stdin.drain()
        if (await process.stdout.readline()).strip() != b"ready":
            raise RuntimeError("the agents did not get ready")
        self._processes.append(process)

    async def _try(self, count: int) -> dict[str, tuple[float, str]]:
        centre, need = self._centre, int(count * (WARM_UP + SECONDS))
        first, self._people = self._people, self._people + need
        people = [
            {"number": number(behaviour=1, index=i), "name": "P"}
            for i in range(first, self._people)
        ]
        await centre.load(self._campaign, people)
        await centre.post(f"/campaigns/{self._campaign}/start")
        await asyncio.sleep(WARM_UP)
        bridges, live, gone, cpu = await self._look()
        await asyncio.sleep(SECONDS)
        later, more, lost, spent = await self._look()
        await centre.post(f"/campaigns/{self._campaign}/pause")
        await asyncio.sleep(TALK[1] + WRAP[1])
        met = max(later.values(), default=0.0) - max(bridges.values(), default=0.0)
        found = {
            "conversations begun": (met / SECONDS, "1/s"),
            "bridge p50 (at most)": (between(bridges, later, 0.5) * 1000, "ms"),
            "bridge p99 (at most)": (between(bridges, later, 0.99) * 1000, "ms"),
            "abandoned": ((lost - gone) / max(more - live, 1) * 100, "%"),
            **{
                f"processor time of {part} per second": ((spent[part] - cpu[part]) / SECONDS, "s")
                for part in cpu
            },
        }
        say(f"{count} agents: " + ", ".join(f"{k} {v:.1f} {u}" for k, (v, u) in found.items()))
        return found

    async def _look(self) -> tuple[Buckets, float, float, dict[str, float]]:
        """Bridge times, live answers, abandoned calls, and processor seconds by process."""
        centre = self._centre
        text = metrics((await centre.http.get("/metrics")).text)
        buckets = {float(ls["le"]): v for n, ls, v in text if n == "dialer_bridge_seconds_bucket"}
        mine = {n: v for n, ls, v in text if ls.get("campaign") == self._campaign}
        live = mine.get("dialer_live_answers", 0.0)
        assert centre.dialer is not None
        cpu = {
            "dialer": processor_seconds(centre.dialer.process.pid),
            "asterisk": processor_seconds(centre.asterisk.pid),
            "sipp": processor_seconds(centre.public.pid) + processor_seconds(centre.phones.pid),
        }
        return buckets, live, live * mine.get("dialer_abandon_rate", 0.0), cpu


def holds(found: dict[str, Any]) -> bool:
    """Whether bridges stood in time and hardly anybody met nobody."""
    return bool(
        found["conversations begun"][0] > 0
        and found["bridge p99 (at most)"][0] <= WITHIN * 1000
        and found["abandoned"][0] <= ABANDONED * 100
    )
