"""A whole call centre on this machine: Asterisk, the public, phones, the dialer, its agents.

The dialer runs as a process of its own, configured through its settings and loaded through its
API, exactly as an operator would.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from api.auth import Auth
from dialer.domain.ids import id_source
from dialer.services.setup import first_client
from dialer.store.database import Database, upgrade
from telephony.clock import SystemClock
from telephony.provision.render import TrunkAccount
from tests.lab.agents import LabAgent
from tests.lab.asterisk import LabAsterisk
from tests.lab.dialers import LabDialer, node_settings
from tests.lab.process import Child, free_port
from tests.lab.public import Sipp, phones, public
from tests.lab.servers import LabPostgres, LabRedis
from tests.lab.softphone import Softphone
from tests.lab.tables import rows_of

LOGIN = "admin"


@dataclass(frozen=True, slots=True)
class Seat:
    """An agent's login, and the account of the phone, which has the same name."""

    login: str
    password: str
    phone_password: str


def _trunk(n: int) -> str:
    """The trunk of the n-th node."""
    return f"public{n + 1}" if n else "public"


def _free_udp(host: str) -> int:
    return free_port(host, kind=socket.SOCK_DGRAM)


class CallCentre:
    """`async with CallCentre(agents=10) as centre:`; everything ends with the block."""

    def __init__(
        self,
        *,
        agents: int = 10,
        seats: int = 0,
        nodes: int = 1,
        dialers: int = 1,
        database: str = "",
        folder: Path | None = None,
        calls_per_second: float = 100.0,
        lines: int = 500,
        environment: Mapping[str, str] | None = None,
        person: Softphone | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        sip_port: int = 0,
        program: Sequence[str] = ("-m", "api", "serve"),
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`nodes`: Asterisk nodes, each with a trunk of its own to the one public. `dialers`: more
        than one share a PostgreSQL and a Redis that are started for them, unless others are given.
        `person`: a phone that listens takes the public's place at the other end of the trunk.
        `host`, `port`, `sip_port`: where the API is, and where phones register; 0: any free one.
        `program`: what Python runs as the dialer. `say` hears what is being done.
        """
        self.agent_count, self.seats = agents, seats
        self._own = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="dialer-centre-"))
        self.database = database or f"sqlite+aiosqlite:///{self.folder / 'dialer.db'}"
        self.password = secrets.token_urlsafe(9)
        self.host, self.port, self._say = host, port or free_port(host), say
        self.trunk_host = person.host if person is not None else "127.0.0.2"
        self.trunk_port = person.port if person is not None else _free_udp("127.0.0.2")
        self.phone_port = _free_udp("127.0.0.3")
        self._cps, self._lines = calls_per_second, lines
        self._environment = dict(environment or {})
        self._stack = AsyncExitStack()
        self._person, self._program = person, tuple(program)
        self.public: Sipp = public(port=self.trunk_port)
        self.phones: Sipp = phones(port=self.phone_port)
        self.nodes = [
            LabAsterisk(
                f"ast{n + 1}",
                trunks=[TrunkAccount(_trunk(n), self.trunk_host, self.trunk_port)],
                folder=self.folder / f"ast{n + 1}",
                sip_host=host,
                sip_port=sip_port if n == 0 else 0,
            )
            for n in range(nodes)
        ]
        # A faulty link may stand between a dialer and a node.
        self.ami_ports = [node.ami_port for node in self.nodes]
        self._shared = dialers > 1
        self.postgres: LabPostgres | None = None
        self.redis: LabRedis | None = None
        self.dialers: list[LabDialer] = []
        for n in range(dialers):
            self._new_dialer(self.port if n == 0 else free_port(host))
        self.http = httpx.AsyncClient(base_url=self.address, timeout=30)
        self.agents: list[LabAgent] = []
        self.logins: dict[str, str] = {}

    def _sipp_phone(self, login: str) -> str:
        return f"sip:{login}@127.0.0.3:{self.phone_port}"

    def _new_dialer(self, port: int) -> LabDialer:
        name = f"dialer{len(self.dialers) + 1}" if self.dialers else "dialer"
        made = LabDialer(
            name, host=self.host, port=port, folder=self.folder,
            settings=lambda port: self.settings(port=port), program=self._program,
        )  # fmt: skip
        self.dialers.append(made)
        return made

    @property
    def address(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def addresses(self) -> list[str]:
        return [dialer.address for dialer in self.dialers]

    @property
    def asterisk(self) -> LabAsterisk:
        """The first node."""
        return self.nodes[0]

    @property
    def ami_port(self) -> int:
        """Where dialers reach the first node."""
        return self.ami_ports[0]

    @ami_port.setter
    def ami_port(self, port: int) -> None:
        self.ami_ports[0] = port

    @property
    def cel(self) -> list[Path]:
        """What every node wrote down."""
        return [node.cel for node in self.nodes]

    @property
    def dialer(self) -> Child | None:
        """The first dialer's process."""
        return self.dialers[0].child

    @property
    def others(self) -> list[Child]:
        """The processes of the other dialers."""
        return [d.child for d in self.dialers[1:] if d.child is not None]

    def settings(self, *, port: int = 0) -> dict[str, str]:
        """A dialer's settings as environment variables; `port` for one beside the first."""
        nodes = [
            node_settings(node, ami_port=port)
            for node, port in zip(self.nodes, self.ami_ports, strict=True)
        ]
        limits = {"lines": self._lines, "calls_per_second": self._cps}
        trunks = [
            {"name": _trunk(n), "node": node.name, "host": self.trunk_host, **limits}
            for n, node in enumerate(self.nodes)
        ]
        return {
            "DIALER_DATABASE": self.database,
            "DIALER_FOLDER": str(self.folder / "state"),
            "DIALER_HOST": self.host,
            "DIALER_PORT": str(port or self.port),
            "DIALER_NODES": json.dumps(nodes),
            "DIALER_TRUNKS": json.dumps(trunks),
            "DIALER_DRAIN": "5",
            "DIALER_LEASE_SECONDS": "5",
            **({"DIALER_REDIS": self.redis.url} if self.redis is not None else {}),
            **self._environment,
        }

    # -- life

    async def __aenter__(self) -> CallCentre:
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()

    async def _start(self) -> None:
        self._say("SIPp: the called public, and the agents' phones")
        if self._person is None:
            await self._stack.enter_async_context(self.public)
        await self._stack.enter_async_context(self.phones)
        for node in self.nodes:
            self._say(f"Asterisk {node.name}, private to this run")
            await self._stack.enter_async_context(node)
        self._start_servers()
        self._say("database")
        await asyncio.to_thread(upgrade, self.database)
        database, clock = Database(self.database), SystemClock()
        auth = Auth(database, key=b"x" * 32, token_seconds=60, clock=clock)
        await first_client(
            database,
            name="house",
            login=LOGIN,
            password=self.password,
            hash_password=auth.hash,
            clock=clock,
            new_id=id_source(clock),
        )
        await database.close()
        for dialer in self.dialers:
            self._say(dialer.name)
            await dialer.start()
        await self.sign_in()

    def _start_servers(self) -> None:
        """What several dialers share. On this thread: children die with the one that made them."""
        if self._shared and self.database.startswith("sqlite"):
            self._say("PostgreSQL, private to this run")
            self.postgres = self._stack.enter_context(LabPostgres())
            self.database = self.postgres.database()
        if self._shared and "DIALER_REDIS" not in self._environment:
            self._say("Redis, private to this run")
            self.redis = self._stack.enter_context(LabRedis())

    async def start_dialer(self) -> None:
        """Start (or start again) the first dialer and wait until it is ready."""
        await self.dialers[0].start()

    async def add_dialer(self) -> str:
        """Start another dialer on the same database and bus; its address, when it is ready."""
        other = self._new_dialer(free_port(self.host))
        await other.start()
        return other.address

    async def sign_in(self) -> None:
        token = await self.token(LOGIN, self.password)
        self.http.headers["Authorization"] = f"Bearer {token}"

    async def token(self, login: str, password: str) -> str:
        answer = await self.http.post("/api/v1/tokens", json={"login": login, "password": password})
        answer.raise_for_status()
        return str(answer.json()["token"])

    async def _stop(self) -> None:
        for agent in self.agents:
            await agent.close()
        for dialer in self.dialers:
            dialer.thaw()
        running = [d.child for d in self.dialers if d.child is not None]
        await asyncio.gather(*(child.stop(timeout=15) for child in running))
        await self.http.aclose()
        await self._stack.aclose()
        if self._own:
            shutil.rmtree(self.folder, ignore_errors=True)

    async def death(self) -> str:
        """Wait until a part ends that nobody asked to; its name, exit code and last words."""
        child = await self.ended()
        return f"{child.name} ended with code {child.process.returncode}:\n{child.tail(8)}"

    async def ended(self) -> Child:
        """Wait until a part ends that nobody asked to."""
        public = () if self._person is not None else (self.public,)
        parts = (part.child for part in (self.phones, *self.dialers, *self.nodes, *public))
        waits = {asyncio.ensure_future(c.process.wait()): c for c in parts if c is not None}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiting in waits:
                waiting.cancel()
        return waits[done.pop()]

    # -- what an operator does

    async def post(self, path: str, body: Any = None, *, method: str = "POST") -> Any:
        """A call of the API that must succeed; its JSON."""
        answer = await self.http.request(method, f"/api/v1{path}", json=body)
        if answer.is_error:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    async def campaign(self, name: str, **settings: Any) -> str:
        usual = {"rules_profile": "laboratory", "caller_id": "+12125550100"}
        made = await self.post("/campaigns", {"name": name, "settings": {**usual, **settings}})
        return str(made["id"])

    async def calls(self, campaign: str) -> list[dict[str, Any]]:
        """All calls of a campaign, page by page."""
        items: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = await self.post(
                f"/calls?campaign_id={campaign}&limit=500" + cursor, method="GET"
            )
            items += page["items"]
            if not page["next"]:
                return items
            cursor = f"&cursor={page['next']}"

    async def rows(self, table: str) -> Sequence[Mapping[str, Any]]:
        """A table of the dialer's database as it is, for what the API does not show."""
        return await rows_of(self.database, table)

    async def load(self, campaign: str, leads: Sequence[Mapping[str, Any]]) -> Any:
        return await self.post(
            f"/campaigns/{campaign}/leads", {"name": "lab", "leads": list(leads)}
        )

    async def add_agents(
        self,
        campaigns: Sequence[str],
        *,
        phone: Softphone | None = None,
        address: str = "",
        addresses: Sequence[str] = (),
        kind: type[LabAgent] = LabAgent,
        **behaviour: Any,
    ) -> None:
        """Agents with SIPp phones (or the given one), signed in and ready; `address`: the dialer
        they connect to, when it is not the first; `addresses`: several, in turn."""
        there = addresses or (address or self.address,)
        for index in range(len(self.agents), self.agent_count):
            login = f"agent{index + 1}"
            token = await self.make_agent(login, campaigns, phone=phone)
            at = there[index % len(there)]
            agent = kind(at, token, name=login, **behaviour)
            agent.elsewhere = [a for a in there if a != at]
            self.agents.append(agent)
        await asyncio.gather(*(agent.start() for agent in self.agents))

    async def make_agent(
        self, login: str, campaigns: Sequence[str], *, phone: Softphone | None = None
    ) -> str:
        """An agent with an account and a phone; returns a token for the websocket."""
        password = secrets.token_urlsafe(9)
        await self.post(
            "/agents",
            {
                "name": login.capitalize(),
                "endpoint": login,
                "contact": phone.uri(login) if phone else self._sipp_phone(login),
                "login": login,
                "password": password,
                "campaigns": list(campaigns),
            },
        )
        self.logins[login] = password
        return await self.token(login, password)

    async def add_seats(self, campaigns: Sequence[str]) -> list[Seat]:
        """Agents whose phones register: nobody sits there yet."""
        seats: list[Seat] = []
        for index in range(self.seats):
            login, password = f"seat{index + 1}", secrets.token_urlsafe(9)
            made = await self.post(
                "/agents",
                {
                    "name": f"Seat {index + 1}",
                    "endpoint": login,
                    "node": self.asterisk.name,  # where they are told to register
                    "login": login,
                    "password": password,
                    "campaigns": list(campaigns),
                },
            )
            self.logins[login] = password
            seats.append(Seat(login, password, str(made["phone_password"])))
        return seats
