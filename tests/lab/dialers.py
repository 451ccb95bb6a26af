"""One `dialer serve` process at one address, through all its lives."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.lab.asterisk import LabAsterisk
from tests.lab.process import Child

_READY = 120.0  # s from its start until it does its work, on a machine with much else to do


def _foreign_environment() -> dict[str, str]:
    """Without settings that are meant for another dialer."""
    return {k: v for k, v in os.environ.items() if not k.startswith("DIALER_")}


def node_settings(node: LabAsterisk, *, ami_port: int) -> dict[str, Any]:
    """An Asterisk node as a dialer's settings name it."""
    return {
        "name": node.name,
        "port": ami_port,
        "secret": node.secret,
        "provision_secret": node.provision_secret,
        "record_secret": node.record_secret,
        "phones_file": str(node.phones_file),
        "recordings": str(node.recordings),
        "cel": str(node.cel),
    }


class LabDialer:
    """Started, stopped, killed, frozen, and started again at the same address."""

    def __init__(
        self,
        name: str,
        *,
        host: str,
        port: int,
        folder: Path,
        settings: Callable[[int], Mapping[str, str]],
        program: Sequence[str] = ("-m", "api", "serve"),
    ) -> None:
        """`settings`: the environment of a dialer that listens on this port. `program`: what Python
        runs."""
        self.name, self.host, self.port = name, host, port
        self._program = tuple(program)
        self._log, self._settings = folder / f"{name}.log", settings
        self.child: Child | None = None

    @property
    def address(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def start(self) -> None:
        """Start it (again) and wait until it is ready."""
        self.child = await Child.start(
            self.name,
            [sys.executable, *self._program],
            log=self._log,
            cwd=Path(__file__).resolve().parents[2],
            env={**_foreign_environment(), **self._settings(self.port)},
        )
        await self.ready(timeout=_READY)

    async def ready(self, *, timeout: float) -> None:
        """Wait until it says that it can do its work."""
        child = self._running
        deadline = asyncio.get_running_loop().time() + timeout
        async with httpx.AsyncClient() as http:
            while not await self._answers(http):
                if not child.alive:
                    raise RuntimeError(f"the dialer ended at start:\n{child.tail(40)}")
                if asyncio.get_running_loop().time() > deadline:
                    raise RuntimeError(f"the dialer did not get ready:\n{child.tail(40)}")
                await asyncio.sleep(0.05)

    async def _answers(self, http: httpx.AsyncClient) -> bool:
        try:
            return (
                self.child is not None
                and self.child.listens(self.port)
                and (await http.get(f"{self.address}/readyz")).status_code == 200
            )
        except httpx.HTTPError:
            return False

    async def stop(self, *, number: int = signal.SIGTERM, timeout: float = 15.0) -> int:
        """Ask it to end (or end it, with SIGKILL); its exit code."""
        return await self._running.stop(number=number, timeout=timeout)

    def freeze(self) -> None:
        """Stop it where it stands, until `thaw`."""
        self._running.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on; nothing for one that does not run."""
        if self.child is not None and self.child.alive:
            self.child.send(signal.SIGCONT)

    @property
    def _running(self) -> Child:
        if self.child is None or not self.child.alive:
            raise RuntimeError(f"expected {self.name} to run")
        return self.child

    def said(self, action: str) -> list[dict[str, Any]]:
        """Its log lines with this action, over all its lives."""
        if not self._log.exists():
            return []
        lines = self._log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if f'"action": "{action}"' in line]
