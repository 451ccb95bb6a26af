"""What goes wrong with PostgreSQL, done to a real one behind a link, each time to the end."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg

from tests.lab.database_link import DatabaseLink
from tests.lab.faults import injected
from tests.lab.process import until
from tests.lab.servers import LabPostgres

SETTINGS = ("max_connections=40", "shared_buffers=32MB")
#: Transactions of a dialer, by a statement that only they run.
TRANSACTIONS = (
    "INSERT INTO attempt", "INSERT INTO reservation", "UPDATE attempt", "UPDATE pool_lease",
)  # fmt: skip
_OTHERS = "others"  # the name of those who take the connections


class Breaker:
    """Breaks the primary of the moment; each method returns when the fault is over."""

    def __init__(self, server: LabPostgres, link: DatabaseLink, *, rng: random.Random) -> None:
        self.server, self._link, self._rng = server, link, rng
        self.kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "stopped": self.stopped,
            "stopped at once": self.stopped_at_once,
            "restarted": self.restarted,
            "out of connections": self.out_of_connections,
            "sessions ended": self.sessions_ended,
            "commit not sent": self.commit_not_sent,
            "commit not heard": self.commit_not_heard,
            "link cut": self.link_cut,
            "link frozen": self.link_frozen,
            "standing still": self.standing_still,
        }

    async def one(self, kind: str) -> None:
        await self.kinds[kind]()
        injected(f"PostgreSQL: {kind}")

    async def _pause(self, least: float, most: float) -> None:
        await asyncio.sleep(self._rng.uniform(least, most))

    # -- the server

    async def stopped(self) -> None:
        await self._down(immediate=False, pause=(0.5, 6.0))

    async def stopped_at_once(self) -> None:
        await self._down(immediate=True, pause=(0.5, 6.0))

    async def restarted(self) -> None:
        await self._down(immediate=self._rng.random() < 0.5, pause=(0.0, 0.0))

    async def _down(self, *, immediate: bool, pause: tuple[float, float]) -> None:
        await asyncio.to_thread(self.server.stop, immediate=immediate)
        await self._pause(*pause)
        await asyncio.to_thread(self.server.start)

    async def standing_still(self) -> None:
        """Every process of the server, as on a machine whose disk hangs."""
        pids = [self.server.pid, *self.server.children()]
        self.server.send_all(pids, signal.SIGSTOP)
        try:
            await self._pause(0.3, 5.0)
        finally:
            self.server.send_all(pids, signal.SIGCONT)

    # -- sessions

    async def sessions_ended(self) -> None:
        """Three times within a second: whoever is in a transaction just now."""
        async with admin(self.server) as ours:
            for _ in range(3):
                await ours.fetch(_END_DIALERS)
                await self._pause(0.05, 0.5)

    async def out_of_connections(self) -> None:
        """Others hold them all, those reserved for administrators too; the dialer has none."""
        async with admin(self.server) as ours, contextlib.AsyncExitStack() as others:
            for _ in range(50):
                await ours.fetch(_END_DIALERS)
                await self._take_all(others)
                if not await ours.fetchval(_DIALERS):
                    break
            else:
                raise AssertionError("the dialer kept a connection")
            await self._pause(0.5, 5.0)

    async def _take_all(self, others: contextlib.AsyncExitStack) -> None:
        with contextlib.suppress(asyncpg.TooManyConnectionsError):
            while True:
                await others.enter_async_context(admin(self.server))

    # -- commits

    async def commit_not_sent(self) -> None:
        held = await self._link.commit(self._rng.choice(TRANSACTIONS))
        held.cut()

    async def commit_not_heard(self) -> None:
        held = await self._link.commit(self._rng.choice(TRANSACTIONS))
        try:
            await held.carried_out()
        finally:
            held.cut()

    # -- the way to it

    async def link_cut(self) -> None:
        self._link.cut()

    async def link_frozen(self) -> None:
        self._link.freeze()
        try:
            await self._pause(0.3, 5.0)
        finally:
            self._link.mend()


_END_DIALERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    f"WHERE backend_type = 'client backend' AND application_name <> '{_OTHERS}'"
)
_DIALERS = (
    "SELECT count(*) FROM pg_stat_activity "
    f"WHERE backend_type = 'client backend' AND application_name <> '{_OTHERS}'"
)


@contextlib.asynccontextmanager
async def admin(server: LabPostgres) -> AsyncIterator[asyncpg.Connection]:
    """A connection past the link, which no fault ends."""
    connection = await asyncpg.connect(
        server.dsn, server_settings={"application_name": _OTHERS}, timeout=10
    )
    try:
        yield connection
    finally:
        await connection.close()


class Pair:
    """A primary and a standby that has everything before a commit is acknowledged; `fail_over`
    makes the standby the primary, and a new standby for it."""

    def __init__(self, primary: LabPostgres, link: DatabaseLink) -> None:
        self.primary, self._link = primary, link
        self._standby: LabPostgres | None = None

    async def attach(self) -> None:
        """Make a standby and wait for it; from then on commits wait for it too."""
        standby = await asyncio.to_thread(self.primary.standby)
        self._standby = standby
        await asyncio.to_thread(standby.start)
        async with admin(self.primary) as ours:
            await ours.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            await ours.execute("ALTER SYSTEM SET synchronous_commit = 'remote_apply'")
            await ours.execute("SELECT pg_reload_conf()")

            async def synchronous() -> bool:
                found = await ours.fetchval("SELECT sync_state FROM pg_stat_replication")
                return bool(found == "sync")

            await until(synchronous, timeout=30, what="the standby to be synchronous")

    async def fail_over(self, *, heard: bool) -> None:
        """The primary dies in the middle of a commit of the dialer: `heard`, when the standby has
        it already and only the dialer was not told; else when nobody knows how far it came."""
        dead, standby = self.primary, self._standby
        assert standby is not None
        held = await self._link.commit("INSERT INTO attempt")
        if heard:
            await held.carried_out()
        else:
            held.send()
        dead.send(signal.SIGKILL)
        held.cut()
        self._link.cut()
        await asyncio.to_thread(dead.__exit__)
        await asyncio.to_thread(standby.promote)
        async with admin(standby) as ours:  # there is nobody to wait for yet
            await ours.execute("ALTER SYSTEM RESET synchronous_standby_names")
            await ours.execute("SELECT pg_reload_conf()")
        self.primary, self._standby = standby, None
        self._link.move(standby.socket)
        injected("PostgreSQL: failed over in a commit")

    async def close(self) -> None:
        for server in (self.primary, self._standby):
            if server is not None:
                await asyncio.to_thread(server.__exit__)
