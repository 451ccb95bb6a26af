"""A small SIP phone for listening tests: it answers, sends a tone, keeps what it hears.

SIPp cannot tell what arrives at its ear; this phone can, with the arrival time of every packet.
UDP and PCMU only, one call at a time. As an agent's phone or as a called person.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import struct
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from tests.lab.sounds import from_ulaw, power_at, sine, to_ulaw

_FRAME = 160  # samples of 20 ms
_SILENCE = b"\xff" * _FRAME


@dataclass(frozen=True, slots=True)
class Packet:
    """One RTP packet as it arrived; `at` is the event loop's time, in seconds."""

    at: float
    sequence: int
    payload_type: int
    payload: bytes

    @property
    def silent(self) -> bool:
        return max((abs(s) for s in from_ulaw(self.payload)), default=0) < 200


@dataclass(slots=True)
class Dialog:
    """The call the phone is in."""

    invite: dict[str, str]
    peer: tuple[str, int]
    target: str
    tag: str
    answered_at: float = 0.0
    ended_at: float = 0.0
    ended_by: str = ""  # "far" or "us"
    rtp_to: tuple[str, int] | None = None
    heard: list[Packet] = field(default_factory=list)


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, on: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._on = on

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._on(data, addr)


class Softphone:
    """`async with Softphone(tone=700) as phone:`, reached at `phone.uri`.

    `answer` "at once" takes calls, "after" takes them when they have rung for `delay` seconds;
    "redirect" answers 302 to `redirect_to`.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.9",
        port: int = 0,
        tone: float = 0.0,
        answer: str = "at once",
        delay: float = 0.0,
        redirect_to: str = "",
    ) -> None:
        self.host, self._port, self._answer = host, port, answer
        self._delay, self._redirect_to = delay, redirect_to
        self.tone = tone
        self.invites: list[str] = []  # the called users, in order
        self.dialogs: list[Dialog] = []
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._cseq = itertools.count(1)
        self._talking: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        return self._port

    @property
    def dialog(self) -> Dialog:
        return self.dialogs[-1]

    def uri(self, user: str = "agent") -> str:
        return f"sip:{user}@{self.host}:{self._port}"

    async def __aenter__(self) -> Softphone:
        self._sip, _ = await self._loop.create_datagram_endpoint(
            lambda: _Udp(self._on_sip), local_addr=(self.host, self._port)
        )
        self._port = self._sip.get_extra_info("sockname")[1]
        self._rtp, _ = await self._loop.create_datagram_endpoint(
            lambda: _Udp(self._on_rtp), local_addr=(self.host, 0)
        )
        self._rtp_port = self._rtp.get_extra_info("sockname")[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._talking is not None:
            self._talking.cancel()
            await asyncio.gather(self._talking, return_exceptions=True)
        self._sip.close()
        self._rtp.close()

    async def until(self, condition: Callable[[], bool], *, timeout: float = 10.0) -> None:
        """Wait for something the phone will see; raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_hears(self, frequency: float, *, timeout: float = 5.0) -> float:
        """Wait until the last 200 ms are this tone; returns when it began (loop time)."""
        found: list[float] = []

        def hears() -> bool:
            recent = self.dialog.heard[-10:] if self.dialogs else []
            if len(recent) < 10:
                return False
            sound = from_ulaw(b"".join(p.payload for p in recent))
            if power_at(sound, frequency) > 0.8 and max(sound) > 1000:
                found.append(recent[0].at)
            return bool(found)

        await self.until(hears, timeout=timeout)
        return found[0]

    def heard(self, *, since: float = 0.0) -> array[int]:
        """What arrived, as 8 kHz samples."""
        return from_ulaw(b"".join(p.payload for p in self.dialog.heard if p.at >= since))

    # -- SIP

    def _on_sip(self, data: bytes, peer: tuple[str, int]) -> None:
        head, _, body = data.decode("utf-8", "replace").partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            key = name.strip().lower()
            # Several Via headers stay in order, as a response must carry them.
            headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
        method = first.split(" ", 1)[0]
        if method == "INVITE":
            self._on_invite(first, headers, body, peer)
        elif method == "ACK":
            if self.dialogs and not self.dialog.answered_at:
                self.dialog.answered_at = self._loop.time()
                self._talking = asyncio.create_task(
                    self._talk(self.dialog), name=f"softphone-{self._port}"
                )
        elif method in ("BYE", "CANCEL", "OPTIONS"):
            self._respond(headers, peer, "200 OK")
            if method == "BYE":
                self._end("far")
        self._changed.set()

    def _on_invite(
        self, first: str, headers: dict[str, str], body: str, peer: tuple[str, int]
    ) -> None:
        if any(d.invite["call-id"] == headers["call-id"] for d in self.dialogs):
            self._respond(headers, peer, "200 OK", tag=self.dialog.tag, sdp=True)
            return
        user = re.search(r"sip:([^@;>]*)@", first)
        self.invites.append(user[1] if user else "")
        tag = f"{random.getrandbits(48):x}"
        if self._answer == "redirect":
            contact = f"<sip:{self._redirect_to}@{self.host}:{self._port}>"
            self._respond(headers, peer, "302 Moved Temporarily", tag=tag, contact=contact)
            return
        reached = re.search(r"<([^>]+)>", headers.get("contact", ""))
        dialog = Dialog(headers, peer, reached[1] if reached else "", tag)
        host = re.search(r"^c=IN IP4 (\S+)", body, re.M)
        port = re.search(r"^m=audio (\d+)", body, re.M)
        if host and port:
            dialog.rtp_to = (host[1], int(port[1]))
        self.dialogs.append(dialog)
        if self._answer == "after":
            self._respond(headers, peer, "180 Ringing", tag=tag)
            self._loop.call_later(self._delay, self._pick_up, dialog)
        else:
            self._pick_up(dialog)

    def _pick_up(self, dialog: Dialog) -> None:
        if not dialog.ended_at:
            self._respond(dialog.invite, dialog.peer, "200 OK", tag=dialog.tag, sdp=True)

    def _respond(
        self,
        headers: dict[str, str],
        peer: tuple[str, int],
        status: str,
        *,
        tag: str = "",
        contact: str = "",
        sdp: bool = False,
    ) -> None:
        body = (
            f"v=0\r\no=- 1 1 IN IP4 {self.host}\r\ns=-\r\nc=IN IP4 {self.host}\r\nt=0 0\r\n"
            f"m=audio {self._rtp_port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
            if sdp
            else ""
        )
        to = headers["to"] + (f";tag={tag}" if tag and ";tag=" not in headers["to"] else "")
        lines = [
            f"SIP/2.0 {status}", f"Via: {headers['via']}", f"From: {headers['from']}",
            f"To: {to}", f"Call-ID: {headers['call-id']}", f"CSeq: {headers['cseq']}",
            f"Contact: {contact or f'<{self.uri()}>'}",
        ]  # fmt: skip
        if sdp:
            lines.append("Content-Type: application/sdp")
        self._send(lines, body, peer)

    def _send(self, lines: list[str], body: str, peer: tuple[str, int]) -> None:
        text = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body])
        self._sip.sendto(text.encode(), peer)

    def hang_up(self) -> None:
        """Send BYE for the call the phone is in."""
        dialog = self.dialog
        branch = f"z9hG4bK{random.getrandbits(64):x}"
        lines = [
            f"BYE {dialog.target} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.host}:{self._port};branch={branch}",
            f"From: {dialog.invite['to']};tag={dialog.tag}", f"To: {dialog.invite['from']}",
            f"Call-ID: {dialog.invite['call-id']}", f"CSeq: {next(self._cseq)} BYE",
            "Max-Forwards: 70",
        ]  # fmt: skip
        self._send(lines, "", dialog.peer)
        self._end("us")

    def _end(self, who: str) -> None:
        if self.dialogs and not self.dialog.ended_at:
            self.dialog.ended_at, self.dialog.ended_by = self._loop.time(), who
        if self._talking is not None:
            self._talking.cancel()
        self._changed.set()

    # -- sound

    def _on_rtp(self, data: bytes, peer: tuple[str, int]) -> None:
        if len(data) <= 12 or not self.dialogs or self.dialog.ended_at:
            return
        _, kind, sequence = struct.unpack("!BBH", data[:4])
        if kind & 0x7F == 0:
            self.dialog.heard.append(Packet(self._loop.time(), sequence, 0, data[12:]))
            self._changed.set()

    async def _talk(self, dialog: Dialog) -> None:
        """Send 20 ms packets until the call ends: the tone, or silence where there is none."""
        # One second of a whole number of hertz repeats without a click.
        sound = to_ulaw(sine(self.tone, 1.0)) if self.tone else _SILENCE
        source, due = random.getrandbits(32), self._loop.time()
        for n in itertools.count():
            start = n * _FRAME % len(sound)
            packet = struct.pack("!BBHII", 0x80, 0, n & 0xFFFF, n * _FRAME & 0xFFFFFFFF, source)
            if dialog.rtp_to is not None:
                self._rtp.sendto(packet + sound[start : start + _FRAME], dialog.rtp_to)
            due += 0.02
            await asyncio.sleep(max(0.0, due - self._loop.time()))
