"""AMI frames on the wire, as a protocol class in the place of panoramisk's, without its holes.

What differs from panoramisk's own protocol, and why: nothing is ever sent again after a reconnect
(a person would be called twice); every pending action fails when the link does; bytes are decoded
per frame, so a character split between two reads survives; a value with a line break is refused;
events go to one synchronous callback, so they keep their order and one failing handler harms no
other; a frame that makes no sense is counted and dropped; frames and buffers are bounded.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog
from panoramisk.ami_protocol import AMIProtocol

from telephony.ami.frame import END, Fields, Value, read_frame, write_action
from telephony.switch import NotSent, Unanswered

log = structlog.get_logger(__name__)

_MOST_FRAME = 256 * 1024  # bytes; an honest frame has a few hundred
_MOST_LISTED = 100_000  # events in one list; Asterisk itself ends at about 5,000 channels
#: Events of every call that nobody here reads: not worth the parsing.
_UNREAD = tuple(
    f"Event: {name}\r\n".encode()
    for name in ("DialBegin", "DialEnd", "BridgeCreate", "BridgeDestroy", "NewConnectedLine")
)
_MOST_VALUE = 1024  # characters in one value we send
_CONTROL = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Begun:
    """An action that was written and not yet answered."""

    name: str
    action_id: str
    future: asyncio.Future[list[Fields]]
    seconds: float  # it may take
    deadline: float  # second of the loop


def clean(name: str, value: Value) -> None:
    """Raise NotSent for a value that cannot be sent: line breaks, NUL, over-long ones."""
    for text in (value,) if isinstance(value, str) else value:
        if len(text) > _MOST_VALUE:
            raise NotSent(f"{name}: longer than {_MOST_VALUE} characters")
        if _CONTROL.search(text):
            raise NotSent(f"{name}: control characters are not allowed")


class Wire(AMIProtocol):  # type: ignore[misc]  # panoramisk has no types
    """One connection's life. Calls back synchronously: `on_event`, `on_banner`, `on_lost`."""

    def __init__(
        self,
        *,
        on_event: Callable[[Fields], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._on_event, self._on_lost = on_event, on_lost
        self._buffer = bytearray()
        self._pending: dict[str, Begun] = {}
        self._timer: asyncio.TimerHandle | None = None  # for the first of them that is overdue
        self._lists: dict[str, list[Fields]] = {}
        self._lost = False
        self._unwritten = b""  # what leaves in the loop's next turn
        self.banner = asyncio.get_running_loop().create_future()
        self.dropped = 0
        self.failed_handlers = 0
        self.transport: asyncio.Transport | None = None
        self.frames = 0

    # -- asyncio ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self._lost:
            return  # what comes after the end of a link is not believed
        self._buffer += data
        if not self.banner.done():
            self._read_banner()
            if not self.banner.done():
                return
        while not self._lost and (end := self._buffer.find(END)) >= 0:
            frame = bytes(self._buffer[:end])
            del self._buffer[: end + len(END)]
            self._frame(frame)
        if len(self._buffer) > _MOST_FRAME:
            self.close(f"a frame of more than {_MOST_FRAME} bytes")

    def connection_lost(self, exc: Exception | None) -> None:
        self.close(repr(exc) if exc else "closed by Asterisk")

    def eof_received(self) -> bool:
        return False

    # -- frames -----------------------------------------------------------------------------------

    def _read_banner(self) -> None:
        line, found, rest = bytes(self._buffer).partition(b"\r\n")
        if not found:
            if len(self._buffer) > 1024:
                self.close("no AMI banner")
            return
        if not line.startswith(b"Asterisk Call Manager/"):
            self.close("no AMI banner")
            return
        self._buffer = bytearray(rest)
        self.banner.set_result(line.decode("ascii", "replace"))

    def _frame(self, frame: bytes) -> None:
        self.frames += 1
        if frame.startswith(_UNREAD):
            return
        message = read_frame(frame)
        if message is None:
            self.dropped += 1
            return
        action_id = str(message.get("actionid") or "")
        if "event" not in message:
            self._response(action_id, message)
        elif action_id in self._lists:
            self._lists[action_id].append(message)
            if len(self._lists[action_id]) > _MOST_LISTED:
                self.close(f"a list of more than {_MOST_LISTED} events")
            elif str(message.get("eventlist", "")).lower() in ("complete", "cancelled"):
                self._resolve(action_id, self._lists.pop(action_id))
        else:
            try:
                self._on_event(message)
            except Exception:
                self.failed_handlers += 1
                log.exception("event handler failed", action="ami_handler_failed")

    def _response(self, action_id: str, message: Fields) -> None:
        if str(message.get("eventlist", "")).lower() == "start" and action_id in self._pending:
            self._lists[action_id] = [message]
        else:
            self._resolve(action_id, [message])

    def _resolve(self, action_id: str, messages: list[Fields]) -> None:
        begun = self._pending.pop(action_id, None)
        if begun is not None and not begun.future.done():
            begun.future.set_result(messages)

    # -- actions ----------------------------------------------------------------------------------

    def post(
        self, name: str, action_id: str, fields: Mapping[str, Value], *, at_once: bool = False
    ) -> None:
        """Write an action in the loop's next turn, together with others of this one, or `at_once`;
        raises NotSent when it certainly did not leave."""
        if self._lost or self.transport is None or self.transport.is_closing():
            raise NotSent("the AMI link is down")
        clean("Action", name)
        clean("ActionID", action_id)
        for key, value in fields.items():
            clean(key, value)
        action = write_action(name, action_id, fields)
        if not self._unwritten and not at_once:
            asyncio.get_running_loop().call_soon(self._write)
        self._unwritten += action
        if at_once:
            self._write()

    def _write(self) -> None:
        data, self._unwritten = self._unwritten, b""
        if data and self.transport is not None and not self._lost:
            self.transport.write(data)

    def begin(
        self,
        name: str,
        action_id: str,
        fields: Mapping[str, Value],
        *,
        timeout: float,
        at_once: bool = True,
    ) -> Begun:
        """Write an action; its response is waited for with `answer`, `timeout` seconds at most.
        Raises NotSent."""
        if action_id in self._pending:
            raise NotSent(f"action id {action_id} is in use")
        self.post(name, action_id, fields, at_once=at_once)
        loop = asyncio.get_running_loop()
        begun = Begun(name, action_id, loop.create_future(), timeout, loop.time() + timeout)
        self._pending[action_id] = begun
        self._watch(begun.deadline)
        return begun

    def _watch(self, deadline: float) -> None:
        # One timer for all: a timer for each action would wait out its seconds in the loop's heap
        # long after the answer has come, thousands of them.
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(deadline, self._look_for_overdue)

    def _look_for_overdue(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for begun in self._pending.values():
            if begun.deadline <= now:
                # Whether it happened is only known after a resynchronisation, and a link that does
                # not answer is of no use: it is made again.
                self.close(f"{begun.name} was not answered within {begun.seconds} s")
                return
        if self._pending:
            self._watch(min(begun.deadline for begun in self._pending.values()))

    async def answer(self, begun: Begun) -> list[Fields]:
        """The response to what was begun (or its whole list).

        Raises Unanswered when the link or the time was lost before the answer.
        """
        try:
            return await begun.future
        finally:
            self._pending.pop(begun.action_id, None)
            self._lists.pop(begun.action_id, None)

    async def ask(
        self, name: str, action_id: str, fields: Mapping[str, Value], *, timeout: float
    ) -> list[Fields]:
        """Write an action and wait for its response; raises NotSent or Unanswered."""
        return await self.answer(
            self.begin(name, action_id, fields, timeout=timeout, at_once=False)
        )

    def close(self, reason: str = "closed") -> None:
        """End the connection; all that waits fails as unanswered. Idempotent."""
        if self._lost:
            return
        self._lost = True
        if self.transport is not None:
            self.transport.abort()
        if not self.banner.done():
            self.banner.set_exception(ConnectionError(reason))
            self.banner.exception()  # retrieved: nobody may be waiting
        pending, self._pending = self._pending, {}
        self._lists.clear()
        self._buffer.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for begun in pending.values():
            if not begun.future.done():
                begun.future.set_exception(Unanswered(f"the AMI link was lost: {reason}"))
                begun.future.exception()
        self._on_lost(reason)
