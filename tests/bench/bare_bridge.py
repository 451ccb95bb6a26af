"""The reference of `bridge`: a bare AMI client that dials people and bridges each to a free leg.

No states, no records, no screens: Newstate Up, one Bridge, a hang-up after half a second. It
borrows the legs of the dialer's agents, which stand parked meanwhile. Run as a process of its own;
reads the secret, the legs and the numbers, prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
import uuid
from collections import deque

from tests.bench.report import percentile

_TALK = 0.45  # s, as the agents of the bench talk


class Bridging(asyncio.Protocol):
    """Bridges in the moment of the answer, as far as a leg is free."""

    def __init__(self, legs: list[str]) -> None:
        self.took: list[float] = []
        self.ended = 0
        self.signed_in = asyncio.get_running_loop().create_future()
        self.changed = asyncio.Event()
        self._legs, self._free = frozenset(legs), deque(legs)
        self._mine: set[str] = set()
        self._up: dict[str, float] = {}
        self._leg: dict[str, str] = {}
        self._in: dict[str, set[str]] = {}  # bridge -> its members
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def send(self, action: str, **fields: str) -> None:
        lines = [f"Action: {action}", *(f"{k}: {v}" for k, v in fields.items())]
        self.transport.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    def dial(self, number: str, trunk: str) -> None:
        call = uuid.uuid4().hex
        self._mine.add(call)
        self.send(
            "Originate", ActionID=call, Channel=f"PJSIP/{number}@{trunk}",
            Context="dialer-answered", Exten="s", Priority="1", Timeout="20000", Async="true",
            ChannelId=call, Variable=f"DIALER_ID={call},DIALER_KIND=call,DIALER_WINDOW=2",
        )  # fmt: skip

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        frames = (self._rest + data).split(b"\r\n\r\n")
        self._rest = frames.pop()
        for frame in map(bytes.lstrip, frames):
            if frame.startswith((b"Event: Newstate", b"Event: Bridge", b"Event: Hangup\r")):
                text = frame.decode("utf-8", "replace")
                self._event(dict(part.partition(": ")[::2] for part in text.split("\r\n")), now)
            elif b"ActionID: login" in frame and not self.signed_in.done():
                self.signed_in.set_result(b"Response: Success" in frame)

    def _event(self, event: dict[str, str], now: float) -> None:
        kind, channel = event["Event"], event.get("Uniqueid", "")
        if kind == "Newstate" and event["ChannelState"] == "6" and channel in self._mine:
            if channel not in self._up and self._free:
                leg = self._free.popleft()
                self._up[channel], self._leg[channel] = now, leg
                self.send("Bridge", Channel1=channel, Channel2=leg, Tone="Channel2")
        elif kind == "Hangup" and channel in self._mine:
            self._mine.discard(channel)
            self.ended += 1
            self.changed.set()
        elif kind == "BridgeLeave":
            self._in.get(event["BridgeUniqueid"], set()).discard(channel)
        elif kind == "BridgeEnter" and event["BridgeTechnology"] == "holding_bridge":
            if channel in self._legs and channel not in self._free:
                self._free.append(channel)
        elif kind == "BridgeEnter":
            members = self._in.setdefault(event["BridgeUniqueid"], set())
            members.add(channel)
            for call in members & self._leg.keys():
                if self._leg[call] in members:
                    del self._leg[call]
                    self.took.append(now - self._up[call])
                    asyncio.get_running_loop().call_later(_TALK, self._hang_up, call)

    def _hang_up(self, call: str) -> None:
        self.send("Hangup", Channel=call)


async def bridge(
    port: int, user: str, secret: str, *, trunk: str, legs: list[str], numbers: list[str],
    rate: float,
) -> dict[str, float]:  # fmt: skip
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(lambda: Bridging(legs), "127.0.0.1", port)
    protocol.send("Login", ActionID="login", Username=user, Secret=secret)
    if not await asyncio.wait_for(protocol.signed_in, 5):
        raise RuntimeError("the manager account was refused")
    start = loop.time() + 0.1
    for index, number in enumerate(numbers):
        loop.call_at(start + index / rate, protocol.dial, number, trunk)
    async with asyncio.timeout(len(numbers) / rate + 30):
        while protocol.ended < len(numbers):
            protocol.changed.clear()
            await protocol.changed.wait()
    protocol.transport.close()
    return {
        "calls": len(protocol.took),
        "p50": percentile(protocol.took, 0.5),
        "p99": percentile(protocol.took, 0.99),
        "max": max(protocol.took),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("port", "user", "trunk", "rate"):
        parser.add_argument(f"--{name}", required=True)
    given = parser.parse_args()
    told = json.load(sys.stdin)  # a secret does not belong on a command line
    print(
        json.dumps(
            asyncio.run(
                bridge(
                    int(given.port), given.user, told["secret"],
                    trunk=given.trunk, legs=told["legs"], numbers=told["numbers"],
                    rate=float(given.rate),
                )
            )
        )
    )  # fmt: skip
