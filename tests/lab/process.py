"""Child processes of the lab: they die with their parent, and are ended by pid, never by name."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def die_with_parent(*, uid: int | None = None) -> Callable[[], None]:
    """A preexec function: SIGTERM for the child when its parent is gone."""
    parent = os.getpid()

    def prepare() -> None:
        os.setpgrp()
        if uid is not None:
            os.setgid(uid)
            os.setuid(uid)
        # setuid clears the death signal, so it is set last.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def free_port(host: str = "127.0.0.1", *, kind: int = socket.SOCK_STREAM) -> int:
    """A port nobody listens on at this moment."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class Child:
    """One child process with its output in a file."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name, self.process, self.log = name, process, log

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        uid: int | None = None,
    ) -> Child:
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=cwd,
                env=env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                preexec_fn=die_with_parent(uid=uid),
            )
        return cls(name, process, log)

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    def send(self, number: int) -> None:
        # Not the process object's own: that one may reap the child behind the event loop's back.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, number)

    async def stop(self, *, number: int = signal.SIGTERM, timeout: float = 5.0) -> int:
        """Ask, wait, and insist; returns the exit code."""
        if self.alive:
            self.send(number)
            try:
                await asyncio.wait_for(self.process.wait(), timeout)
            except TimeoutError:
                self.send(signal.SIGKILL)
                await self.process.wait()
        assert self.process.returncode is not None
        return self.process.returncode

    def listens(self, port: int) -> bool:
        """Whether it is this program that listens on the TCP port, not somebody else's."""
        inodes = {
            fields[9]
            for fields in map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:])
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port
        }
        held = set()
        with contextlib.suppress(OSError):
            for descriptor in Path(f"/proc/{self.process.pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    held.add(str(descriptor.readlink()))
        return any(f"socket:[{inode}]" in held for inode in inodes)

    def tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


async def until(
    condition: Callable[[], bool | Awaitable[bool]], *, timeout: float, what: str
) -> None:
    """Poll a condition of the outside world (a file, a port, an API) for a bounded time."""
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        met = condition()
        if met if isinstance(met, bool) else await met:
            return
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError(f"waited {timeout} s for {what}")
        await asyncio.sleep(0.02)
