"""One real Asterisk on free loopback ports, configured from the product's own templates."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import signal
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from telephony.ami import AmiAccount
from telephony.provision.beep import write_beep
from telephony.provision.phones import Phone, write_phones
from telephony.provision.render import (
    Ami,
    AsteriskSettings,
    Gate,
    Paths,
    Rtp,
    Sip,
    TrunkAccount,
    render,
)
from tests.lab.process import Child, free_port
from tests.lab.sounds import ABANDON_SOUND, HOLD_MUSIC, make_sounds
from tests.lab.tree import AsteriskTree, ensure_tree


class LabAsterisk:
    """`async with LabAsterisk(...) as node:`; several at once are fine."""

    _rtp = 10000

    def __init__(
        self,
        name: str = "ast1",
        *,
        trunks: Sequence[TrunkAccount] = (),
        phones: Sequence[Phone] = (),
        folder: Path | None = None,
        sip_host: str = "127.0.0.1",
        sip_port: int = 0,
        sip_permit: Sequence[str] = (),
        gate: Gate | None = None,
        calls: int = 0,
    ) -> None:
        """`calls`: how many there may be at once, by the sound ports; 0: more than enough."""
        self.name = name
        self.trunks, self._phones = tuple(trunks), tuple(phones)
        self._own = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix=f"dialer-{name}-"))
        self.ami_port = free_port()
        self.sip_host = sip_host
        self.sip_port = sip_port or free_port(sip_host, kind=socket.SOCK_DGRAM)
        self.secret, self.provision_secret = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        self.record_secret = secrets.token_urlsafe(16)
        self._tree: AsteriskTree = ensure_tree()
        self._child: Child | None = None
        first = LabAsterisk._rtp
        LabAsterisk._rtp = first + 4000 if first < 28000 else 10000
        self._rtp_range = Rtp(first, first + (2 * calls - 1 if calls else 3998))
        self._sip_permit, self._gate = tuple(sip_permit), gate

    # -- where things are

    @property
    def etc(self) -> Path:
        return self.folder / "etc"

    @property
    def phones_file(self) -> Path:
        return self.etc / "pjsip_phones.conf"

    @property
    def recordings(self) -> Path:
        return self.folder / "spool/monitor"

    @property
    def cel(self) -> Path:
        return self.folder / "log/cel-custom/dialer.csv"

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.process.pid

    def account(self) -> AmiAccount:
        """How a switch reaches this node."""
        return AmiAccount(
            node=self.name,
            host="127.0.0.1",
            port=self.ami_port,
            user="dialer",
            secret=self.secret,
            provision_user="provision",
            provision_secret=self.provision_secret,
            record_user="recorder",
            record_secret=self.record_secret,
        )

    # -- life

    def configure(self) -> None:
        for part in ("etc", "var", "spool/monitor", "run", "log/cel-custom"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        self._share_data()
        write_phones(self.phones_file, self._phones)
        render(
            AsteriskSettings(
                name=self.name,
                paths=Paths(
                    etc=str(self.etc),
                    var=str(self.folder / "var"),
                    data=str(self.folder / "data"),
                    modules=str(self._tree.modules),
                    spool=str(self.folder / "spool"),
                    run=str(self.folder / "run"),
                    log=str(self.folder / "log"),
                ),
                ami=Ami(
                    self.ami_port,
                    self.secret,
                    self.provision_secret,
                    record_secret=self.record_secret,
                ),
                sip=Sip(self.sip_port, bind=self.sip_host, permit=self._sip_permit),
                gate=self._gate,
                rtp=self._rtp_range,
                trunks=self.trunks,
                phones_file=str(self.phones_file),
            ),
            self.etc,
        )

    def _share_data(self) -> None:
        """The tree's sounds, plus ours, without touching the tree."""
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        for item in self._tree.data.iterdir():
            target = data / item.name
            if item.name not in ("sounds", "moh") and not target.exists():
                target.symlink_to(item)
        english = data / "sounds/en"
        if not english.exists():
            english.mkdir(parents=True)
            for item in (self._tree.data / "sounds/en").iterdir():
                (english / item.name).symlink_to(item)
            shutil.copy(make_sounds() / f"{ABANDON_SOUND}.wav", english)
        write_beep(data)
        music = data / "moh"
        if not music.exists():
            music.mkdir()
            shutil.copy(make_sounds() / f"{HOLD_MUSIC}.wav", music)
        # Documentation of modules is looked for here at start.
        (self.folder / "var/documentation").mkdir(parents=True, exist_ok=True)

    async def start(self) -> None:
        self.configure()
        await self._launch()

    async def _launch(self) -> None:
        self._child = await Child.start(
            self.name,
            [*self._tree.command(), "-C", str(self.etc / "asterisk.conf"), "-f", "-n"],
            log=self.folder / "asterisk.out",
        )
        for _ in range(100):
            if not self._child.alive:
                raise RuntimeError(f"{self.name} ended at start:\n{self._child.tail()}")
            if "fully booted" in (await self.cli("core waitfullybooted")).lower():
                return
            await asyncio.sleep(0.05)
        raise RuntimeError(f"{self.name} did not boot:\n{self._child.tail()}")

    async def cli(self, command: str) -> str:
        """The console, for tests only: the product has no such right."""
        process = await asyncio.create_subprocess_exec(
            *self._tree.command(), "-C", str(self.etc / "asterisk.conf"), "-rx", command,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        out, _ = await process.communicate()
        return out.decode(errors="replace")

    @property
    def child(self) -> Child | None:
        return self._child

    async def kill(self) -> None:
        """As a crash would."""
        assert self._child is not None
        await self._child.stop(number=signal.SIGKILL)

    def freeze(self) -> None:
        """Stop it where it stands, until `thaw`: its links stay open and say nothing."""
        assert self._child is not None
        self._child.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on; nothing for one that does not run."""
        if self._child is not None and self._child.alive:
            self._child.send(signal.SIGCONT)

    async def restart(self) -> None:
        """Start again after `kill` or `stop`, same configuration."""
        await self._launch()

    async def stop(self) -> None:
        self.thaw()
        if self._child is not None and self._child.alive:
            await self.cli("core stop now")
            await self._child.stop()

    async def __aenter__(self) -> LabAsterisk:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()
        if self._own:
            shutil.rmtree(self.folder, ignore_errors=True)
