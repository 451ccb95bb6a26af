"""A bare manager client for these tests: it must share no code with the product it checks."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from types import TracebackType

Event = dict[str, str]


class BareAmi:
    """`async with BareAmi(port, user, secret) as ami:`; keeps every event it was sent."""

    def __init__(self, port: int, user: str, secret: str) -> None:
        self._port, self._user, self._secret = port, user, secret
        self.events: list[Event] = []
        self._changed = asyncio.Event()

    async def __aenter__(self) -> BareAmi:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        await self._reader.readline()
        self._task = asyncio.create_task(self._read(), name="bare-ami")
        try:
            answer = await self.ask("Login", Username=self._user, Secret=self._secret)
            assert answer["Response"] == "Success", answer
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def _read(self) -> None:
        while True:
            text = (await self._reader.readuntil(b"\r\n\r\n")).decode("utf-8", "replace")
            event: Event = {}
            for line in text.split("\r\n"):
                key, separator, value = line.partition(": ")
                if separator:
                    event[key] = value
            self.events.append(event)
            self._changed.set()

    async def ask(self, action: str, *, timeout: float = 5.0, **fields: str) -> Event:
        action_id = fields.pop("ActionID", uuid.uuid4().hex)
        lines = [f"Action: {action}", f"ActionID: {action_id}"]
        for key, value in fields.items():
            # Several variables travel as several headers.
            lines += [f"{key}: {item}" for item in value.split("\n")]
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        await self._writer.drain()
        return await self.event(timeout=timeout, ActionID=action_id, Response="")

    async def event(self, *, timeout: float = 10.0, count: int = 1, **wanted: str) -> Event:
        """The `count`-th event with these fields ('' = any value), once it is there."""
        async with asyncio.timeout(timeout):
            while len(found := self.all(**wanted)) < count:
                self._changed.clear()
                await self._changed.wait()
        return found[count - 1]

    def all(self, **wanted: str) -> list[Event]:
        return [
            e
            for e in self.events
            if all(k in e and value in ("", e[k]) for k, value in wanted.items())
        ]

    async def call(
        self,
        channel: str,
        *,
        context: str = "dialer-answered",
        seconds: float = 12.0,
        window: str = "1",
        kind: str = "call",
    ) -> str:
        """Originate; returns the id that every event of the call carries."""
        call_id = uuid.uuid4().hex
        answer = await self.ask(
            "Originate",
            ActionID=call_id,
            Channel=channel,
            Context=context,
            Exten="s",
            Priority="1",
            Timeout=str(int(seconds * 1000)),
            Async="true",
            CallerID='"+12025550100" <+12025550100>',
            ChannelId=call_id,
            Variable=f"DIALER_ID={call_id}\nDIALER_KIND={kind}\nDIALER_WINDOW={window}\n"
            "DIALER_ABANDON_SOUND=dialer-abandon",
        )
        assert answer["Response"] == "Success", answer
        return call_id

    async def leg(self, endpoint: str) -> str:
        """An agent's leg, parked."""
        leg_id = await self.call(f"PJSIP/{endpoint}", context="dialer-agent", kind="leg")
        await self.event(UserEvent="DialerLeg", LegId=leg_id, Stage="parked")
        await self.event(Event="BridgeEnter", Uniqueid=leg_id, BridgeTechnology="holding_bridge")
        return leg_id
