"""A kept AMI connection: login, pings, reconnection with jitter.

Nothing is queued while the link is down: an action then raises NotSent. After each login the owner
is asked to resynchronise before events are believed.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from telephony.ami.frame import Fields, Value
from telephony.ami.wire import Wire
from telephony.switch import NotSent, Refused, SwitchError
from telephony.tasks import Spawn, unwatched

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Times in seconds."""

    host: str
    port: int
    user: str
    secret: str
    answer: float = 5.0  # an action's answer
    ping: float = 5.0  # between pings; a half-open link is noticed after ping + answer
    connect: float = 5.0
    least_backoff: float = 0.2
    most_backoff: float = 5.0
    events: str = "on"


class Link:
    """One account's connection to one Asterisk, kept up until `stop`."""

    def __init__(
        self,
        settings: LinkSettings,
        *,
        on_event: Callable[[Fields], None],
        on_up: Callable[[], Awaitable[None]],
        on_down: Callable[[str], None],
        rng: random.Random,
        name: str = "",
        spawn: Spawn = unwatched,
        on_pong: Callable[[Fields], None] = lambda _: None,
    ) -> None:
        """`spawn` starts the task that keeps the connection; nothing may end that but `stop`."""
        self.name = name or f"ami {settings.host}:{settings.port}"
        self._spawn, self._on_pong = spawn, on_pong
        self._settings, self._on_event = settings, on_event
        self._on_up, self._on_down, self._rng = on_up, on_down, rng
        self._wire: Wire | None = None
        self._ids = itertools.count(1)
        self._task: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()
        self.up = False
        self.connects = 0
        self.last_error = ""

    async def start(self) -> None:
        if self._task is None:
            self._task = self._spawn(self.name, self._keep())

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._wire is not None:
            self._wire.close("stopped")

    def post(self, name: str, fields: Mapping[str, Value], *, action_id: str = "") -> None:
        """Write and do not wait; its response is ignored."""
        if self._wire is None or not self.up:
            raise NotSent("the AMI link is down")
        self._wire.post(name, action_id or self._next_id(), fields)

    async def ask(
        self, name: str, fields: Mapping[str, Value], *, action_id: str = ""
    ) -> list[Fields]:
        """The answer to one action; raises NotSent, Refused or Unanswered."""
        if self._wire is None or not self.up:
            raise NotSent("the AMI link is down")
        return await self._ask(self._wire, name, fields, action_id=action_id)

    def begin(
        self, name: str, fields: Mapping[str, Value]
    ) -> Callable[[], Coroutine[Any, Any, list[Fields]]]:
        """Write an action now, for when every fraction of a millisecond counts; the answer is
        awaited with what is returned, as `ask` does. Raises NotSent."""
        wire = self._wire
        if wire is None or not self.up:
            raise NotSent("the AMI link is down")
        begun = wire.begin(name, self._next_id(), fields, timeout=self._settings.answer)

        async def answer() -> list[Fields]:
            return _accepted(await wire.answer(begun))

        return answer

    def cut(self, reason: str) -> None:
        """Drop the connection; it is made again."""
        if self._wire is not None:
            self._wire.close(reason)

    async def _ask(
        self, wire: Wire, name: str, fields: Mapping[str, Value], *, action_id: str = ""
    ) -> list[Fields]:
        return _accepted(
            await wire.ask(
                name, action_id or self._next_id(), fields, timeout=self._settings.answer
            )
        )

    def _next_id(self) -> str:
        return f"d{next(self._ids)}"

    async def _keep(self) -> None:
        backoff = self._settings.least_backoff
        while True:
            self._gone.clear()
            try:
                await self._connect()
                backoff = self._settings.least_backoff
                await self._ping_until_gone()
            except (OSError, SwitchError, TimeoutError) as error:
                self.last_error = str(error)
                log.warning("AMI link failed", action="ami_failed", error=str(error))
            except Exception as error:  # what Asterisk said made no sense: from the beginning
                self.last_error = f"not understood: {type(error).__name__}"
                log.exception("AMI link failed", action="ami_failed", link=self.name)
            finally:
                self._went_down(self.last_error or "closed")
            # Full jitter: many dialers must not come back in step.
            await asyncio.sleep(self._rng.uniform(0.5, 1.0) * backoff)
            backoff = min(backoff * 2, self._settings.most_backoff)

    async def _connect(self) -> None:
        settings = self._settings
        loop = asyncio.get_running_loop()

        def lost(reason: str) -> None:
            self.last_error = reason
            self._gone.set()
            if wire is self._wire:
                self._went_down(reason)

        wire = Wire(on_event=self._on_event, on_lost=lost)
        async with asyncio.timeout(settings.connect):
            await loop.create_connection(lambda: wire, settings.host, settings.port)
            await wire.banner
        self._wire = wire
        try:
            await self._ask(
                wire,
                "Login",
                {
                    "Username": settings.user,
                    "Secret": settings.secret,
                    "Events": settings.events,
                },
            )
        except Refused as error:
            wire.close("login refused")
            raise Refused(f"AMI login refused for {settings.user}: {error}") from None
        self.up = True
        self.connects += 1
        self.last_error = ""
        await self._on_up()

    async def _ping_until_gone(self) -> None:
        while not self._gone.is_set():
            try:
                async with asyncio.timeout(self._settings.ping):
                    await self._gone.wait()
            except TimeoutError:
                self._on_pong((await self.ask("Ping", {}))[0])

    def _went_down(self, reason: str) -> None:
        wire, self._wire = self._wire, None
        was_up, self.up = self.up, False
        if wire is not None:
            wire.close(reason)
        if was_up:
            self._on_down(reason)


def _accepted(answer: list[Fields]) -> list[Fields]:
    if str(answer[0].get("response", "")).lower() in ("error", "fail", "failure"):
        raise Refused(str(answer[0].get("message") or "refused"))
    return answer
