"""The real application on a real port, with a pool engine over the switch in memory (or another).

What agents and supervisors see is read by real websocket clients.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import uvicorn
from prometheus_client import CollectorRegistry
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from api.app import Deps, create_app
from api.auth import Auth
from api.metrics import EngineMetrics
from api.runtime import http_config
from dialer.domain.ids import id_source
from dialer.engine.lines import Lines
from dialer.engine.permission import Permission
from dialer.engine.pool import PoolEngine
from dialer.engine.settings import EngineSettings
from dialer.jobs.storage import RecordingStorage
from dialer.live.feed import Feed
from dialer.live.gateway import LocalGateway
from dialer.services.accounts import Accounts
from dialer.services.agents import Agents
from dialer.services.campaigns import Campaigns
from dialer.services.setup import first_client
from dialer.services.webhooks import Webhooks
from dialer.store import admin
from dialer.store.database import Database, upgrade
from dialer.store.pool_store import SqlPoolStore
from dialer.webhooks.guard import Guard, Policy, Resolver
from telephony.clock import Clock, SystemClock
from telephony.nodes import Switchboard
from telephony.records import CelFiles
from telephony.switch import EventSink, Switch
from telephony.trunks import TrunkSettings
from telephony.twin import Behaviour, TwinNode, TwinSwitch, by_number
from tests.lab.process import until

PASSWORD = "correct horse battery"
#: Answers and stays; rings for a while first, so that a preview or manual call is seen to progress.
PUBLIC = by_number({}, others=Behaviour(delay=0.05))


@dataclass
class Office:
    address: str
    http: httpx.AsyncClient
    engine: PoolEngine
    feed: Feed
    deps: Deps
    campaign: str = ""
    agent: str = ""
    token: str = ""
    _ids: Any = field(default_factory=itertools.count)

    async def ok(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self.http.request(method, f"/api/v1{path}", json=body)
        assert answer.is_success, (method, path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    async def sign_in(self, login: str) -> str:
        body = {"login": login, "password": PASSWORD}
        return str((await self.ok("POST", "/tokens", body))["token"])

    async def screen(self, *, resume: str | None = None, token: str = "") -> Screen:
        socket = await connect(f"{self.address.replace('http', 'ws', 1)}/api/v1/ws/agent")
        auth = {"type": "auth", "token": token or self.token, "resume": resume}
        await socket.send(json.dumps(auth))
        return Screen(socket)

    def tell(self, slug: str, detail: str = "") -> None:
        """The engine says something to the agent."""
        publisher = self.engine._publisher
        assert publisher is not None
        publisher.post(f"agent:{self.agent}", "notice", {"slug": slug, "detail": detail})

    async def make_campaign(self, name: str, **settings: Any) -> str:
        settings = {"rules_profile": "laboratory", "caller_id": "+12125550100", **settings}
        made = await self.ok("POST", "/campaigns", {"name": name, "settings": settings})
        return str(made["id"])


class Screen:
    """One websocket as an agent's browser has it: what came, in order; replies apart."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.messages: list[dict[str, Any]] = []
        self.replies: dict[str, dict[str, Any]] = {}
        self._ids = itertools.count(1)

    @property
    def seq(self) -> str | None:
        return self.messages[-1]["seq"] if self.messages else None

    async def read(self, *, timeout: float = 5.0) -> dict[str, Any]:
        """The next message of any kind."""
        message: dict[str, Any] = json.loads(await asyncio.wait_for(self.socket.recv(), timeout))
        if message["type"] == "reply":
            self.replies[message["id"]] = message
        else:
            self.messages.append(message)
        return message

    async def event(self, kind: str, **data: Any) -> dict[str, Any]:
        """Read on until an event of this kind (and with these data) came; its data."""
        while True:
            message = await self.read()
            if message["type"] == kind and data.items() <= message["data"].items():
                found: dict[str, Any] = message["data"]
                return found

    async def state(self, *names: str) -> str:
        """Read on until the agent is in one of these states."""
        while True:
            message = await self.read()
            if message["type"] in ("state", "snapshot") and message["data"]["state"] in names:
                return str(message["data"]["state"])

    async def send(self, kind: str, **data: Any) -> str:
        number = f"c{next(self._ids)}"
        await self.socket.send(json.dumps({"type": kind, "id": number, "data": data}))
        return number

    async def ask(self, kind: str, **data: Any) -> dict[str, Any]:
        """Send a command and read on until its reply."""
        number = await self.send(kind, **data)
        while number not in self.replies:
            await self.read()
        return self.replies[number]

    async def closed(self, *, timeout: float = 5.0) -> tuple[int, str]:
        """Read on until the server closes: code and reason."""
        try:
            while True:
                await self.read(timeout=timeout)
        except ConnectionClosed as error:
            assert error.rcvd is not None, "closed without a word"
            return error.rcvd.code, error.rcvd.reason


@asynccontextmanager
async def open_office(
    folder: Path,
    *,
    make: Callable[[EventSink], Switch] | None = None,
    settings: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Office]:
    """One client, one agent `bo` who works one progressive campaign (running, without leads)."""
    url = f"sqlite+aiosqlite:///{folder / 'office.sqlite'}"
    await asyncio.to_thread(upgrade, url)
    clock = clock or SystemClock()
    new_id, database = id_source(clock), Database(url)
    node = TwinNode("ast", clock=clock, public=PUBLIC)
    switchboard = Switchboard(
        {"ast": make or (lambda sink: TwinSwitch(node, sink=sink, clock=clock))}
    )
    gateway, feed = LocalGateway(), Feed(clock)
    auth = Auth(database, key=b"k" * 32, token_seconds=3600, clock=clock)

    async def provision(name: str, phones: Any) -> None: ...

    async def ready() -> dict[str, Any]:
        return {"database": "ok"}

    lines = Lines(
        [TrunkSettings(name="public", node="ast", host="127.0.0.2", lines=50,
                       calls_per_second=50.0, prefixes=("+",))],
        clock=clock,
    )  # fmt: skip
    engines: dict[UUID, PoolEngine] = {}
    registry = CollectorRegistry()
    registry.register(EngineMetrics(engines))
    deps = Deps(
        database=database, gateway=gateway, feed=feed, clock=clock, new_id=new_id, auth=auth,
        agents=Agents(
            database, gateway=gateway, clock=clock, new_id=new_id, hash_password=auth.hash,
            nodes=["ast"], provision=provision,
        ),
        accounts=Accounts(database, clock=clock, new_id=new_id, hash_password=auth.hash),
        campaigns=Campaigns(database, gateway=gateway, clock=clock, new_id=new_id),
        webhooks=Webhooks(
            database, guard=Guard(Policy(), Resolver()), clock=clock, new_id=new_id
        ),
        registry=registry, ready=ready, body_bytes=1 << 20, upload_rows=500,
        storage=RecordingStorage((folder / "store").as_uri(), key=b""),
    )  # fmt: skip
    await first_client(
        database, name="house", login="admin", password=PASSWORD, hash_password=auth.hash,
        clock=clock, new_id=new_id,
    )  # fmt: skip
    async with database.begin() as connection:
        pool_id = (await admin.pools(connection))[0]["id"]
    engine = PoolEngine(
        pool_id, owner="office", store=SqlPoolStore(database, new_id=new_id),
        switchboard=switchboard, records=CelFiles([]), feed=feed, gateway=gateway, lines=lines,
        permission=Permission(lambda: ("127.0.0.2",)), clock=clock, new_id=new_id,
        settings=EngineSettings(**{"tick": 0.1, "figures": 0.1, "drain": 0.2, **(settings or {})}),
    )  # fmt: skip
    engines[pool_id] = engine
    server = uvicorn.Server(http_config(create_app(deps), host="127.0.0.1", port=0))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        await switchboard.start()
        stack.push_async_callback(switchboard.stop)
        switchboard.listen(engine.on_event)
        await engine.start()
        stack.push_async_callback(engine.stop)
        serving = asyncio.create_task(server._serve(), name="office-http")

        async def end() -> None:
            server.should_exit = True
            await asyncio.wait_for(serving, 10)

        stack.push_async_callback(end)
        await until(lambda: server.started, timeout=10, what="the HTTP server")
        port = server.servers[0].sockets[0].getsockname()[1]
        address = f"http://127.0.0.1:{port}"
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=address, timeout=10))
        office = Office(address, http, engine, feed, deps)
        http.headers["Authorization"] = f"Bearer {await office.sign_in('admin')}"
        office.campaign = await office.make_campaign("main", wrap_up=0)
        made = await office.ok(
            "POST",
            "/agents",
            {
                "name": "Bo", "endpoint": "phone-1", "login": "bo", "password": PASSWORD,
                "campaigns": [office.campaign],
            },
        )  # fmt: skip
        office.agent, office.token = made["id"], await office.sign_in("bo")
        await office.ok("POST", f"/campaigns/{office.campaign}/start")
        yield office
