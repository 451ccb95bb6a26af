"""An hour (or MINUTES) at half of what the machine can do: does anything grow, or drift?

The whole call centre: real Asterisk and SIPp, a PostgreSQL that syncs, the dialer, agents on
websockets in another process. RATE calls a second (half of what `capacity` found is meant), most of
them refused by the network in several ways, some answered and talked to. People are loaded as they
are used up. Each minute prints memory, collections of the garbage collector and latencies; the end
compares the engine's ledger, the records and SIPp's log.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import sqlalchemy as sa

from dialer.store import schema as t
from dialer.store.database import Database
from tests.bench.report import bucket_percentile, line, processor_seconds, say
from tests.lab.callcentre import CallCentre
from tests.lab.process import until
from tests.lab.public import read_truth
from tests.lab.scenario import number
from tests.lab.servers import LabPostgres

NAME = "soak"
MINUTES = float(os.environ.get("MINUTES") or 60)
RATE = float(os.environ.get("RATE") or 150)  # calls/s
AGENTS, TALK, WRAP = 30, (2.0, 4.0), (0.3, 0.8)
_ANSWERED = 50  # one call in so many is answered
#: How the others end: busy, unknown number (few: the breaker watches), unavailable, declined.
_REFUSED = (2, 2, 2, 5, 5, 7, 2, 5, 7, 4)
_SETTLED = 0.2  # of the time, before which memory may still grow
_UNSENT = frozenset({"expired", "open", "not recorded"})  # nobody was called
_MAYBE = frozenset({"failed", "cancelled", "unknown"})  # Asterisk may have ended it before it left
_METRIC = re.compile(r"^(\w+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)
_PROJECT = Path(__file__).resolve().parents[2]

Buckets = dict[float, float]


@dataclass
class Sample:
    """What one look at the dialer found."""

    at: float  # s since the start
    rss: float  # MiB, of the dialer
    others: dict[str, float]  # MiB, of Asterisk, PostgreSQL (all processes), SIPp
    cpu: float  # s, of the dialer so far
    collections: dict[str, float]  # by generation, so far
    backlog: float
    late: Buckets = field(default_factory=dict)
    bridge: Buckets = field(default_factory=dict)


def metrics(text: str) -> list[tuple[str, dict[str, str], float]]:
    """Name, labels and value of each line that has them."""
    return [
        (name, dict(re.findall(r'(\w+)="([^"]*)"', labels or "")), float(value))
        for name, labels, value in _METRIC.findall(text)
    ]


def _buckets(found: Sequence[tuple[str, dict[str, str], float]], name: str) -> Buckets:
    return {float(labels["le"]): v for n, labels, v in found if n == f"{name}_bucket"}


def _rss(pid: int) -> float:
    for row in Path(f"/proc/{pid}/status").read_text().splitlines():
        if row.startswith("VmRSS:"):
            return int(row.split()[1]) / 1024
    return 0.0


def _own(pid: int) -> float:
    """MiB that are a process's own, and its children's: PostgreSQL's share most of theirs."""
    total = 0.0
    for one in [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]:
        try:
            text = Path(f"/proc/{one}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(r.split()[1]) for r in text.splitlines() if r.startswith("Private_"))
    return total / 1024


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The fitted line's rise per unit of the first coordinate; 0 with fewer than two points."""
    n = len(points)
    if n < 2:
        return 0.0
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def between(first: Buckets, last: Buckets, share: float) -> float:
    """A percentile (s) of what came between two looks; 0 when nothing did."""
    late = [(bound, count - first.get(bound, 0.0)) for bound, count in last.items()]
    return bucket_percentile(late, share) if late and max(c for _, c in late) > 0 else 0.0


class Soak:
    """The run and what it saw."""

    def __init__(self, centre: CallCentre, postgres: LabPostgres) -> None:
        self._centre, self._postgres = centre, postgres
        self._campaign, self._loaded, self._start = "", 0, 0.0
        self.samples: list[Sample] = []

    async def run(self) -> bool:
        centre = self._centre
        self._campaign = await centre.campaign(
            NAME, mode="ratio", dial_ratio=10.0, ratio_cap=10.0, target_abandon=1.0,
            max_attempts=1, retries={}, record=False,
        )  # fmt: skip
        await self._load(int(RATE * 90))
        agents = await self._agents()
        await centre.post(f"/campaigns/{self._campaign}/start")
        say(f"{RATE:.0f} calls/s for {MINUTES:g} minutes")
        self._start = time.monotonic()
        self.samples.append(await self._look())
        while time.monotonic() - self._start < MINUTES * 60:
            begun = time.monotonic()
            await self._load(int(RATE * 60))
            await asyncio.sleep(max(60 - (time.monotonic() - begun), 0))
            self.samples.append(await self._look())
            self._tell()
        await centre.post(f"/campaigns/{self._campaign}/pause")
        story = await self._agreement()
        assert agents.stdin is not None
        await agents.communicate(b"")
        return all([story, *self._flat()])

    async def _load(self, count: int) -> None:
        first, self._loaded = self._loaded, self._loaded + count
        leads = []
        for i in range(first, first + count):
            answers = i % _ANSWERED == 0
            behaviour = 1 if answers else _REFUSED[i % len(_REFUSED)]
            leads.append({"number": number(behaviour=behaviour, index=i % 1_000_000), "name": "P"})
        await self._centre.load(self._campaign, leads)

    async def _agents(self) -> asyncio.subprocess.Process:
        centre = self._centre
        made = [
            [f"agent{n}", await centre.make_agent(f"agent{n}", [self._campaign])]
            for n in range(AGENTS)
        ]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bench.agents", cwd=_PROJECT,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 28,
        )  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        told = {"address": centre.address, "talk": TALK, "wrap": WRAP, "agents": made}
        process.stdin.write(json.dumps(told).encode() + b"\n")
        await process.stdin.drain()
        if (await process.stdout.readline()).strip() != b"ready":
            raise RuntimeError("the agents did not get ready")
        return process

    async def _look(self) -> Sample:
        centre = self._centre
        assert centre.dialer is not None
        pid = centre.dialer.process.pid
        node = centre.asterisk.child
        if node is None or not node.alive:
            ended = node.process.returncode if node is not None else None
            raise RuntimeError(f"Asterisk ended by itself (status {ended}) after the last look")
        found = metrics((await centre.http.get("/metrics")).text)
        return Sample(
            at=time.monotonic() - self._start,
            rss=_rss(pid),
            others={
                "asterisk": _rss(centre.asterisk.pid),
                "postgresql": _own(self._postgres.pid),
                "sipp": _rss(centre.public.pid),
            },
            cpu=processor_seconds(pid),
            collections={
                labels["generation"]: value
                for name, labels, value in found
                if name == "python_gc_collections_total"
            },
            backlog=max((v for n, _, v in found if n == "dialer_write_backlog"), default=0.0),
            late=_buckets(found, "dialer_originate_seconds"),
            bridge=_buckets(found, "dialer_bridge_seconds"),
        )

    def _tell(self) -> None:
        """One line of figures for the last minute."""
        old, new = self.samples[-2], self.samples[-1]
        minute, took = f"minute {len(self.samples) - 1}", new.at - old.at
        calls = max(new.late.values(), default=0.0) - max(old.late.values(), default=0.0)
        line(NAME, f"{minute}: calls per second", calls / took, "1/s")
        line(NAME, f"{minute}: memory of the dialer", new.rss, "MiB")
        for part, size in new.others.items():
            line(NAME, f"{minute}: memory of {part}", size, "MiB")
        gone = sum(new.collections.values()) - sum(old.collections.values())
        oldest = new.collections.get("2", 0.0) - old.collections.get("2", 0.0)
        line(NAME, f"{minute}: collections, of them the oldest generation {oldest:.0f}", gone, "")
        for name, a, b in (
            ("due to on the wire", old.late, new.late),
            ("person and agent to both in one bridge", old.bridge, new.bridge),
        ):
            for share in (0.5, 0.95, 0.99):
                value = between(a, b, share) * 1000
                line(NAME, f"{minute}: {name} p{share * 100:.0f} (at most)", value, "ms")
        line(NAME, f"{minute}: processor time per call", (new.cpu - old.cpu) / max(calls, 1) * 1000,
             "ms")  # fmt: skip
        line(NAME, f"{minute}: writes waiting", new.backlog, "")

    def _flat(self) -> list[bool]:
        """Whether the fitted lines rise, from the time on at which all is warm."""
        after = MINUTES * 60 * _SETTLED
        warm = [s for s in self.samples if s.at >= after]
        if len(warm) < 3:
            warm = self.samples[1:]
        hours = (warm[-1].at - warm[0].at) / 3600
        memory = slope([(s.at / 3600, s.rss) for s in warm])
        most = max(0.05 * warm[0].rss, 8.0)  # MiB, over the whole time
        good = [
            line(NAME, "memory of the dialer, rise of the fitted line", memory, "MiB/h",
                 goal=f"at most {most:.0f} MiB over the run", ok=memory * hours <= most)
        ]  # fmt: skip
        for part in warm[0].others:
            line(NAME, f"memory of {part}, rise of the fitted line",
                 slope([(s.at / 3600, s.others[part]) for s in warm]), "MiB/h")  # fmt: skip
        pairs = list(pairwise(warm))
        for name, which, most in (
            ("due to on the wire p95", "late", 5.0),
            ("person and agent to both in one bridge p95", "bridge", 3.0),
        ):
            points = [
                (b.at / 3600, between(getattr(a, which), getattr(b, which), 0.95) * 1000)
                for a, b in pairs
            ]
            rise = slope(points)
            good.append(
                line(NAME, f"{name}, rise of the fitted line", rise, "ms/h",
                     goal=f"at most {most:.0f} ms over the run", ok=rise * hours <= most)
            )  # fmt: skip
        return good

    async def _outcomes(self) -> dict[str, str]:
        """Each number's outcome in the database; people are called once here."""
        database = Database(self._centre.database)
        try:
            async with database.begin() as connection:
                rows = await connection.execute(sa.select(t.attempt.c.number, t.attempt.c.outcome))
                return {row.number: row.outcome or "open" for row in rows}
        finally:
            await database.close()

    async def _agreement(self) -> bool:
        """The engine's ledger, the records and SIPp's log tell the same, to a call."""
        centre, campaign = self._centre, self._campaign

        async def drained() -> bool:
            found = await centre.post(f"/campaigns/{campaign}", method="GET")
            return bool(found["state"] == "paused")

        await until(drained, timeout=120, what="the last calls to be over")
        found = metrics((await centre.http.get("/metrics")).text)
        ledger = {
            labels["outcome"]: int(value)
            for name, labels, value in found
            if name == "dialer_attempts" and labels.get("campaign") == campaign and value
        }
        records: dict[str, int] = {}

        async def written() -> bool:
            answer = await centre.post(f"/campaigns/{campaign}/figures", method="GET")
            records.clear()
            records.update({o: n for o, n in answer["outcomes"].items() if n})
            return records == ledger

        try:
            await until(written, timeout=30, what="the records to tell what the ledger tells")
        except TimeoutError as error:
            say(f"{error}: {ledger} against {records}")
        drift = sum(((Counter(ledger) - Counter(records)) + (Counter(records) - Counter(ledger)))
                    .values())  # fmt: skip
        truth = await asyncio.to_thread(read_truth, centre.public.log)
        unrecorded, unseen = compared(await self._outcomes(), {call.number for call in truth})
        if unrecorded or unseen:
            say(f"called, and recorded as: {unrecorded}; recorded, and not called: {unseen}")
        twice = sum(n - 1 for n in Counter(call.number for call in truth).values())
        good = [
            line(NAME, "attempts in the records", sum(records.values()), "calls"),
            line(NAME, "ledger and records differ in", drift, "calls", goal="0", ok=drift == 0),
            line(NAME, "in SIPp's log, and not in the records", sum(unrecorded.values()), "calls",
                 goal="0", ok=not unrecorded),
            line(NAME, "in the records, and not in SIPp's log", sum(unseen.values()), "calls",
                 goal="0", ok=not unseen),
            line(NAME, "numbers called twice", twice, "calls", goal="0", ok=twice == 0),
        ]  # fmt: skip
        return all(good)


def compared(records: dict[str, str], called: set[str]) -> tuple[Counter[str], Counter[str]]:
    """Outcomes of numbers that were called though their record says that nobody was, and of those
    that were not called though it says that somebody was."""
    said = {number: records.get(number, "not recorded") for number in called}
    unrecorded = Counter(outcome for outcome in said.values() if outcome in _UNSENT)
    unseen = Counter(
        outcome
        for n, outcome in records.items()
        if n not in called and outcome not in _UNSENT | _MAYBE
    )
    return unrecorded, unseen


async def run() -> bool:
    """Print the figures; False when a goal is missed."""
    with LabPostgres(sync=True) as postgres:
        say("starting Asterisk, SIPp, PostgreSQL and the dialer")
        async with CallCentre(
            agents=0,
            database=postgres.database(),
            calls_per_second=RATE,
            lines=1000,
            environment={"DIALER_LEASE_SECONDS": "10"},  # the product's own
        ) as centre:
            return await Soak(centre, postgres).run()
