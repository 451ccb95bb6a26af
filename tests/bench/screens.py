"""Agents' and supervisors' screens in a process of their own: when did each pop arrive?

Reads a JSON line `{"address", "agents": [[name, token], ...], "supervisors": [token, ...]}`, prints
`ready` once all agents are signed in and ready, and at the end of its input one JSON object: `pops`
as `[second, call]` (the monotonic clock of the machine), `figures` received by each supervisor, and
`idle`, how late this process woke from short sleeps: what the machine itself adds to every figure.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time

from websockets.asyncio.client import connect

from tests.lab.agents import LabAgent

_AT_ONCE = 20  # sign-ins under way
_NAP = 0.02  # s


class Supervisor:
    """Watches the live figures."""

    def __init__(self, address: str, token: str) -> None:
        self._url = address.replace("http", "ws", 1) + "/api/v1/ws/live"
        self._token = token
        self.figures = 0

    async def watch(self) -> None:
        async with connect(self._url, max_size=1 << 22) as socket:
            await socket.send(json.dumps({"type": "auth", "token": self._token}))
            async for text in socket:
                if json.loads(text)["type"] == "figures":
                    self.figures += 1


async def _naps(late: list[float]) -> None:
    while True:
        due = time.monotonic() + _NAP
        await asyncio.sleep(_NAP)
        late.append(time.monotonic() - due)


async def main() -> None:
    loop = asyncio.get_running_loop()
    given = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    agents = [
        LabAgent(given["address"], token, name=name, talk=None, wrap=(0.2, 0.6))
        for name, token in given["agents"]
    ]
    supervisors = [Supervisor(given["address"], token) for token in given["supervisors"]]
    gate = asyncio.Semaphore(_AT_ONCE)

    async def begin(agent: LabAgent) -> None:
        async with gate:
            await agent.start()

    late: list[float] = []
    async with asyncio.TaskGroup() as group:
        for agent in agents:
            group.create_task(begin(agent))
    others = [asyncio.create_task(s.watch()) for s in supervisors]
    others.append(asyncio.create_task(_naps(late)))
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    for task in others:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*others)
    pops = [
        [at, message["data"]["call_id"]]
        for agent in agents
        for at, message in agent.messages
        if message["type"] == "pop"
    ]
    for agent in agents:
        await agent.close()
    figures = [s.figures for s in supervisors]
    print(json.dumps({"pops": pops, "figures": figures, "idle": late}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
