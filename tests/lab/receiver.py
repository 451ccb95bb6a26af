"""A receiver of webhooks as a process (receiving.py): it may be told to fail, and be killed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from standardwebhooks.webhooks import Webhook

from tests.lab.certificates import self_signed
from tests.lab.process import Child, free_port, until

_PROGRAM = Path(__file__).with_name("receiving.py")


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
            [sys.executable, "-S", str(_PROGRAM), str(self.folder), str(self.port), *tls],
            log=self.folder / "log",
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
