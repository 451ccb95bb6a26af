"""A receiver of webhooks as a process of its own: takes, refuses, hangs, cuts, and may be killed.

    python -m tests.lab.receiver FOLDER PORT [CERTIFICATE KEY]

What it got is one JSON object a line in FOLDER/received; how it answers is read from
FOLDER/behaviour at each request: a status with headers (`204`, `429 Retry-After: 7`), `hang`, or
`cut` (takes the event, and is gone before it answers).
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from standardwebhooks.webhooks import Webhook

from tests.lab.certificates import self_signed
from tests.lab.process import Child, free_port, until


class LabReceiver:
    """`async with LabReceiver(folder) as receiver:`; it ends with the block."""

    def __init__(self, folder: Path, *, tls: bool = False) -> None:
        self.folder, self._tls = folder, tls
        self.port = free_port()
        self.child: Child | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.certificate, self._key = folder / "certificate.pem", folder / "key.pem"
        if tls:
            self_signed("127.0.0.1", certificate=self.certificate, key=self._key)
        self.behave("204")

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/hooks?from=dialer"

    def behave(self, how: str) -> None:
        new = self.folder / "behaviour.new"
        new.write_text(how)
        new.replace(self.folder / "behaviour")

    async def start(self) -> None:
        tls = [str(self.certificate), str(self._key)] if self._tls else []
        self.child = await Child.start(
            "receiver",
            [sys.executable, "-m", "tests.lab.receiver", str(self.folder), str(self.port), *tls],
            log=self.folder / "log",
            cwd=Path(__file__).resolve().parents[2],
        )
        child = self.child
        await until(lambda: child.listens(self.port), timeout=20, what="the receiver")

    async def stop(self, **how: Any) -> None:
        if self.child is not None:
            await self.child.stop(**how)

    def received(self) -> list[dict[str, Any]]:
        """Every request that came, in order: `headers`, `body`, `at`, `answered`."""
        try:
            lines = (self.folder / "received").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines]

    def taken(self) -> list[dict[str, Any]]:
        """Those that were answered with 2xx."""
        return [r for r in self.received() if r["answered"].startswith("2")]

    def events(self, secret: str) -> dict[str, Any]:
        """What was taken, by event id, each signature verified as receivers do it."""
        found: dict[str, Any] = {}
        for request in self.taken():
            event = Webhook(secret).verify(request["body"], request["headers"])
            found.setdefault(request["headers"]["webhook-id"], event)
        return found

    async def __aenter__(self) -> LabReceiver:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()


async def _serve(folder: Path, port: int, tls: list[str]) -> None:
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
    log = os.open(folder / "received", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in head[1:] if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            how, _, more = (folder / "behaviour").read_text().partition(" ")
            entry = {
                "line": head[0],
                "headers": headers,
                "body": body.decode(),
                "at": asyncio.get_running_loop().time(),
                "answered": how,
            }
            os.write(log, json.dumps(entry).encode() + b"\n")
            if how == "hang":
                await asyncio.sleep(3600)
            if how != "cut":
                more = f"{more}\r\n" if more else ""
                writer.write(f"HTTP/1.1 {how} X\r\n{more}Content-Length: 0\r\n\r\n".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", port, ssl=context, backlog=500)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:5]))
