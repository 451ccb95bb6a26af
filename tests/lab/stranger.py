"""Somebody on the network who sends SIP that no phone of ours would send.

One socket, one request at a time; it knows digest authentication, because a stolen phone password
is part of what has to be survived.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from types import TracebackType

_SDP = "v=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n"


class _Inbox(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.messages: asyncio.Queue[str] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.messages.put_nowait(data.decode("utf-8", "replace"))


class Stranger:
    """`async with Stranger("127.0.0.66", server) as somebody: await somebody.asks("INVITE", ...)`.

    `asks` gives the final status, 0 when nobody answered at all.
    """

    def __init__(self, host: str, server: tuple[str, int]) -> None:
        self.host, self._server = host, server

    async def __aenter__(self) -> Stranger:
        loop = asyncio.get_running_loop()
        self._transport, self._inbox = await loop.create_datagram_endpoint(
            _Inbox, local_addr=(self.host, 0)
        )
        self._port = self._transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._transport.close()

    async def asks(
        self,
        method: str,
        to: str,
        *,
        sender: str = "stranger",
        password: str = "",
        headers: tuple[str, ...] = (),
        silence: float = 1.5,
    ) -> int:
        """Send a request for `sip:to@server`; with a password, answer a challenge once."""
        call_id = f"{random.getrandbits(64):x}"
        status, answer = await self._one(method, to, sender, call_id, 1, headers, silence)
        challenge = re.search(r"^WWW-Authenticate: (.*)$", answer, re.M | re.I)
        if status == 401 and password and challenge:
            signed = self._digest(challenge[1], method, to, sender, password)
            status, _ = await self._one(
                method, to, sender, call_id, 2, (*headers, f"Authorization: {signed}"), silence
            )
        return status

    def _digest(self, challenge: str, method: str, to: str, user: str, password: str) -> str:
        found = dict(re.findall(r'(\w+)="?([^",\s]*)"?', challenge))
        uri = self._uri(to)

        def md5(text: str) -> str:
            return hashlib.md5(text.encode()).hexdigest()

        secret = md5(f"{user}:{found['realm']}:{password}")
        request = md5(f"{method}:{uri}")
        nonce, nc, cnonce = found["nonce"], "00000001", "0a4f113b"
        response = md5(f"{secret}:{nonce}:{nc}:{cnonce}:auth:{request}")
        opaque = f', opaque="{found["opaque"]}"' if "opaque" in found else ""
        return (
            f'Digest username="{user}", realm="{found["realm"]}", nonce="{nonce}", uri="{uri}", '
            f'response="{response}", algorithm=MD5, qop=auth, nc={nc}, cnonce="{cnonce}"{opaque}'
        )

    def _uri(self, to: str) -> str:
        user = f"{to}@" if to else ""
        return f"sip:{user}{self._server[0]}:{self._server[1]}"

    async def _one(
        self, method: str, to: str, sender: str, call_id: str, cseq: int,
        headers: tuple[str, ...], silence: float,
    ) -> tuple[int, str]:  # fmt: skip
        body = _SDP.format(self.host) if method == "INVITE" else ""
        about = self._uri(sender if method == "REGISTER" else to)  # whose place is registered
        contact = f"<sip:{sender}@{self.host}:{self._port}>"
        lines = [
            f"{method} {self._uri(to)} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.host}:{self._port};branch=z9hG4bK{random.getrandbits(64):x}",
            f"From: <sip:{sender}@{self.host}>;tag={random.getrandbits(32):x}",
            f"To: <{about}>", f"Call-ID: {call_id}", f"CSeq: {cseq} {method}",
            f"Contact: {contact}", "Max-Forwards: 70", *headers,
        ]  # fmt: skip
        if body:
            lines.append("Content-Type: application/sdp")
        text = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body])
        self._transport.sendto(text.encode(), self._server)
        try:
            async with asyncio.timeout(silence):
                while True:
                    answer = await self._inbox.messages.get()
                    status = re.match(r"SIP/2\.0 (\d{3})", answer)
                    if status and call_id in answer and int(status[1]) >= 200:
                        if method == "INVITE":
                            self._acknowledge(text, answer)
                        return int(status[1]), answer
        except TimeoutError:
            return 0, ""

    def _acknowledge(self, request: str, answer: str) -> None:
        """Or the server sends its answer again and again."""
        to = re.search(r"^To: .*$", answer, re.M)
        head = request.partition("Contact:")[0].replace("INVITE ", "ACK ", 1)
        head = re.sub(r"^CSeq: (\d+) INVITE", r"CSeq: \1 ACK", head, flags=re.M)
        head = re.sub(r"^To: .*$", (to[0] if to else "").strip(), head, flags=re.M)
        self._transport.sendto(
            f"{head}Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n".encode(), self._server
        )
