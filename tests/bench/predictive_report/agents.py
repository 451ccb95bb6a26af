"""Agents who talk and wrap up for as long as was drawn for the person they meet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from tests.bench.predictive_report.people import Person
from tests.lab.agents import LabAgent


class DrawnAgent(LabAgent):
    """`people` by number; when states began is kept in `states`: (monotonic s, state)."""

    def __init__(
        self, address: str, token: str, *, people: Mapping[str, Person], **others: Any
    ) -> None:
        super().__init__(address, token, talk=(0.0, 0.0), **others)
        self._people = people
        self._numbers: dict[str, str] = {}  # by call
        self.met: set[str] = set()  # numbers of those whom the screen said to be connected
        self.states: list[tuple[float, str]] = []

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "pop":
            self._numbers[message["data"]["call_id"]] = message["data"]["customer"]["number"]
        elif message["type"] in ("state", "snapshot"):
            self.states.append((time.monotonic(), message["data"]["state"]))
        elif message["type"] == "call" and message["data"]["state"] == "connected":
            self.met.add(self._numbers[message["data"]["call_id"]])
        super()._take(message)

    def _of(self, call_id: str) -> Person:
        return self._people[self._numbers[call_id]]

    async def _hang_up(self, call_id: str) -> None:
        await asyncio.sleep(self._of(call_id).talk)
        if self.call_id == call_id and self.state == "on_call":
            self.hung_up.add(call_id)
            await self.press("hang_up", when="on_call")

    async def _wrap_up(self, call_id: str) -> None:
        await asyncio.sleep(self._of(call_id).wrap)
        await self.press(
            "disposition", when="wrap_up", call_id=call_id, code=self._code, then="ready"
        )
