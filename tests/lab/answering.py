"""A SIP peer that only says that it is there: answers every OPTIONS with 200, for qualifying."""

from __future__ import annotations

import asyncio
import re
from types import TracebackType
from typing import cast

_KEPT = re.compile(rb"^(Via|From|Call-ID|CSeq): [^\r\n]*\r\n", re.MULTILINE | re.IGNORECASE)
_TO = re.compile(rb"^To: ([^\r\n]*)\r\n", re.MULTILINE | re.IGNORECASE)


class _Peer(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        to = _TO.search(data)
        if not data.startswith(b"OPTIONS") or to is None:
            return
        kept = b"".join(found.group(0) for found in _KEPT.finditer(data))
        self.transport.sendto(
            b"SIP/2.0 200 OK\r\n" + kept + b"To: " + to.group(1) + b";tag=here\r\n"
            b"Content-Length: 0\r\n\r\n",
            addr,
        )


class AnsweringPeer:
    """`async with AnsweringPeer(host) as peer:`; at `peer.host`, `peer.port`."""

    def __init__(self, host: str) -> None:
        self.host, self.port = host, 0

    async def __aenter__(self) -> AnsweringPeer:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(_Peer, local_addr=(self.host, 0))
        self.port = self._transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._transport.close()
