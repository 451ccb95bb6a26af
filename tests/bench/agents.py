"""Agents' screens in a process of their own: when did each pop arrive, and what did it say?

Reads a JSON line `{"address", "talk", "wrap", "agents": [[name, token], ...]}`, prints `ready` once
all are signed in and ready, and at the end of its input one JSON list of `[at, agent, call id,
number]`, `at` being the monotonic second (one clock for all processes of a machine) of the read.
"""

from __future__ import annotations

import asyncio
import json
import sys

from tests.lab.agents import LabAgent


async def main() -> None:
    loop = asyncio.get_running_loop()
    given = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    agents = [
        LabAgent(
            given["address"],
            token,
            name=name,
            talk=tuple(given["talk"]),
            wrap=tuple(given.get("wrap", (0.01, 0.02))),
        )
        for name, token in given["agents"]
    ]
    await asyncio.gather(*(agent.start() for agent in agents))
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    pops = [
        [at, agent.name, message["data"]["call_id"], message["data"]["customer"]["number"]]
        for agent in agents
        for at, message in agent.messages
        if message["type"] == "pop"
    ]
    for agent in agents:
        await agent.close()
    print(json.dumps(pops), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
