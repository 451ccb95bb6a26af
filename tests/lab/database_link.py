"""A TCP link between dialers and PostgreSQL that breaks on command, also inside of a commit.

It reads what clients send, so that a test can hold a COMMIT at the very moment it passes, and then
decide what became of it: never arrived, or carried out with the answer lost on the way back.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from pathlib import Path
from types import TracebackType

_PROTOCOL_3 = 196608  # the code of the message that begins a session
_COMMIT = b"COMMIT;\x00"
_IDLE = b"Z\x00\x00\x00\x05I"  # ready for the next query, and in no transaction


class _Session:
    """One connection of a client, and what its transaction did so far."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client, self.server = client, server
        self.begun = self.deaf = False
        self.commits = False  # the message noted last ends a transaction
        self._open = self._bound = False
        self.answered = asyncio.Event()
        self._statements: dict[bytes, bytes] = {}
        self.done: list[bytes] = []

    def cut(self) -> None:
        for writer in (self.client, self.server):
            writer.transport.abort()

    def note(self, message: bytes) -> None:
        """Remember which statements the transaction ran: they are prepared once, and named. One
        outside of BEGIN and COMMIT is its own, committed by the Sync behind it."""
        kind, body = message[:1], message[5:]
        self.commits = False
        if kind == b"P":
            name, query, _ = body.split(b"\x00", 2)
            self._statements[name] = query
        elif kind == b"B":
            _, name, _ = body.split(b"\x00", 2)
            if not self._open:
                self.done.clear()
            self.done.append(self._statements.get(name, b""))
            self._bound = True
        elif kind == b"S":
            self.commits = self._bound and not self._open
            self._bound = False
        elif kind == b"Q":
            if body.startswith(b"BEGIN"):
                self.done.clear()
            self._open = body.startswith(b"BEGIN")
            self.commits = body == _COMMIT
            self.done.append(body)


class HeldCommit:
    """A COMMIT that has left the client and has not reached the server."""

    def __init__(self, session: _Session, message: bytes) -> None:
        self._session, self._message = session, message
        self.decided = asyncio.Event()

    def cut(self) -> None:
        """The connection ends here and now: the client hears nothing, and a COMMIT that was not
        sent never happened."""
        self._session.cut()
        self.decided.set()

    def send(self) -> None:
        """Let it reach the server; the answer does not come back."""
        self._session.deaf = True
        self._session.server.write(self._message)

    async def carried_out(self, *, timeout: float = 10.0) -> None:
        """Let it reach the server, and wait until the server has said that it is committed."""
        self.send()
        async with asyncio.timeout(timeout):
            await self._session.answered.wait()


class DatabaseLink:
    """`async with DatabaseLink(server.socket) as link:`; dialers use `link.through(url)`."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self.port = 0
        self._sessions: set[_Session] = set()
        self._pipes: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._wanted: tuple[bytes, asyncio.Future[HeldCommit]] | None = None

    def through(self, url: str) -> str:
        """The same database by way of this link."""
        name = url.partition("@/")[2].partition("?")[0]
        return f"postgresql+asyncpg://dialer@127.0.0.1:{self.port}/{name}"

    async def __aenter__(self) -> DatabaseLink:
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
        self.mend()
        self.cut()
        for pipe in list(self._pipes):
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)
        await self._server.wait_closed()

    # -- faults

    def cut(self) -> int:
        """Every connection ends now; new ones are taken. Returns how many there were."""
        count = len(self._sessions)
        for session in list(self._sessions):
            session.cut()
        return count

    def freeze(self) -> None:
        """Half-open: nothing passes and nobody is told, until `mend`."""
        self._open.clear()

    def mend(self) -> None:
        self._open.set()

    def move(self, target: Path) -> None:
        """New connections go to another server, as after a failover."""
        self._target = target

    async def commit(self, of: str = "", *, timeout: float = 30.0) -> HeldCommit:
        """The next COMMIT of a transaction that ran a statement with `of` in it, held back."""
        future: asyncio.Future[HeldCommit] = asyncio.get_running_loop().create_future()
        self._wanted = (of.encode(), future)
        try:
            async with asyncio.timeout(timeout):
                return await future
        finally:
            self._wanted = None

    # -- plumbing

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            near, far = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.transport.abort()
            return
        session = _Session(writer, far)
        self._sessions.add(session)
        for work in (self._up(session, reader), self._down(session, near)):
            pipe = asyncio.create_task(work, name="database-link")
            self._pipes.add(pipe)
            pipe.add_done_callback(self._pipes.discard)

    async def _up(self, session: _Session, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                message = await self._message(session, reader)
                await self._open.wait()
                if (held := self._hold(session, message)) is not None:
                    await held.decided.wait()
                    break
                session.server.write(message)
                await session.server.drain()
        self._gone(session)

    async def _message(self, session: _Session, reader: asyncio.StreamReader) -> bytes:
        kind = await reader.readexactly(1) if session.begun else b""
        length = await reader.readexactly(4)
        body = await reader.readexactly(struct.unpack("!I", length)[0] - 4)
        if session.begun:
            session.note(kind + length + body)
        elif struct.unpack("!I", body[:4])[0] == _PROTOCOL_3:
            session.begun = True
        return kind + length + body

    def _hold(self, session: _Session, message: bytes) -> HeldCommit | None:
        if self._wanted is None or not session.commits:
            return None
        of, future = self._wanted
        if future.done() or not any(of in statement for statement in session.done):
            return None
        held = HeldCommit(session, message)
        future.set_result(held)
        return held

    async def _down(self, session: _Session, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                await self._open.wait()
                if session.deaf:
                    if _IDLE in data:
                        session.answered.set()
                    continue
                session.client.write(data)
                await session.client.drain()
        if not session.deaf:  # one that holds a commit is cut by who holds it
            self._gone(session)

    def _gone(self, session: _Session) -> None:
        session.cut()
        self._sessions.discard(session)
