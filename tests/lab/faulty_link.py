"""A TCP link that misbehaves on command, between a dialer and one Asterisk's manager interface.

Everything passes through until a fault is asked for. Frames from Asterisk can be repeated, split at
any byte or mixed with garbage; either direction can be delayed; links can be cut or go half-open.
A fault happens at once, or with `strike` in the moment in which a certain frame is about to pass.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from tests.lab.garbage import GARBAGE

_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Step:
    """A moment of a call's life, by the frame that passes then.

    `down`: from Asterisk to the dialer. `later`: seconds after that frame; 0 = before it passes.
    """

    name: str
    down: bool
    is_it: Callable[[bytes], bool] = field(repr=False)
    later: float = 0.0


@dataclass(slots=True)
class _Strike:
    step: Step
    fault: Callable[[], None]
    done: asyncio.Event


class FaultyLink:
    """`async with FaultyLink(port) as link:`; the dialer connects to `link.port`."""

    def __init__(self, target: int, *, rng: random.Random) -> None:
        self._target, self._rng = target, rng
        self.port = 0
        self._pipes: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._to_dialer: set[asyncio.StreamWriter] = set()
        self._in_a_frame: dict[asyncio.StreamWriter, bytes] = {}  # and the garbage that waits
        self._open = asyncio.Event()
        self._open.set()
        self._delay = 0.0
        self._split = self._repeat = False
        self._strike: _Strike | None = None
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
        """What passes arrives in pieces cut anywhere, until `mend`."""
        self.faults += 1
        self._split = True

    def repeat(self) -> None:
        """Events come twice, now and then, until `mend`."""
        self.faults += 1
        self._repeat = True

    def garbage(self) -> None:
        """Something that no Asterisk says, between two frames."""
        self.faults += 1
        for writer in self._to_dialer & self._writers:
            junk = self._rng.choice(GARBAGE)
            if writer in self._in_a_frame:
                self._in_a_frame[writer] += junk
            else:
                writer.write(junk)

    def mend(self) -> None:
        """Everything passes again."""
        self._delay, self._split, self._repeat = 0.0, False, False
        self._open.set()

    async def strike(self, step: Step, fault: Callable[[], None], *, timeout: float) -> bool:
        """Have the fault happen at the next such step; False if none came within `timeout`."""
        if self._strike is not None:
            raise RuntimeError("one strike at a time")
        strike = self._strike = _Strike(step, fault, asyncio.Event())
        try:
            async with asyncio.timeout(timeout):
                await strike.done.wait()
        except TimeoutError:
            return False
        finally:
            self._strike = None
        return True

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
        self._to_dialer.add(writer)
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
                rest = await self._deliver(target, rest + data, down=down)
                await target.drain()
        target.transport.abort()
        self._writers.discard(target)
        self._to_dialer.discard(target)

    async def _deliver(self, target: asyncio.StreamWriter, data: bytes, *, down: bool) -> bytes:
        """Whole frames go on; what is left waits for its end. Garbage fits between frames only."""
        whole, end, rest = data.rpartition(_END)
        if not end:
            # The greeting has no frame of its own.
            if down and data.startswith(b"Asterisk Call Manager"):
                target.write(data)
                return b""
            return data
        for frame in whole.split(_END):
            out = frame + _END
            struck = self._struck(out, down=down)
            if struck:  # a fault that holds up holds up this very frame
                await self._open.wait()
                await asyncio.sleep(self._delay)
            if down and self._repeat and b"Event: " in frame:
                out *= 2 if struck or self._rng.random() < 0.3 else 1
            if self._split and len(out) > 2:
                await self._in_two(target, out)
            else:
                target.write(out)
        return rest

    async def _in_two(self, target: asyncio.StreamWriter, out: bytes) -> None:
        at = self._rng.randrange(1, len(out))
        self._in_a_frame[target] = b""
        target.write(out[:at])
        await target.drain()
        await asyncio.sleep(0.001)  # the other side's loop reads the first piece alone
        target.write(out[at:] + self._in_a_frame.pop(target))

    def _struck(self, frame: bytes, *, down: bool) -> bool:
        """Whether a fault was waiting for this frame; then it has happened now."""
        strike = self._strike
        if strike is None or strike.step.down is not down or not strike.step.is_it(frame):
            return False
        self._strike = None
        if strike.step.later:
            asyncio.get_running_loop().call_later(strike.step.later, self._happen, strike)
            return False
        self._happen(strike)
        return True

    @staticmethod
    def _happen(strike: _Strike) -> None:
        strike.fault()
        strike.done.set()
