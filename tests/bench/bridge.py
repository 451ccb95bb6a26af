"""A person and an agent in one bridge, and that person's record on the screen: how fast, and never
mixed up.

Twenty agents, twenty answers a second. The instants come from a manager client of the bench's own
(when it read Newstate Up, and BridgeEnter of the second of the two) and from the agents' screens in
another process; all are read off the machine's one monotonic clock. A quarter of the agents have
phones that listen: there the voice must be the tone of the number on the screen.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.report import agree, line, percentile, say
from tests.lab.callcentre import CallCentre
from tests.lab.process import until
from tests.lab.scenario import TONES, number
from tests.lab.servers import LabPostgres
from tests.lab.softphone import Softphone
from tests.lab.sounds import from_ulaw, power_at

NAME = "bridge"
AGENTS, LISTENING, RATE, LEADS, BARE = 20, 5, 20.0, 1_100, 400
_BEEP = 1000.0  # Hz; the agent's own. Nobody on the list has this tone: see `people`


@dataclass(slots=True)
class Seen:
    """One call as the bench's own manager client saw it; monotonic seconds, 0 = not yet."""

    up: float = 0.0
    both: float = 0.0
    leg: str = ""
    down: float = 0.0


@dataclass(slots=True)
class Listener(asyncio.Protocol):
    """Notes Newstate Up, bridges and hang-ups in the moment they are read."""

    account: tuple[str, str]
    calls: defaultdict[str, Seen] = field(default_factory=lambda: defaultdict(Seen))
    _bridges: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _rest: bytes = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        user, secret = self.account
        transport.write(f"Action: Login\r\nUsername: {user}\r\nSecret: {secret}\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        frames = (self._rest + data).split(b"\r\n\r\n")
        self._rest = frames.pop()
        for frame in map(bytes.lstrip, frames):  # some events leave an empty line behind
            if frame.startswith((b"Event: Newstate", b"Event: Bridge", b"Event: Hangup\r")):
                self._note(frame.decode("utf-8", "replace"), now)

    def _note(self, frame: str, now: float) -> None:
        event = dict(text.partition(": ")[::2] for text in frame.split("\r\n"))
        channel, kind = event.get("Uniqueid", ""), event["Event"]
        if kind == "Newstate" and event["ChannelState"] == "6" and not channel.startswith("leg-"):
            self.calls[channel].up = self.calls[channel].up or now
        elif kind == "Hangup" and channel in self.calls:
            self.calls[channel].down = now
        elif kind == "BridgeLeave":
            self._bridges[event["BridgeUniqueid"]].discard(channel)
        elif kind == "BridgeEnter" and event["BridgeTechnology"] != "holding_bridge":
            members = self._bridges[event["BridgeUniqueid"]]
            members.add(channel)
            legs = [m for m in members if m.startswith("leg-")]
            for call in members - set(legs):
                if legs and not self.calls[call].both:
                    self.calls[call].both, self.calls[call].leg = now, legs[0]


async def run() -> bool:
    """Print the figures; False when a goal is missed."""
    with LabPostgres(sync=True) as postgres:
        say("starting Asterisk, SIPp, PostgreSQL and the dialer")
        async with AsyncExitStack() as stack:
            phones = [
                await stack.enter_async_context(Softphone(host="127.0.0.53"))
                for _ in range(LISTENING)
            ]
            centre = await stack.enter_async_context(
                CallCentre(database=postgres.database(), calls_per_second=RATE)
            )
            return await _measure(centre, phones)


def people(count: int) -> list[str]:
    """Numbers that answer and wait, none of them with the tone of the agent's beep."""
    indices = (i for i in itertools.count() if float(TONES[i % 10]) != _BEEP)
    return [number(behaviour=1, index=i) for i in itertools.islice(indices, count)]


async def _measure(centre: CallCentre, phones: list[Softphone]) -> bool:
    campaign = await centre.campaign(NAME, max_attempts=1, retries={}, wrap_up=5)
    await centre.load(
        campaign,
        [{"number": called, "name": f"P{i}"} for i, called in enumerate(people(LEADS))],
    )
    agents = [(f"agent{i + 1}", phones[i] if i < LISTENING else None) for i in range(AGENTS)]
    tokens = [
        [name, await centre.make_agent(name, [campaign], phone=phone)] for name, phone in agents
    ]
    screens = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.agents",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 24,
        cwd=Path(__file__).resolve().parents[2], env=dict(os.environ),
    )  # fmt: skip
    assert screens.stdin is not None and screens.stdout is not None
    transport = None
    try:
        given = {"address": centre.address, "talk": [0.4, 0.5], "agents": tokens}
        screens.stdin.write(json.dumps(given).encode() + b"\n")
        if await asyncio.wait_for(screens.stdout.readline(), 40) != b"ready\n":
            raise RuntimeError("the agents did not get ready")
        listener = Listener(("dialer", centre.asterisk.secret))
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: listener, "127.0.0.1", centre.asterisk.ami_port
        )
        say(f"{LEADS} people for {AGENTS} agents, {RATE:.0f} answers a second")
        await centre.post(f"/campaigns/{campaign}/start")
        await until(
            lambda: sum(bool(c.down) for c in listener.calls.values()) >= LEADS,
            timeout=LEADS / RATE * 2,
            what="the last hang-up",
        )
        truth = await centre.public.truth_of(LEADS, timeout=10, ended=True)
        calls = dict(listener.calls)  # the bare client's are not the dialer's
        say("the same by a bare AMI client")
        bare = await _bare(
            centre,
            legs=sorted({seen.leg for seen in calls.values() if seen.leg}),
            numbers=people(BARE),
        )
        screens.stdin.close()
        pops = json.loads(await asyncio.wait_for(screens.stdout.readline(), 20))
    finally:
        if transport is not None:
            transport.close()
        if screens.returncode is None:
            screens.terminate()
            await screens.wait()

    async def written() -> bool:
        figures = await centre.post(f"/campaigns/{campaign}/figures", method="GET")
        return not figures["outcomes"].get("open")

    await until(written, timeout=20, what="all outcomes to be written")
    records = await centre.calls(campaign)
    story = agree(NAME, records, truth)
    agents_known = (await centre.post("/agents", method="GET"))["items"]
    ids = {a["id"].replace("-", ""): a["name"].lower() for a in agents_known}
    return _figures(calls, pops, spoken(records, ids), ids, dict(agents), bare) and story


async def _bare(centre: CallCentre, *, legs: list[str], numbers: list[str]) -> dict[str, float]:
    """The reference in a process of its own, with the agents' legs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.bare_bridge",
        "--port", str(centre.asterisk.ami_port), "--user", "dialer", "--trunk", "public",
        "--rate", str(RATE),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[2], env=dict(os.environ),
    )  # fmt: skip
    told = {"secret": centre.asterisk.secret, "legs": legs, "numbers": numbers}
    out, _ = await process.communicate(json.dumps(told).encode())
    if process.returncode:
        raise RuntimeError("the bare client failed")
    return dict(json.loads(out))


def spoken(records: list[dict[str, str]], ids: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Who spoke with whom, as the records have it: call -> agent's name and number called."""
    return {
        r["id"]: (ids[r["agent_id"].replace("-", "")], r["number"])
        for r in records
        if r["connected_at"]
    }


def mistaken(
    met: Mapping[str, Seen],
    shown: Mapping[str, tuple[float, str, str]],
    spoke: Mapping[str, tuple[str, str]],
    ids: Mapping[str, str],
) -> list[str]:
    """Calls whose bridge, screen pop and record do not name one agent and one number."""
    return [
        call
        for call, seen in met.items()
        if call not in shown
        or spoke.get(call) != shown[call][1:]
        or ids.get(seen.leg.split("-")[1]) != shown[call][1]
    ]


def _figures(
    calls: dict[str, Seen],
    pops: list[tuple[float, str, str, str]],
    spoke: dict[str, tuple[str, str]],
    ids: dict[str, str],
    phones: dict[str, Softphone | None],
    bare: dict[str, float],
) -> bool:
    met = {call: seen for call, seen in calls.items() if seen.both}
    bridging = [seen.both - seen.up for seen in met.values()]
    shown = {call: (at, agent, called) for at, agent, call, called in pops}
    popping = [shown[call][0] - seen.up for call, seen in met.items() if call in shown]
    wrong = len(mistaken(met, shown, spoke, ids))
    audio, voices = _voices(met, shown, phones)
    good = [line(NAME, "people met an agent", len(met), "calls", goal="1,000", ok=len(met) >= 1000)]
    ups = sorted(seen.up for seen in met.values())
    line(NAME, "answers per second", (len(ups) - 1) / (ups[-1] - ups[0]), "1/s", goal="20")
    for what, values, base in (
        ("Up to both in one bridge", bridging, bare),
        ("Up to pop read", popping, {}),
    ):
        for share, goal in ((0.5, None), (0.99, 10.0), (1.0, None)):
            name = "max" if share == 1.0 else f"p{share * 100:.0f}"
            value = percentile(values, share) * 1000
            good.append(
                line(
                    NAME, f"{what} {name}", value, "ms",
                    goal=f"at most {goal:.0f} ms" if goal else "",
                    baseline=base[name] * 1000 if base else None,
                    ok=value <= goal if goal else None,
                )
            )  # fmt: skip
    for share in (0.5, 0.99):
        line(
            NAME, f"Up to the person's first audio at the agent's phone p{share * 100:.0f}",
            percentile(audio, share) * 1000, "ms",
        )  # fmt: skip
    good.append(line(NAME, "wrong or missing record", wrong, "calls", goal="0", ok=wrong == 0))
    listened = sum(voices.values())
    good.append(
        line(
            NAME, f"another person's voice (of {listened} listened to)", voices["foreign"],
            "calls", goal="0", ok=voices["foreign"] == 0 and listened > 100,
        )
    )  # fmt: skip
    good.append(
        line(NAME, "no voice", voices["silent"], "calls", goal="0", ok=voices["silent"] == 0)
    )
    return all(good)


def _voices(
    met: dict[str, Seen],
    shown: dict[str, tuple[float, str, str]],
    phones: dict[str, Softphone | None],
) -> tuple[list[float], Counter[str]]:
    """Up to first audio in seconds; conversations by whose voice was heard: "right", "foreign"
    (a tone that is not the record's), "silent"."""
    audio: list[float] = []
    voices: Counter[str] = Counter()
    for call, seen in met.items():
        _, agent, called = shown.get(call, (0.0, "", ""))
        phone = phones.get(agent)
        if phone is None:
            continue
        mine = float(TONES[int(called[-1])])
        frames = [p for p in phone.dialog.heard if seen.both <= p.at <= seen.down]
        tones = [(p.at, _tone(p.payload)) for p in frames]
        heard = [at for at, tone in tones if tone == mine]
        if heard:
            audio.append(heard[0] - seen.up)
        if {tone for _, tone in tones if tone} - {mine, _BEEP}:
            voices["foreign"] += 1
        else:
            voices["right" if heard else "silent"] += 1
    return audio, voices


def _tone(payload: bytes) -> float:
    """The public's tone in a packet, 0 where there is none."""
    sound = from_ulaw(payload)
    found = [f for f in set(TONES) if power_at(sound, float(f)) > 0.8]
    return float(found[0]) if found else 0.0
