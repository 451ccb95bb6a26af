"""Private PostgreSQL and Redis servers on unix sockets: started by us, ended with us, never shared.

A machine without them is a failed test, not a skipped one.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from tests.lab.certificates import self_signed
from tests.lab.process import die_with_parent, free_port

_READY = 15.0  # s a server may take to answer


class _Server:
    """A child process in a folder of its own."""

    name = ""
    _last = signal.SIGTERM  # ends it when nothing of it is needed any more

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"dialer-{self.name}-"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it answers. It ends with the thread that calls this."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._end(self._last)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def send(self, number: int) -> None:
        """A signal to this server and no other."""
        assert self._process is not None
        self._process.send_signal(number)

    def _launch(
        self, command: Sequence[str], *, uid: int | None, ready: Callable[[], bool]
    ) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                preexec_fn=die_with_parent(uid=uid),
            )
        deadline = time.monotonic() + _READY
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start:\n{self.tail()}")
            time.sleep(0.02)

    def children(self) -> list[int]:
        """The processes that this server started."""
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]

    @staticmethod
    def send_all(pids: Sequence[int], number: int) -> None:
        """A signal to processes of this server; those gone meanwhile are passed over."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def tail(self, lines: int = 15) -> str:
        text = (self.folder / "log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def _end(self, number: int) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class LabPostgres(_Server):
    """`with LabPostgres() as server:`; `server.database()` makes an empty one and gives its URL."""

    name = "pg"
    _last = signal.SIGQUIT

    def __init__(self, *, sync: bool = False, settings: Sequence[str] = ()) -> None:
        super().__init__()
        found = sorted(
            Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3])
        )
        if not found:
            raise RuntimeError("no PostgreSQL server is installed: run make setup")
        self._binaries = found[-1].parent
        self._user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
        self._options = [f"fsync={'on' if sync else 'off'}", *settings]
        self._made = 0

    @property
    def _uid(self) -> int | None:
        if self._user is None:
            return None
        return pwd.getpwnam(self._user).pw_uid

    def _run(self, program: str, *arguments: str, user: str | None = None) -> int:
        return subprocess.run(
            [str(self._binaries / program), *arguments],
            user=user, cwd=self.folder, timeout=60, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ).returncode  # fmt: skip

    def _own_folder(self) -> None:
        if self._user:
            shutil.chown(self.folder, self._user)

    def start(self) -> None:
        """Start the server; the cluster is made at the first start."""
        data = self.folder / "data"
        if not data.exists():
            self._own_folder()
            if self._run(
                "initdb", "-D", str(data), "-U", "dialer", "-A", "trust", "-E", "UTF8",
                "--no-sync", user=self._user,
            ):  # fmt: skip
                raise RuntimeError("initdb failed")
        options = ["listen_addresses=", f"unix_socket_directories={self.folder}", *self._options]
        self._launch(
            [
                str(self._binaries / "postgres"),
                "-D",
                str(data),
                *(part for option in options for part in ("-c", option)),
            ],
            uid=self._uid,
            ready=lambda: self._run("pg_isready", "-h", str(self.folder), "-U", "dialer") == 0,
        )

    def stop(self, *, immediate: bool = False) -> None:
        """A fast shutdown: sessions are ended. `immediate`: as a crash, recovered at the start."""
        self._end(signal.SIGQUIT if immediate else signal.SIGINT)

    @property
    def socket(self) -> Path:
        """Where it listens, and nowhere else."""
        return self.folder / ".s.PGSQL.5432"

    @property
    def dsn(self) -> str:
        """For asyncpg, to the server itself whatever stands between it and a dialer."""
        return f"postgresql://dialer@/postgres?host={self.folder}"

    def standby(self) -> LabPostgres:
        """A streaming replica of this server as it is now, not yet started."""
        other = LabPostgres()
        other._options = self._options
        other._own_folder()
        copied = self._run(
            "pg_basebackup", "-h", str(self.folder), "-U", "dialer", "-D", f"{other.folder}/data",
            "-R", "-X", "stream", "--checkpoint=fast", "--no-sync", user=self._user,
        )  # fmt: skip
        if copied:
            shutil.rmtree(other.folder, ignore_errors=True)
            raise RuntimeError(f"pg_basebackup failed:\n{self.tail()}")
        return other

    def promote(self) -> None:
        """Make a standby the primary; returns when it takes writes."""
        if self._run("pg_ctl", "promote", "-D", f"{self.folder}/data", user=self._user):
            raise RuntimeError(f"the standby was not promoted:\n{self.tail()}")

    def database(self) -> str:
        """The URL of a new, empty database."""
        self._made += 1
        name = f"lab{self._made}"
        if self._run("createdb", "-h", str(self.folder), "-U", "dialer", name):
            raise RuntimeError(f"createdb failed:\n{self.tail()}")
        return f"postgresql+asyncpg://dialer@/{name}?host={self.folder}"


class LabRedis(_Server):
    """`with LabRedis() as server:`; empty, without persistence, at `server.url`. With `tls` it is
    also reached at `server.tls_url`, under a certificate of its own."""

    name = "redis"

    def __init__(self, *, tls: bool = False) -> None:
        super().__init__()
        self._tls_port = free_port() if tls else 0

    @property
    def url(self) -> str:
        return f"unix://{self.folder}/redis.sock"

    @property
    def tls_url(self) -> str:
        return f"rediss://127.0.0.1:{self._tls_port}/0?ssl_ca_certs={self.folder}/certificate.pem"

    def _tls_options(self) -> list[str]:
        if not self._tls_port:
            return []
        certificate, key = self.folder / "certificate.pem", self.folder / "key.pem"
        if not key.exists():
            self_signed("127.0.0.1", certificate=certificate, key=key)
        return [
            "--bind", "127.0.0.1", "--tls-port", str(self._tls_port), "--tls-auth-clients", "no",
            "--tls-cert-file", str(certificate), "--tls-key-file", str(key),
            "--tls-ca-cert-file", str(certificate),
        ]  # fmt: skip

    def start(self) -> None:
        if shutil.which("redis-server") is None:
            raise RuntimeError("no redis-server is installed: run make setup")
        socket = self.folder / "redis.sock"
        socket.unlink(missing_ok=True)
        self._launch(
            [
                "redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "",
                "--appendonly", "no", "--dir", str(self.folder), *self._tls_options(),
            ],
            uid=None,
            ready=socket.exists,
        )  # fmt: skip

    def stop(self) -> None:
        self._end(signal.SIGTERM)
