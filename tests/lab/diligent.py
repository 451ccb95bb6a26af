"""An agent who goes on whatever happens, as people at a screen do."""

from __future__ import annotations

import asyncio
from typing import Any

from websockets.exceptions import WebSocketException

from tests.lab.agents import LabAgent

_AGAIN = 0.2  # s between tries
_PATIENCE = 2.0  # s until what was asked for should show
_WISHES = {"paused": "ready", "signed_out": "sign_in"}


class DiligentAgent(LabAgent):
    """The screen connects again by itself and resumes where it left off (at the next dialer,
    where there are several); the agent gets ready after a pause that nobody asked for, and signs in
    again when signed out."""

    def __init__(self, *args: Any, **behaviour: Any) -> None:
        super().__init__(*args, **behaviour)
        self.connections = 0
        self.gone = False  # left for good
        self._told = asyncio.Event()

    async def start(self) -> None:
        self._spawn(self._stay_connected())
        self._spawn(self._stay_at_work())
        await self.until("ready", "on_call", timeout=40)

    async def leave(self) -> None:
        """Sign out after the work at hand, and stay away."""
        self.gone = True
        while self.state != "signed_out":
            await self.command("sign_out")
            try:
                await self.until("signed_out", timeout=_PATIENCE)
            except TimeoutError:
                pass

    async def _stay_connected(self) -> None:
        while True:
            try:
                await self.connect(resume=bool(self.seq))
                assert self._socket is not None
                self.connections += 1
                await self._socket.wait_closed()
            except (OSError, WebSocketException, TimeoutError):
                pass
            if self.elsewhere:
                self.elsewhere.append(self.address)
                self.move(self.elsewhere.pop(0))
            await asyncio.sleep(_AGAIN)

    def _take(self, message: dict[str, Any]) -> None:
        super()._take(message)
        self._told.set()

    async def _stay_at_work(self) -> None:
        """Ask until it is so: what the dialer cannot do now, or what a cut swallowed, it may do a
        moment later."""
        while True:
            wish = None if self.gone else _WISHES.get(self.state)
            self._told.clear()
            if wish is not None:
                try:
                    asked = (await self.command(wish))["ok"]
                except (OSError, WebSocketException, TimeoutError):
                    asked = False
                if not asked:
                    await asyncio.sleep(_AGAIN)
                    continue
            try:
                async with asyncio.timeout(None if wish is None else _PATIENCE):
                    await self._told.wait()
            except TimeoutError:
                pass

    async def _hang_up(self, call_id: str) -> None:
        try:
            await super()._hang_up(call_id)
        except (WebSocketException, TimeoutError, OSError):
            pass  # whatever the screen shows after the next connection is done again

    async def _wrap_up(self, call_id: str) -> None:
        try:
            await super()._wrap_up(call_id)
        except (WebSocketException, TimeoutError, OSError):
            pass
