"""A client of the live websocket: the newest figures of each pool, through cuts and restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import orjson
from pydantic import ValidationError
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from api.cli.board.figures import Figures, clean, merged
from telephony.clock import Clock

_REFUSED = 1008  # the dialer will not talk to this token
_LONGEST_PAUSE = 5.0


class Refused(Exception):
    """The dialer does not want this board, and says why."""


class LiveFeed:
    """`run` keeps `figures` fresh; `problem` says in words what is wrong, '' when nothing is."""

    def __init__(self, address: str, token: Callable[[], Awaitable[str]], *, clock: Clock) -> None:
        """`token`: asked for at every connection."""
        self._url = address.replace("http", "ws", 1).rstrip("/") + "/api/v1/ws/live"
        self._token, self._clock = token, clock
        self._pools: dict[str, Figures] = {}
        self._heard: dict[str, float] = {}
        self.problem = "connecting"
        self.arrived = asyncio.Event()  # new figures, or a new problem

    @property
    def figures(self) -> Figures | None:
        """All pools' newest figures; a pool that is silent for a minute is gone."""
        now = self._clock.monotonic()
        newest = max(self._heard.values(), default=now)
        return merged(
            figures for pool, figures in self._pools.items() if newest - self._heard[pool] < 60
        )

    @property
    def age(self) -> float:
        """Seconds since the newest figures came."""
        return self._clock.monotonic() - max(self._heard.values(), default=self._clock.monotonic())

    async def run(self) -> None:
        """Until cancelled; raises Refused."""
        pause = 0.2
        while True:
            heard = False
            try:
                async with connect(self._url, max_size=1 << 24) as socket:
                    token = await self._token()
                    await socket.send(orjson.dumps({"type": "auth", "token": token}).decode())
                    self._say("")
                    while True:
                        self._take(await socket.recv())
                        heard, pause = True, 0.2
            except ConnectionClosed as closed:
                if closed.rcvd is not None and closed.rcvd.code == _REFUSED and not heard:
                    raise Refused(clean(closed.rcvd.reason) or "refused") from None
                self._say("the dialer closed the connection")
            except InvalidURI:
                raise Refused(f"{clean(self._url)} is no address") from None
            except InvalidHandshake as error:
                self._say(f"no dialer answers there ({clean(error)[:60]})")
            except (OSError, TimeoutError) as error:
                self._say(f"no connection to the dialer ({type(error).__name__})")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _take(self, text: str | bytes) -> None:
        try:
            message = orjson.loads(text)
            if not isinstance(message, dict) or message.get("type") != "figures":
                return  # a newer dialer says more
            figures = Figures.model_validate(message.get("data"))
        except (orjson.JSONDecodeError, ValidationError):
            self._say("the dialer's figures are not understood: is this board older than it?")
            return
        self._pools[figures.pool] = figures
        self._heard[figures.pool] = self._clock.monotonic()
        self._say("")

    def _say(self, problem: str) -> None:
        self.problem = problem
        self.arrived.set()
