"""A person and an agent in one bridge, and that person's record on the screen: how fast, and never
mixed up.

Twenty agents, twenty answers a second. The instants come from a manager client of the bench's own
(when it read Newstate Up, and BridgeEnter of the second of the two) and from the agents' screens in
another process; all are read off the machine's one monotonic clock. A quarter of the agents have
phones that listen: there the voice must be the tone of the number on the screen.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.report import line, percentile, say
from tests.lab.callcentre import CallCentre
from tests.lab.process import until
from tests.lab.scenario import TONES, number
from tests.lab.servers import LabPostgres
from tests.lab.softphone import Softphone
from tests.lab.sounds import from_ulaw, power_at
from tests.lab.verdict import same_story

NAME = "bridge"
AGENTS, LISTENING, RATE, LEADS = 20, 5, 20.0, 1_100
_BEEP = 0.06  # s after the bridge in which the agent's beep may still sound


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


async def _measure(centre: CallCentre, phones: list[Softphone]) -> bool:
    campaign = await centre.campaign(NAME, max_attempts=1, retries={}, wrap_up=5)
    await centre.load(
        campaign,
        [{"number": number(behaviour=1, index=i), "name": f"P{i}"} for i in range(LEADS)],
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
    same_story(records, truth)
    ids = {a["id"].replace("-", ""): a["name"].lower() for a in await _agents(centre)}
    return _figures(listener.calls, pops, records_agents(records, ids), ids, dict(agents))


async def _agents(centre: CallCentre) -> list[dict[str, str]]:
    answer = await centre.post("/agents", method="GET")
    return list(answer["items"] if isinstance(answer, dict) else answer)


def records_agents(records: list[dict[str, str]], ids: dict[str, str]) -> dict[str, str]:
    """Who spoke with whom, as the records have it: call -> agent's name."""
    return {r["id"]: ids[r["agent_id"].replace("-", "")] for r in records if r["connected_at"]}


def _figures(
    calls: dict[str, Seen],
    pops: list[tuple[float, str, str, str]],
    spoke: dict[str, str],
    ids: dict[str, str],
    phones: dict[str, Softphone | None],
) -> bool:
    met = {call: seen for call, seen in calls.items() if seen.both}
    bridging = [seen.both - seen.up for seen in met.values()]
    shown = {call: (at, agent, called) for at, agent, call, called in pops}
    popping = [shown[call][0] - seen.up for call, seen in met.items() if call in shown]
    wrong = sum(
        call not in shown
        or ids.get(seen.leg.split("-")[1]) != shown[call][1]
        or spoke.get(call) != shown[call][1]
        for call, seen in met.items()
    )
    audio, foreign, listened = _voices(met, shown, phones)
    good = [line(NAME, "people met an agent", len(met), "calls", goal="1,000", ok=len(met) >= 1000)]
    ups = sorted(seen.up for seen in met.values())
    line(NAME, "answers per second", (len(ups) - 1) / (ups[-1] - ups[0]), "1/s", goal="20")
    for what, values in (("Up to both in one bridge", bridging), ("Up to pop read", popping)):
        line(NAME, f"{what} p50", percentile(values, 0.5) * 1000, "ms")
        p99 = percentile(values, 0.99) * 1000
        good.append(line(NAME, f"{what} p99", p99, "ms", goal="at most 10 ms", ok=p99 <= 10.0))
        line(NAME, f"{what} max", max(values) * 1000, "ms")
    for share in (0.5, 0.99):
        line(
            NAME, f"Up to the person's first audio at the agent's phone p{share * 100:.0f}",
            percentile(audio, share) * 1000, "ms",
        )  # fmt: skip
    good.append(line(NAME, "wrong or missing record", wrong, "calls", goal="0", ok=wrong == 0))
    good.append(
        line(
            NAME, f"another person's voice (of {listened} listened to)", foreign, "calls",
            goal="0", ok=foreign == 0 and listened > 100,
        )
    )  # fmt: skip
    return all(good)


def _voices(
    met: dict[str, Seen],
    shown: dict[str, tuple[float, str, str]],
    phones: dict[str, Softphone | None],
) -> tuple[list[float], int, int]:
    """Up to first audio in seconds; conversations with a voice that is not the record's; of how
    many."""
    audio: list[float] = []
    foreign = listened = 0
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
        listened += 1
        others = {tone for at, tone in tones if tone and at > seen.both + _BEEP} - {mine}
        foreign += bool(others) or not heard
    return audio, foreign, listened


def _tone(payload: bytes) -> float:
    """The public's tone in a packet, 0 where there is none."""
    sound = from_ulaw(payload)
    found = [f for f in set(TONES) if power_at(sound, float(f)) > 0.8]
    return float(found[0]) if found else 0.0
