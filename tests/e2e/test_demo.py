"""`make run` from outside: it comes to an end by itself, by a signal, or with a part that dies, and
nothing stays behind: no process of its session, no folder.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.lab.faults import injected
from tests.lab.process import free_port

pytestmark = pytest.mark.e2e

_ROOT = Path(__file__).resolve().parents[2]
_DEMO = (str(_ROOT / ".venv/bin/python"), "-m", "tests.lab.demo")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the demo puts its temporary folders. A short path: sockets are in there."""
    made = Path(tempfile.mkdtemp(prefix="demo-"))
    made.chmod(0o711)  # PostgreSQL does not run as root, and has to get through
    yield made
    shutil.rmtree(made)


def session(number: int) -> dict[int, str]:
    """The processes of a session that still run, with their command lines."""
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # gone meanwhile
            continue
        if int(fields[3]) == number and fields[0] != "Z":
            found[int(entry.name)] = command
    return found


class Run:
    """One demo in a session of its own, read line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.text = ""

    async def until(self, *words: str, more_than: int = 0, within: float = 60) -> None:
        """Read until one of these words was printed, more often than so many times."""
        assert self.process.stdout is not None
        async with asyncio.timeout(within):
            while not any(self.text.count(word) > more_than for word in words):
                line = await self.process.stdout.readline()
                assert line, self.text
                self.text += line.decode()

    async def end(self) -> int:
        """Read to the end; the exit code."""
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            self.text += (await self.process.stdout.read()).decode()
            return await self.process.wait()


@asynccontextmanager
async def demo(
    folder: Path, *, leads: int, until_finished: bool = False, command: Sequence[str] = _DEMO
) -> AsyncIterator[Run]:
    """As from a script: no terminal, and SIGINT ignored, as shells do to what runs behind them."""
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("DIALER_DEMO")},
        "TMPDIR": str(folder), "DIALER_DEMO_LEADS": str(leads), "DIALER_DEMO_AGENTS": "4",
        "DIALER_DEMO_SEATS": "1", "DIALER_DEMO_PORT": str(free_port()), "DIALER_DEMO_RETRY": "1",
        "DIALER_DEMO_EXIT": "1" if until_finished else "",
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=_ROOT,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    try:
        yield Run(process)
    finally:
        for pid in session(process.pid):  # only when a test failed
            os.kill(pid, signal.SIGKILL)
        await process.wait()


def gone(run: Run, folder: Path) -> None:
    """Nothing is left, and nothing was said that is meant for programmers."""
    assert session(run.process.pid) == {}
    assert list(folder.iterdir()) == []
    assert "Traceback" not in run.text, run.text
    assert "Unknown child" not in run.text, run.text


async def test_a_small_list_is_dialed_to_its_end(folder: Path) -> None:
    async with demo(folder, leads=6, until_finished=True) as run:
        assert await run.end() == 0, run.text
        gone(run, folder)
    for part in (
        "starting Asterisk", "loading 6 leads", "signing in 4 agents", "login admin", "seat1",
        "phone password", "Spring offer: finished (every lead is done)", "6 of 6 done",
        "to bridge  p50", "all parts have ended",
    ):  # fmt: skip
        assert part in run.text, run.text


async def test_ctrl_c_in_the_middle_of_make_run(folder: Path) -> None:
    async with demo(folder, leads=600, command=("make", "-s", "run")) as run:
        await run.until("on call")
        assert any("api serve" in command for command in session(run.process.pid).values())
        os.killpg(run.process.pid, signal.SIGINT)
        await run.end()
        gone(run, folder)
    assert "Spring offer: running" in run.text  # how far it came
    assert "all parts have ended" in run.text


async def test_term_while_it_starts(folder: Path) -> None:
    async with demo(folder, leads=600) as run:
        await run.until("starting dialer")
        os.killpg(run.process.pid, signal.SIGTERM)
        assert await run.end() == 0, run.text
        gone(run, folder)


async def test_a_part_that_dies_ends_it_with_its_name(folder: Path) -> None:
    async with demo(folder, leads=600) as run:
        await run.until("leads done")
        (dialer,) = [p for p, c in session(run.process.pid).items() if "api serve" in c]
        os.kill(dialer, signal.SIGKILL)
        assert await run.end() == 1, run.text
        gone(run, folder)
    assert "make run: dialer ended with code -9" in run.text


@pytest.mark.full
async def test_two_of_each_go_on_when_one_ends(folder: Path) -> None:
    async with demo(folder, leads=600, command=("make", "-s", "run", "NODES=2")) as run:
        await run.until("leads done", within=180)
        dialers = [p for p, c in session(run.process.pid).items() if "api serve" in c]
        assert len(dialers) == 2
        for part, number in ((dialers[0], signal.SIGTERM), (dialers[1], signal.SIGKILL)):
            os.kill(part, number)
            injected(f"dialer of make run: {signal.Signals(number).name}")
            already = run.text.count(" is back")
            await run.until(" is back", more_than=already, within=180)
        (asterisk,) = [p for p, c in session(run.process.pid).items() if "ast2/etc/" in c]
        os.kill(asterisk, signal.SIGKILL)
        injected("Asterisk of make run: kill -9")
        await run.until("ast2 is back")
        os.killpg(run.process.pid, signal.SIGINT)
        await run.end()
        gone(run, folder)
    addresses = [line for line in run.text.splitlines() if "/api/v1" in line]
    assert len({line.split()[1] for line in addresses}) == 2, addresses
    assert "all parts have ended" in run.text
