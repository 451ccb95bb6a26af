"""SIPp as the called public and as agents' phones, with SIPp's own log as the truth."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from socket import SOCK_DGRAM
from types import TracebackType

from tests.lab.process import Child, free_port, until
from tests.lab.scenario import phone_scenario, public_scenario
from tests.lab.sounds import make_sounds


@dataclass(slots=True)
class PublicCall:
    """What SIPp did with one INVITE. `ends` holds the log words in order."""

    call_id: str
    number: str
    at: float  # s since SIPp started
    ends: list[str] = field(default_factory=list)
    end_at: float = 0.0
    answered_at: float = 0.0

    @property
    def answered(self) -> bool:
        return "ANSWERED" in self.ends

    @property
    def ended(self) -> bool:
        return bool(self.ends) and self.ends[-1] != "ANSWERED"


def read_truth(path: Path) -> list[PublicCall]:
    """The calls in SIPp's log, in the order of their INVITEs; broken lines are skipped."""
    calls: dict[str, PublicCall] = {}
    if not path.exists():
        return []
    for line in path.read_text(errors="replace").splitlines():
        parts = line.split("|")
        if len(parts) != 5 or not parts[0].endswith("TRUTH"):
            continue
        _, call_id, what, tick, called = parts
        if not tick.strip().isdigit():
            continue
        at = int(tick) / 1000
        if what == "INVITE":
            number = called if called.startswith("+") else "+" + called
            calls.setdefault(call_id, PublicCall(call_id, number, at))
        elif call_id in calls:
            calls[call_id].ends.append(what)
            calls[call_id].end_at = at
            if what == "ANSWERED":
                calls[call_id].answered_at = at
    return list(calls.values())


class EndedAtStart(RuntimeError):
    """SIPp did not stay; the message has its last words."""


class Sipp:
    """One SIPp process with a scenario, on an address of its own."""

    def __init__(self, name: str, scenario: str, *, host: str, port: int, rtp_port: int) -> None:
        self.name, self._scenario, self.host, self.port = name, scenario, host, port
        self._rtp_port = rtp_port
        self._folder: Path | None = None
        self._child: Child | None = None

    @property
    def folder(self) -> Path:
        """Made when first asked for: one that never starts leaves nothing behind."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix=f"sipp-{self.name}-"))
        return self._folder

    @property
    def log(self) -> Path:
        return self.folder / "truth.log"

    @property
    def errors(self) -> str:
        path = self.folder / "errors.log"
        return path.read_text(errors="replace") if path.exists() else ""

    async def start(self) -> None:
        sipp = shutil.which("sipp")
        if sipp is None:
            raise RuntimeError("sipp is not installed: run make setup")
        (self.folder / "scenario.xml").write_text(self._scenario)
        for last in (False, False, True):
            try:
                await self._launch(sipp)
                return
            except EndedAtStart:  # another lab may have taken its ports in this moment
                if last:
                    raise

    async def _launch(self, sipp: str) -> None:
        # Several labs run at once on one machine: each gets a range of its own.
        rtp_port = self._rtp_port or 30000 + (free_port(self.host, kind=SOCK_DGRAM) % 300) * 100
        self._child = await Child.start(
            self.name,
            [
                sipp, "-sf", "scenario.xml", "-i", self.host, "-mi", self.host,
                "-p", str(self.port), "-mp", str(rtp_port),
                "-nostdin", "-trace_logs", "-log_file", "truth.log",
                "-trace_err", "-error_file", "errors.log", "-watchdog_minor_threshold", "20000",
                "-watchdog_major_threshold", "60000", "-buff_size", "4000000",
            ],
            log=self.folder / "out.log",
            cwd=self.folder,
        )  # fmt: skip
        await until(self._listening, timeout=10, what=f"{self.name} to listen")

    @property
    def child(self) -> Child | None:
        return self._child

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.process.pid

    def _listening(self) -> bool:
        assert self._child is not None
        if not self._child.alive:
            raise EndedAtStart(f"{self.name} ended at start:\n{self.errors or self._child.tail()}")
        wanted = f"{_hex(self.host)}:{self.port:04X}"
        return any(wanted in line for line in Path("/proc/net/udp").read_text().splitlines())

    async def stop(self) -> None:
        if self._child is not None:
            await self._child.stop(timeout=2.0)

    async def __aenter__(self) -> Sipp:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def truth(self) -> list[PublicCall]:
        return read_truth(self.log)

    async def truth_of(
        self, count: int, *, timeout: float, ended: bool = False
    ) -> list[PublicCall]:
        """The calls once `count` of them were answered or refused; with `ended`, once that many
        are over. Raises TimeoutError."""

        def done(call: PublicCall) -> bool:
            return call.ended if ended else bool(call.ends)

        try:
            await until(
                lambda: sum(map(done, self.truth())) >= count,
                timeout=timeout,
                what=f"{count} calls to be {'over' if ended else 'decided'}",
            )
        except TimeoutError as error:
            came = self.truth()
            open_ = [call for call in came if not done(call)]
            raise TimeoutError(f"{error}; {len(came)} came, not so far: {open_[:5]}") from None
        return self.truth()


def _hex(host: str) -> str:
    return "".join(f"{int(part):02X}" for part in reversed(host.split(".")))


def public(*, host: str = "127.0.0.2", port: int = 5070, rtp_port: int = 0) -> Sipp:
    """The called public, as a trunk peer."""
    return Sipp("public", public_scenario(make_sounds()), host=host, port=port, rtp_port=rtp_port)


def phones(*, host: str = "127.0.0.3", port: int = 5080, rtp_port: int = 0) -> Sipp:
    """Agents' phones, all at one address: sip:<endpoint>@host:port."""
    return Sipp("phones", phone_scenario(make_sounds()), host=host, port=port, rtp_port=rtp_port)


async def _stand(host: str, port: int) -> None:
    """The public as a service of its own, until a signal."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with public(host=host, port=port) as sipp:
        print(f"the public answers at {host}:{port}; truth log: {sipp.log}", flush=True)
        await stopped.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="SIPp as the called public")
    parser.add_argument("--host", default="127.0.0.2")
    parser.add_argument("--port", type=int, default=5070)
    chosen = parser.parse_args()
    asyncio.run(_stand(chosen.host, chosen.port))
