"""The reference: a bare AMI client that dials the same list and does nothing else.

No rules, no writes, no states: a socket, Originates at a fixed rate, hang-ups counted. Run as a
process of its own; prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import time
import uuid

from tests.bench.report import percentile


class Dialing(asyncio.Protocol):
    """Counts responses and hang-ups as they come."""

    def __init__(self) -> None:
        self.ended = 0
        self.signed_in = asyncio.get_running_loop().create_future()
        self._rest = b""
        self._wanted = 0
        self._done = asyncio.Event()

    async def until_ended(self, count: int) -> None:
        self._wanted = count
        await self._done.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        frames = (self._rest + data).split(b"\r\n\r\n")
        self._rest = frames.pop()
        for frame in map(bytes.lstrip, frames):  # some events leave an empty line behind
            if frame.startswith(b"Event: Hangup\r\n"):
                self.ended += 1
                if self.ended == self._wanted:
                    self._done.set()
            elif b"ActionID: login" in frame and not self.signed_in.done():
                self.signed_in.set_result(b"Response: Success" in frame)


async def dial(
    port: int,
    user: str,
    secret: str,
    *,
    trunk: str,
    numbers: list[str],
    rate: float,
    patience: float,
) -> dict[str, float]:
    """`patience`: s after the last call in which all should be over."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(Dialing, "127.0.0.1", port)
    login = f"Action: Login\r\nActionID: login\r\nUsername: {user}\r\nSecret: {secret}\r\n\r\n"
    transport.write(login.encode())
    if not await asyncio.wait_for(protocol.signed_in, 5):
        raise RuntimeError("the manager account was refused")
    late: list[float] = []
    cpu, start = time.process_time(), loop.time() + 0.1

    def send(number: str, due: float) -> None:
        call = uuid.uuid4().hex
        transport.write(
            (
                f"Action: Originate\r\nActionID: {call}\r\nChannel: PJSIP/{number}@{trunk}\r\n"
                "Context: dialer-answered\r\nExten: s\r\nPriority: 1\r\nTimeout: 20000\r\n"
                f"Async: true\r\nChannelId: {call}\r\nVariable: DIALER_ID={call}\r\n"
                "Variable: DIALER_KIND=call\r\nVariable: DIALER_WINDOW=2\r\n\r\n"
            ).encode()
        )
        late.append(loop.time() - due)

    for index, number in enumerate(numbers):
        due = start + index / rate
        loop.call_at(due, send, number, due)
    most = len(numbers) / rate + patience
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(protocol.until_ended(len(numbers)), most)
    seconds = loop.time() - start
    transport.close()
    return {
        "calls": len(numbers),
        "ended": protocol.ended,
        "seconds": seconds,
        "cpu": time.process_time() - cpu,
        "p50": percentile(late, 0.5),
        "p95": percentile(late, 0.95),
        "p99": percentile(late, 0.99),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("port", "user", "trunk", "rate"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--patience", type=float, default=30.0)
    given = parser.parse_args()
    secret, *numbers = sys.stdin.read().split()  # a secret does not belong on a command line
    print(
        json.dumps(
            asyncio.run(
                dial(
                    int(given.port), given.user, secret,
                    trunk=given.trunk, numbers=numbers, rate=float(given.rate),
                    patience=given.patience,
                )
            )
        )
    )  # fmt: skip
