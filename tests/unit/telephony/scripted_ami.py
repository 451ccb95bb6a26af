"""An AMI server that does what a test tells it to, and misbehaves on purpose."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from types import TracebackType

Action = dict[str, str]
Reply = Callable[["ScriptedAmi", Action], None]


def frame(fields: Mapping[str, str]) -> bytes:
    return ("".join(f"{k}: {v}\r\n" for k, v in fields.items()) + "\r\n").encode()


class ScriptedAmi:
    """`async with ScriptedAmi() as ami:`; keeps every action it read."""

    def __init__(self, *, secret: str = "right") -> None:
        self.secret = secret
        self.actions: list[Action] = []
        self.raw = bytearray()
        self.connections = 0
        self.channels: list[Mapping[str, str]] = []
        self.bridges: list[Mapping[str, str]] = []
        self.started = "10:00:00"
        self.replies: dict[str, Reply] = {}
        self.silent = False
        self.port = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._changed = asyncio.Event()

    async def __aenter__(self) -> ScriptedAmi:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    # -- what tests do ----------------------------------------------------------------------------

    def of(self, name: str) -> list[Action]:
        return [a for a in self.actions if a["Action"] == name]

    async def wait(self, name: str, *, count: int = 1) -> Action:
        async with asyncio.timeout(5):
            while len(self.of(name)) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.of(name)[count - 1]

    def send(self, data: bytes | Mapping[str, str]) -> None:
        raw = data if isinstance(data, bytes) else frame(data)
        for writer in self._writers:
            writer.write(raw)

    def answer(self, action: Action, **fields: str) -> None:
        self.send({"Response": "Success", "ActionID": action["ActionID"], **fields})

    def refuse(self, action: Action, message: str) -> None:
        self.send({"Response": "Error", "ActionID": action["ActionID"], "Message": message})

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def restart(self) -> None:
        """Another process with the same address: no channels, another start time."""
        self.channels, self.started = [], "11:11:11"
        self.cut()

    # -- the server -------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        writer.write(b"Asterisk Call Manager/11.0.0\r\n")
        try:
            while True:
                block = await reader.readuntil(b"\r\n\r\n")
                self.raw += block
                pairs = re.findall(r"(?m)^([^:\r\n]+): ?([^\r\n]*)", block.decode())
                action = dict(pairs) | {"all": block.decode()}
                self.actions.append(action)
                self._changed.set()
                if not self.silent:
                    self._reply(action)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            if writer in self._writers:
                self._writers.remove(writer)

    def _reply(self, action: Action) -> None:
        name = action["Action"]
        if name in self.replies:
            self.replies[name](self, action)
        elif name == "Login" and action["Secret"] != self.secret:
            self.refuse(action, "Authentication failed")
        elif name == "CoreStatus":
            self.answer(action, CoreStartupDate="2026-01-01", CoreStartupTime=self.started)
        elif name == "CoreShowChannels":
            self._list(action, "CoreShowChannel", self.channels)
        elif name == "BridgeList":
            self._list(action, "BridgeListItem", self.bridges)
        else:
            self.answer(action, Message="done")

    def _list(self, action: Action, event: str, items: list[Mapping[str, str]]) -> None:
        self.answer(action, EventList="start")
        for item in items:
            self.send({"Event": event, "ActionID": action["ActionID"], **item})
        done = {"Event": f"{event}sComplete", "EventList": "Complete"}
        self.send({**done, "ActionID": action["ActionID"]})
