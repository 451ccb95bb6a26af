"""Agents as programs: a websocket client that takes pops, talks for a while, and disposes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Callable
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect


class LabAgent:
    """Signs in, gets ready, hangs up after `talk` seconds, wraps up for `wrap` seconds.

    `talk` None: the agent waits for the customer to hang up. Everything received is in `messages`
    with the monotonic second at which it was read.
    """

    def __init__(
        self,
        address: str,
        token: str,
        *,
        name: str = "",
        talk: tuple[float, float] | None = (2.0, 6.0),
        wrap: tuple[float, float] = (0.2, 1.0),
        code: str = "success",
        rng: random.Random | None = None,
        on_message: Callable[[LabAgent, dict[str, Any]], None] | None = None,
    ) -> None:
        self.move(address)
        self._token, self.name = token, name
        self._talk, self._wrap, self._code = talk, wrap, code
        self._rng = rng or random.Random(name)
        self._on_message = on_message
        self._ids = itertools.count(1)
        self._replies: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._socket: ClientConnection | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self.messages: list[tuple[float, dict[str, Any]]] = []
        self.state = ""
        self.seq = ""
        self.call_id = ""
        self._changed = asyncio.Event()
        self.ready_again = True
        self.elsewhere: list[str] = []  # other dialers that could be connected to
        self.hung_up: set[str] = set()  # calls that this agent wanted to end

    def move(self, address: str) -> None:
        """Connect to this dialer from the next time on."""
        self.address = address
        self._url = address.replace("http", "ws", 1) + "/api/v1/ws/agent"

    async def start(self) -> None:
        """Connect, sign in, wait for the phone, get ready."""
        await self.connect()
        if self.state == "signed_out":
            await self.command("sign_in")
        await self.until("paused", "ready", "on_call", "wrap_up")
        if self.state == "paused":
            await self.command("ready")

    async def connect(self, *, resume: bool = False) -> None:
        """Open the socket; the first message tells the state."""
        self._socket = await connect(self._url, max_size=1 << 20)
        await self._socket.send(
            orjson.dumps(
                {"type": "auth", "token": self._token, "resume": self.seq if resume else None}
            ).decode()
        )
        self._changed.clear()
        self._spawn(self._read(self._socket))
        if not resume:
            await asyncio.wait_for(self._changed.wait(), 10)

    async def cut(self) -> None:
        """Lose the socket."""
        if self._socket is not None:
            await self._socket.close()

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._socket is not None:
            with contextlib.suppress(Exception):
                await self._socket.close()

    async def command(self, kind: str, **data: Any) -> dict[str, Any]:
        """Send and wait for the reply; a refusal comes back with ok false."""
        assert self._socket is not None
        number = f"c{next(self._ids)}"
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._replies[number] = future
        await self._socket.send(orjson.dumps({"type": kind, "id": number, "data": data}).decode())
        try:
            return await asyncio.wait_for(future, 10)
        finally:
            self._replies.pop(number, None)

    async def until(self, *states: str, timeout: float = 20) -> None:
        """Wait until the agent is in one of these states."""
        async with asyncio.timeout(timeout):
            while self.state not in states:
                self._changed.clear()
                await self._changed.wait()

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work, name=f"agent-{self.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, socket: ClientConnection) -> None:
        with contextlib.suppress(Exception):
            async for text in socket:
                self._take(orjson.loads(text))

    def _take(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "reply":
            future = self._replies.get(message["id"])
            if future is not None and not future.done():
                future.set_result(message)
            return
        self.messages.append((time.monotonic(), message))
        self.seq = message["seq"]
        data = message["data"]
        if self._on_message is not None:
            self._on_message(self, message)
        if kind in ("state", "snapshot"):
            self.state = data["state"]
            self._changed.set()
            if kind == "snapshot" and data.get("call"):  # in the middle of something: go on
                self.call_id = data["call"]["call_id"]
                if self.state == "on_call" and self._talk is not None:
                    self._spawn(self._hang_up(self.call_id))
                elif self.state == "wrap_up":
                    self._spawn(self._wrap_up(self.call_id))
            if kind == "state" and self.state == "wrap_up":
                self._spawn(self._wrap_up(self.call_id))
        elif kind == "pop":
            self.call_id = data["call_id"]
        elif kind == "call" and data["state"] == "connected" and self._talk is not None:
            self._spawn(self._hang_up(data["call_id"]))

    async def _hang_up(self, call_id: str) -> None:
        assert self._talk is not None
        await asyncio.sleep(self._rng.uniform(*self._talk))
        if self.call_id == call_id and self.state == "on_call":
            self.hung_up.add(call_id)
            await self.press("hang_up", when="on_call")

    async def _wrap_up(self, call_id: str) -> None:
        await asyncio.sleep(self._rng.uniform(*self._wrap))
        await self.press(
            "disposition",
            when="wrap_up",
            call_id=call_id,
            code=self._code,
            then="ready" if self.ready_again else "pause",
        )

    async def press(self, kind: str, *, when: str, **data: Any) -> None:
        """Send a command as a person does, who presses again while nothing happens for want of an
        engine, as long as the screen shows the same state."""
        while self.state == when:
            try:
                reply = await self.command(kind, **data)
            except TimeoutError:
                continue
            if reply["ok"] or reply["problem"]["status"] != 503:
                return
            await asyncio.sleep(0.5)
