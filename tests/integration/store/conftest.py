"""Both databases, migrated: a SQLite file, and a private PostgreSQL cluster on a unix socket."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from dialer.store.database import Database, upgrade

_SERVERS = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The socket's folder of a cluster that ends with the tests. Never synced to the disk."""
    if not _SERVERS:
        pytest.skip("no PostgreSQL server is installed")
    binaries = _SERVERS[-1].parent
    folder = Path(tempfile.mkdtemp(prefix="dialer-pg-"))
    user = "postgres" if os.geteuid() == 0 else None  # the server refuses to run as root
    if user:
        shutil.chown(folder, user)

    def run(name: str, *arguments: str) -> None:
        subprocess.run(
            [str(binaries / name), *arguments],
            check=True, user=user, cwd=folder, timeout=60,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    data = str(folder / "data")
    try:
        run("initdb", "-D", data, "-U", "dialer", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        run("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield str(folder)
        finally:
            run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    if request.param == "sqlite":
        url = f"sqlite+aiosqlite:///{tmp_path}/dialer.db"
    else:
        folder = request.getfixturevalue("cluster")
        name = f"test_{os.urandom(6).hex()}"
        binaries = _SERVERS[-1].parent
        made = await asyncio.create_subprocess_exec(
            str(binaries / "createdb"), "-h", folder, "-U", "dialer", name
        )
        assert await made.wait() == 0
        url = f"postgresql+asyncpg://dialer@/{name}?host={folder}"
    await asyncio.to_thread(upgrade, url)
    database = Database(url)
    yield database
    await database.close()
