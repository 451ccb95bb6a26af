"""A TCP link that misbehaves on command, between a dialer and one Asterisk's manager interface.

Everything passes through until a fault is asked for. Frames from Asterisk can be repeated, split at
any byte or mixed with garbage; either direction can be delayed; links can be cut or go half-open.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from types import TracebackType

_END = b"\r\n\r\n"
GARBAGE = (
    b"Event: Nonsense\r\nUniqueid: \xff\xfe\r\n\r\n",
    b"\r\n\r\n\r\n",
    b"Event: Hangup\r\nUniqueid: nobody\r\nCause: -9999999999\r\n\r\n",
    b"no colon at all\r\n\r\n",
    b"Event: Newstate\r\n" + b"X: " + b"y" * 5000 + b"\r\n\r\n",
)


class FaultyLink:
    """`async with FaultyLink(port) as link:`; the dialer connects to `link.port`."""

    def __init__(self, target: int, *, rng: random.Random) -> None:
        self._target, self._rng = target, rng
        self.port = 0
        self._pipes: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._delay = 0.0
        self._split = self._repeat = False
        self.faults = 0

    async def __aenter__(self) -> FaultyLink:
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
        self._cut()
        for pipe in list(self._pipes):
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)
        await self._server.wait_closed()

    # -- faults

    def cut(self) -> None:
        """Every connection ends now; new ones are taken."""
        self.faults += 1
        self._cut()

    def freeze(self) -> None:
        """Half-open: nothing passes and nobody is told, until `mend`."""
        self.faults += 1
        self._open.clear()

    def delay(self, seconds: float) -> None:
        """Whatever passes waits so long first, until `mend`."""
        self.faults += 1
        self._delay = seconds

    def split(self) -> None:
        """What Asterisk sends arrives in pieces cut anywhere, until `mend`."""
        self.faults += 1
        self._split = True

    def repeat(self) -> None:
        """Events come twice, now and then, until `mend`."""
        self.faults += 1
        self._repeat = True

    def garbage(self) -> None:
        """Something that no Asterisk says, between two frames."""
        self.faults += 1
        for writer in self._writers:
            if getattr(writer, "to_dialer", False):
                writer.write(self._rng.choice(GARBAGE))

    def mend(self) -> None:
        """Everything passes again."""
        self._delay, self._split, self._repeat = 0.0, False, False
        self._open.set()

    # -- plumbing

    def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            near, far = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        writer.to_dialer = True  # type: ignore[attr-defined]
        self._writers |= {writer, far}
        for source, target, down in ((reader, far, False), (near, writer, True)):
            pipe = asyncio.create_task(self._pipe(source, target, down=down), name="faulty-link")
            self._pipes.add(pipe)
            pipe.add_done_callback(self._pipes.discard)

    async def _pipe(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, down: bool
    ) -> None:
        rest = b""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while data := await source.read(65536):
                await self._open.wait()
                if self._delay:
                    await asyncio.sleep(self._delay)
                if not down:
                    target.write(data)
                else:
                    rest = await self._deliver(target, rest + data)
                await target.drain()
        target.transport.abort()
        self._writers.discard(target)

    async def _deliver(self, target: asyncio.StreamWriter, data: bytes) -> bytes:
        """Whole frames go on; what is left waits for its end. Garbage fits between frames only."""
        whole, end, rest = data.rpartition(_END)
        if not end:
            # The greeting has no frame of its own.
            if data.startswith(b"Asterisk Call Manager"):
                target.write(data)
                return b""
            return data
        for frame in whole.split(_END):
            out = frame + _END
            if self._repeat and b"Event: " in frame and self._rng.random() < 0.3:
                out += out
            if self._split and len(out) > 2:
                at = self._rng.randrange(1, len(out))
                target.write(out[:at])
                await target.drain()
                await asyncio.sleep(0)
                target.write(out[at:])
            else:
                target.write(out)
        return rest
