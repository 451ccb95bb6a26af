"""AMI frames on the wire: panoramisk parses and formats them, this class closes its holes.

What differs from panoramisk's own protocol, and why: nothing is ever sent again after a reconnect
(a person would be called twice); every pending action fails when the link does; bytes are decoded
per frame, so a character split between two reads survives; a value with a line break is refused;
events go to one synchronous callback, so they keep their order and one failing handler harms no
other; a frame that makes no sense is counted and dropped; frames and buffers are bounded.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog
from panoramisk.actions import Action
from panoramisk.ami_protocol import AMIProtocol
from panoramisk.message import Message

from telephony.switch import NotSent, Unanswered

log = structlog.get_logger(__name__)

Value = str | Sequence[str]

_END = b"\r\n\r\n"
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
    future: asyncio.Future[list[Message]]


def clean(name: str, value: Value) -> Value:
    """`value`, if it can be sent; raises NotSent for line breaks, NUL and over-long values."""
    for text in (value,) if isinstance(value, str) else value:
        if len(text) > _MOST_VALUE:
            raise NotSent(f"{name}: longer than {_MOST_VALUE} characters")
        if _CONTROL.search(text):
            raise NotSent(f"{name}: control characters are not allowed")
    return value


class Wire(AMIProtocol):  # type: ignore[misc]  # panoramisk has no types
    """One connection's life. Calls back synchronously: `on_event`, `on_banner`, `on_lost`."""

    def __init__(
        self,
        *,
        on_event: Callable[[Message], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._on_event, self._on_lost = on_event, on_lost
        self._buffer = bytearray()
        self._pending: dict[str, asyncio.Future[list[Message]]] = {}
        self._lists: dict[str, list[Message]] = {}
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
        while not self._lost and (end := self._buffer.find(_END)) >= 0:
            frame = bytes(self._buffer[:end])
            del self._buffer[: end + len(_END)]
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
        try:
            message = Message.from_line(frame.decode("utf-8", "replace").strip())
        except Exception:
            message = None
        if message is None or ("event" not in message and "response" not in message):
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

    def _response(self, action_id: str, message: Message) -> None:
        if str(message.get("eventlist", "")).lower() == "start" and action_id in self._pending:
            self._lists[action_id] = [message]
        else:
            self._resolve(action_id, [message])

    def _resolve(self, action_id: str, messages: list[Message]) -> None:
        future = self._pending.pop(action_id, None)
        if future is not None and not future.done():
            future.set_result(messages)

    # -- actions ----------------------------------------------------------------------------------

    def post(
        self, name: str, action_id: str, fields: Mapping[str, Value], *, at_once: bool = False
    ) -> None:
        """Write an action in the loop's next turn, together with others of this one, or `at_once`;
        raises NotSent when it certainly did not leave."""
        if self._lost or self.transport is None or self.transport.is_closing():
            raise NotSent("the AMI link is down")
        action = Action(
            {
                "Action": clean("Action", name),
                "ActionID": clean("ActionID", action_id),
                **{key: clean(key, value) for key, value in fields.items()},
            }
        )
        if not self._unwritten and not at_once:
            asyncio.get_running_loop().call_soon(self._write)
        self._unwritten += str(action).encode("utf-8")
        if at_once:
            self._write()

    def _write(self) -> None:
        data, self._unwritten = self._unwritten, b""
        if data and self.transport is not None and not self._lost:
            self.transport.write(data)

    def begin(
        self, name: str, action_id: str, fields: Mapping[str, Value], *, at_once: bool = True
    ) -> Begun:
        """Write an action; its response is waited for with `answer`. Raises NotSent."""
        if action_id in self._pending:
            raise NotSent(f"action id {action_id} is in use")
        future: asyncio.Future[list[Message]] = asyncio.get_running_loop().create_future()
        self._pending[action_id] = future
        try:
            self.post(name, action_id, fields, at_once=at_once)
        except BaseException:
            self._pending.pop(action_id, None)
            raise
        return Begun(name, action_id, future)

    async def answer(self, begun: Begun, *, timeout: float) -> list[Message]:
        """The response to what was begun (or its whole list).

        Raises Unanswered when the link or the time was lost before the answer.
        """
        try:
            async with asyncio.timeout(timeout):  # wait_for can lose a cancellation on 3.11
                return await begun.future
        except TimeoutError:
            # Whether it happened is only known after a resynchronisation, and a link that does not
            # answer is of no use: it is made again.
            self.close(f"{begun.name} was not answered within {timeout} s")
            raise Unanswered(f"{begun.name}: no answer within {timeout} s") from None
        finally:
            self._pending.pop(begun.action_id, None)
            self._lists.pop(begun.action_id, None)

    async def ask(
        self, name: str, action_id: str, fields: Mapping[str, Value], *, timeout: float
    ) -> list[Message]:
        """Write an action and wait for its response; raises NotSent or Unanswered."""
        begun = self.begin(name, action_id, fields, at_once=False)
        return await self.answer(begun, timeout=timeout)

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
        for future in pending.values():
            if not future.done():
                future.set_exception(Unanswered(f"the AMI link was lost: {reason}"))
                future.exception()
        self._on_lost(reason)
