"""How many calls a second, and how many agents: the dialer beside a bare AMI client on the real
Asterisk with a PostgreSQL that syncs, and the dialer alone over the switch in memory.

A rate holds when, for some seconds, at least 98 % of it arrives at SIPp, 95 of 100 Originates are
on the wire within 50 ms of when they were due, and all calls are over (and, for the dialer,
written) within two seconds after the last. The bare client is asked the same on the same machine.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from telephony.provision.render import TrunkAccount
from tests.bench.agents_ladder import Agents
from tests.bench.ladder import climb, rungs
from tests.bench.originate import Reading, reading
from tests.bench.report import bucket_percentile, line, processor_seconds, say
from tests.lab.asterisk import LabAsterisk
from tests.lab.callcentre import CallCentre
from tests.lab.process import until
from tests.lab.scenario import number
from tests.lab.servers import LabPostgres

NAME = "capacity"
RATES = rungs(100, 1600, growth=1.08)
START = 22  # the first rate tried: some 540 calls/s
TRIALS = 8
_FIRST = "public"
_REST, _SILENCE = 30.0, 2.0  # s for what a rate that was too high left behind
WARM_UP, SECONDS, AFTER = 2.5, 4.0, 2.0
SHARE, LATE = 0.98, 0.05  # of the rate; s
TWIN_RATES = (1000, 1500, 2000, 3000)
TWIN_AGENTS = 1000


@dataclass
class Trial:
    """What one rate gave."""

    rate: int
    placed: float  # calls/s that arrived at SIPp
    late: float  # s, p95
    all_over: bool
    parts: Mapping[str, float] = field(default_factory=dict)  # processor s per call, by process

    @property
    def holds(self) -> bool:
        return self.placed >= SHARE * self.rate and self.late <= LATE and self.all_over


class Ladder(CallCentre):
    """A call centre with a trunk for each rate, all to the same public."""

    def __init__(self, *, rates: list[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rates = rates
        trunks = [TrunkAccount(_FIRST, self.trunk_host, self.trunk_port)]
        trunks += [TrunkAccount(trunk(r), self.trunk_host, self.trunk_port) for r in rates]
        self.nodes = [LabAsterisk("ast1", trunks=trunks, folder=self.folder / "ast1")]
        self.ami_port = self.asterisk.ami_port

    def settings(self, *, port: int = 0) -> dict[str, str]:
        found = super().settings(port=port)
        first = json.loads(found["DIALER_TRUNKS"])[0]
        more = [{**first, "name": trunk(r), "calls_per_second": float(r)} for r in self.rates]
        return {**found, "DIALER_TRUNKS": json.dumps([first, *more])}


def trunk(rate: int) -> str:
    return f"rate{rate}"


class Log:
    """SIPp's log, from where it was read last."""

    def __init__(self, path: Path) -> None:
        self._path, self._at = path, path.stat().st_size if path.exists() else 0
        self.begun: list[float] = []  # s of each INVITE
        self.over = 0

    def read(self) -> None:
        if not self._path.exists():
            return
        with self._path.open(errors="replace") as file:
            file.seek(self._at)
            text = file.read()
        whole, _, _ = text.rpartition("\n")
        self._at += len(whole.encode())
        for row in whole.splitlines():
            parts = row.split("|")
            if len(parts) != 5 or not parts[3].strip().isdigit():
                continue
            if parts[2] == "INVITE":
                self.begun.append(int(parts[3]) / 1000)
            else:
                self.over += 1

    def rate(self) -> float:
        """INVITEs a second after the warm-up, over the measured time."""
        if not self.begun:
            return 0.0
        begin = self.begun[0] + WARM_UP
        return sum(begin <= at < begin + SECONDS for at in self.begun) / SECONDS

    async def quiet(self) -> None:
        """Return once nothing has come for a while: Asterisk may hold many calls back, and those
        of a rate that was too high must not count for the next one."""
        deadline, seen = time.monotonic() + _REST, -1
        while seen != len(self.begun) + self.over and time.monotonic() < deadline:
            seen = len(self.begun) + self.over
            await asyncio.sleep(_SILENCE)
            self.read()

    async def all_over(self) -> bool:
        """Whether every call begun is over, now or soon."""

        def over() -> bool:
            self.read()
            return self.over >= len(self.begun)

        try:
            await until(over, timeout=AFTER, what="the calls to be over")
        except TimeoutError:
            return False
        return True


class Numbers:
    """Numbers that are busy, none of them twice."""

    def __init__(self) -> None:
        self._next = 0

    def take(self, count: int) -> list[str]:
        first, self._next = self._next, self._next + count
        return [number(behaviour=2, index=i) for i in range(first, self._next)]


class Bench:
    """The trials on one call centre."""

    def __init__(self, centre: Ladder, postgres: LabPostgres) -> None:
        self._centre, self._postgres = centre, postgres
        self._numbers = Numbers()
        self._campaign = ""
        self._loaded = 0
        self.trials: dict[str, dict[int, Trial]] = {"bare": {}, "dialer": {}}

    async def prepare(self, leads: int) -> None:
        centre = self._centre
        self._campaign = await centre.campaign(NAME, **self._settings(RATES[0]))
        await centre.add_agents([self._campaign])
        await self._load(leads)

    def _settings(self, rate: int) -> dict[str, Any]:
        return {
            "mode": "ratio", "dial_ratio": 10.0, "ratio_cap": 10.0, "target_abandon": 1.0,
            "max_attempts": 1, "retries": {}, "trunks": [trunk(rate)],
        }  # fmt: skip

    async def _load(self, count: int) -> None:
        leads = [{"number": n, "name": "P"} for n in self._numbers.take(count)]
        await self._centre.load(self._campaign, leads)
        self._loaded += count

    async def bare(self, rate: int) -> bool:
        centre, count = self._centre, int(rate * (WARM_UP + SECONDS))
        log = Log(centre.public.log)
        pids = {"asterisk": centre.asterisk.pid, "sipp": centre.public.pid}
        before = {name: processor_seconds(pid) for name, pid in pids.items()}
        figures = await reference(centre, self._numbers.take(count), trunk(rate), rate)
        over = await log.all_over() and figures["ended"] >= count
        parts = {n: (processor_seconds(pid) - before[n]) / count for n, pid in pids.items()}
        parts["client"] = figures["cpu"] / count
        trial = Trial(rate, log.rate(), figures["p95"], over, parts)
        if not over:
            await log.quiet()
        return self._note("bare", trial)

    async def dialer(self, rate: int) -> bool:
        """The campaign runs for a while at this rate, then pauses."""
        centre, campaign = self._centre, self._campaign
        need = int(rate * (WARM_UP + SECONDS + 2.0))
        if self._loaded < need:
            await self._load(need - self._loaded)
        settings = {"rules_profile": "laboratory", "caller_id": "+12125550100"}
        await centre.post(
            f"/campaigns/{campaign}/settings",
            {"settings": {**settings, **self._settings(rate)}},
            method="PUT",
        )
        log = Log(centre.public.log)
        await centre.post(f"/campaigns/{campaign}/start")
        await asyncio.sleep(WARM_UP)
        first = await reading(centre, self._postgres)
        await asyncio.sleep(SECONDS)
        last = await reading(centre, self._postgres)
        await asyncio.sleep(0.3)
        await centre.post(f"/campaigns/{campaign}/pause")
        over = await log.all_over() and await self._written()
        late, parts = between(first, last)
        trial = Trial(rate, log.rate(), late, over, parts)
        if not over:
            await log.quiet()
        self._loaded -= len(log.begun)
        return self._note("dialer", trial)

    async def _written(self) -> bool:
        async def paused() -> bool:
            found = await self._centre.post(f"/campaigns/{self._campaign}", method="GET")
            return bool(found["state"] == "paused")

        try:
            await until(paused, timeout=AFTER, what="the campaign to be drained")
        except TimeoutError:
            return False
        return True

    def _note(self, who: str, trial: Trial) -> bool:
        self.trials[who][trial.rate] = trial
        say(
            f"{who} at {trial.rate}/s: {trial.placed:.0f}/s arrived, p95 {trial.late * 1000:.0f} ms"
            f" late, {'all over' if trial.all_over else 'not over'}:"
            f" {'holds' if trial.holds else 'does not hold'}"
        )
        return trial.holds


def between(first: Reading, last: Reading) -> tuple[float, dict[str, float]]:
    """Lateness p95 (s) and processor seconds per call, of what happened between two readings."""
    late = [(b, last.buckets[b] - first.buckets.get(b, 0.0)) for b in last.buckets]
    calls = max((count for _, count in late), default=0.0)
    if calls <= 0:  # an engine that lost its pool counts anew
        return float("inf"), {}
    parts = {n: (s - first.processors[n]) / calls for n, s in last.processors.items()}
    return bucket_percentile(late, 0.95), parts


async def reference(
    centre: CallCentre, numbers: list[str], trunk_name: str, rate: float
) -> dict[str, float]:
    """The bare client in a process of its own."""
    return await child(
        "tests.bench.bare",
        "--port", str(centre.asterisk.ami_port), "--user", "dialer", "--trunk", trunk_name,
        "--rate", str(rate), "--patience", str(AFTER),
        given=" ".join([centre.asterisk.secret, *numbers]),
    )  # fmt: skip


async def child(module: str, *arguments: str, given: str = "") -> dict[str, Any]:
    """A module of the benches in a process of its own; the JSON object it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    out, _ = await process.communicate(given.encode())
    if process.returncode:
        raise RuntimeError(f"{module} failed")
    return dict(json.loads(out))


async def run() -> bool:
    """Print the figures; False when a goal is missed."""
    good = [await _alone(), await _full_path()]
    return all(good)


async def _full_path() -> bool:
    with LabPostgres(sync=True) as postgres:
        say("starting Asterisk, SIPp, PostgreSQL and the dialer")
        async with Ladder(
            rates=RATES, agents=30, database=postgres.database(), lines=3000,
            environment={"DIALER_LEASE_SECONDS": "15"},
        ) as centre:  # fmt: skip
            bench = Bench(centre, postgres)
            await bench.prepare(20_000)
            dialer = await climb(RATES, bench.dialer, start=START, trials=TRIALS)
            # Not before: a hundred agents' legs with voice stay up and would load Asterisk in the
            # dialer's trials, but not in those of the bare client.
            talking = await Agents(centre).highest()
            assert centre.dialer is not None
            await centre.dialer.stop(timeout=15)  # it would hear every event of the bare client
            bare = await climb(RATES, bench.bare, start=START + 8, trials=TRIALS)
    share = dialer / bare if bare else 0.0
    line(
        NAME, "calls per second that hold, full path with PostgreSQL", dialer, "1/s", baseline=bare
    )
    good = line(
        NAME, "of a bare AMI client's calls per second", share * 100, "%",
        goal="at least 60 % (90 % wanted)", ok=share >= 0.6,
    )  # fmt: skip
    reached, without = bench.trials["dialer"].get(dialer), bench.trials["bare"].get(bare)
    for part, seconds in (reached.parts if reached else {}).items():
        base = without.parts.get("client" if part == "dialer" else part) if without else None
        line(
            NAME, f"processor time per call there, {part}", seconds * 1000, "ms",
            baseline=None if base is None else base * 1000,
        )  # fmt: skip
    return good and talking


async def _alone() -> bool:
    """The dialer over the switch in memory, each rate in a fresh process on one core."""
    say(f"the dialer alone: {TWIN_AGENTS} agents on one core")
    bare = await child("tests.bench.twin", "--bare", "--rate", str(TWIN_RATES[0]), "--seconds", "5")
    what = "dialer alone on one core"
    highest, first = 0, None
    for rate in TWIN_RATES:
        for _ in range(2):
            found = await child(
                "tests.bench.twin", "--rate", str(rate), "--agents", str(TWIN_AGENTS),
                "--seconds", "8",
            )  # fmt: skip
            holds = sustained(found, rate)
            say(
                f"at {rate}/s: {found['placed']:.0f}/s placed, {found['concluded']:.0f}/s over,"
                f" answers decided within {found['answer']['p99']:.1f} ms (p99)"
            )
            if first is None or (rate == TWIN_RATES[0] and holds):
                first = found
            if holds:
                break
        if not holds:
            break
        highest = rate
    assert first is not None
    good = [
        line(NAME, f"{what}: agents ready", first["agents"], "", goal="1,000",
             ok=first["agents"] >= 1000),
        line(NAME, f"{what}: calls placed per second", first["placed"], "1/s", goal="1,000",
             ok=first["placed"] >= 0.98 * 1000),
        line(NAME, f"{what}: calls concluded per second", first["concluded"], "1/s", goal="1,000",
             ok=first["concluded"] >= 0.98 * 1000),
        line(NAME, f"{what}: answer due to decided p99", first["answer"]["p99"], "ms",
             goal="at most 10 ms", baseline=bare["answer"]["p99"],
             ok=first["answer"]["p99"] <= 10.0),
    ]  # fmt: skip
    for kind, words in (("answer", "answer"), ("end", "end of a call")):
        for share in ("p50", "p99", "max"):
            line(NAME, f"{what}: {words} due to decided {share}", first[kind][share], "ms",
                 baseline=bare[kind][share])  # fmt: skip
    line(NAME, f"{what}: turn of the loop p99, processor time", first["turn"]["p99"], "ms")
    line(NAME, f"{what}: turn of the loop max, processor time", first["turn"]["max"], "ms")
    line(NAME, f"{what}: processor time per call", first["cpu"] * 1000, "ms",
         baseline=bare["cpu"] * 1000)  # fmt: skip
    line(NAME, f"{what}: of the core used", first["share"] * 100, "%")
    line(NAME, f"{what}: answers and bridges per second", first["bridged"], "1/s")
    lost = first["doubled"] + first["open"]
    good.append(line(NAME, f"{what}: doubled or left open", lost, "calls", goal="0", ok=lost == 0))
    line(NAME, f"{what}: highest rate that held", highest, "1/s")
    return all(good)


def sustained(found: Mapping[str, Any], rate: float) -> bool:
    """Whether the dialer alone kept this rate within its time."""
    least = SHARE * rate
    return bool(
        found["placed"] >= least and found["concluded"] >= least and found["answer"]["p99"] <= 10.0
    )
