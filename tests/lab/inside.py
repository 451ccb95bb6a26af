"""A call centre whose dialer runs in the test's own process, for what only happens inside one:
a loop that is blocked, a task that dies. Its agents run on the same loop, and stand still with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import uvicorn

from api.runtime import Runtime, http_config, listen
from api.settings import Settings
from tests.lab.callcentre import CallCentre
from tests.lab.dialers import LabDialer
from tests.lab.process import until


class _Inside(LabDialer):
    """A dialer that is no process of its own."""

    begin: Callable[[], Awaitable[None]]

    async def start(self) -> None:
        await self.begin()


class InsideCentre(CallCentre):
    """`async with InsideCentre(...) as centre:`; `centre.runtime` is the dialer."""

    runtime: Runtime
    _server: uvicorn.Server
    _serving: asyncio.Task[None]

    def _new_dialer(self, port: int) -> LabDialer:
        made = _Inside(
            "dialer", host=self.host, port=port, folder=self.folder,
            settings=lambda port: self.settings(port=port),
        )  # fmt: skip
        made.begin = self._begin
        self.dialers.append(made)
        return made

    async def _begin(self) -> None:
        with patch.dict("os.environ", self.settings()):
            settings = Settings()
        self.runtime = Runtime(settings)
        await self.runtime.start()
        config = http_config(self.runtime.app, host=self.host, port=self.port)
        self._server = uvicorn.Server(config)
        self._server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        listening = listen(self.host, self.port)
        self._serving = asyncio.get_running_loop().create_task(
            self._server._serve([listening]), name="http"
        )
        await until(lambda: self._server.started, timeout=10, what="the server")
        await until(self.is_ready, timeout=30, what="the dialer")

    async def is_ready(self) -> bool:
        return (await self.http.get("/readyz")).status_code == 200

    async def _stop(self) -> None:
        for agent in self.agents:
            await agent.close()
        self.agents.clear()
        if hasattr(self, "runtime"):
            await self.runtime.stop()
        if hasattr(self, "_serving"):
            self._server.should_exit = True
            await asyncio.gather(self._serving, return_exceptions=True)
        await super()._stop()

    async def checks(self) -> dict[str, str]:
        """What /readyz says."""
        found: dict[str, str] = (await self.http.get("/readyz")).json()["checks"]
        return found

    async def metric(self, name: str) -> float:
        """The sum of a metric's samples."""
        lines = (await self.http.get("/metrics")).text.splitlines()
        values = [float(line.rpartition(" ")[2]) for line in lines
                  if line.startswith((f"{name} ", f"{name}{{"))]  # fmt: skip
        assert values, f"{name} is not exported"
        return sum(values)

    def task(self, name: str) -> asyncio.Task[Any]:
        """A task of the dialer, by its name."""
        (found,) = (t for t in asyncio.all_tasks() if t.get_name() == name)
        return found


@contextmanager
def noted(
    owner: Any, name: str, note: Callable[[str], None], *, takes: float = 0.0
) -> Iterator[None]:
    """Have an asynchronous method tell when it is begun ("+") and when it is done ("-"), and take
    so many seconds longer."""
    real = getattr(owner, name)

    async def wrapped(*arguments: Any, **named: Any) -> Any:
        note(f"+{name}")
        await asyncio.sleep(takes)
        found = await real(*arguments, **named)
        note(f"-{name}")
        return found

    with patch.object(owner, name, wrapped):
        yield
