"""A whole application on a temporary database, with two clients and an account of every role."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from api.app import Deps, create_app
from api.auth import SCOPES, Auth
from dialer.domain.ids import id_source
from dialer.jobs.storage import RecordingStorage
from dialer.live.feed import Feed
from dialer.live.gateway import LocalGateway
from dialer.services.accounts import Accounts
from dialer.services.agents import Agents
from dialer.services.campaigns import Campaigns
from dialer.services.webhooks import Webhooks
from dialer.store import admin
from dialer.store.database import Database, upgrade
from dialer.webhooks.addresses import Address, parsed
from dialer.webhooks.guard import Guard, Policy
from telephony.clock import ManualClock
from telephony.provision.phones import Phone

PASSWORD = "correct horse battery"
BODY = 200_000


@dataclass
class House:
    app: FastAPI
    deps: Deps
    clock: ManualClock
    http: httpx.AsyncClient
    clients: dict[str, UUID]
    pools: dict[str, UUID]
    phones: dict[str, list[Phone]]
    tokens: dict[str, str] = field(default_factory=dict)

    async def token(self, login: str) -> str:
        if login not in self.tokens:
            body = {"login": login, "password": PASSWORD}
            answer = await self.http.post("/api/v1/tokens", json=body)
            assert answer.status_code == 201, answer.text
            self.tokens[login] = answer.json()["token"]
        return self.tokens[login]

    async def call(
        self, method: str, path: str, *, login: str | None = "admin", **kwargs: Any
    ) -> httpx.Response:
        headers: Mapping[str, str] = kwargs.pop("headers", {})
        if login is not None:
            headers = {**headers, "Authorization": f"Bearer {await self.token(login)}"}
        return await self.http.request(method, f"/api/v1{path}", headers=headers, **kwargs)


async def public_names(host: str, port: int) -> Sequence[Address]:
    """A resolver by which every name leads to the public network; nothing is sent there."""
    return [parsed("8.8.8.8")]


@asynccontextmanager
async def open_house(folder: Path, *, url: str | None = None) -> AsyncIterator[House]:
    """Clients `house` and `guest`; logins are the roles, and `guest-admin` for the other client."""
    url = url or f"sqlite+aiosqlite:///{folder / 'house.sqlite'}"
    await asyncio.to_thread(upgrade, url)
    clock = ManualClock(datetime(2026, 3, 2, 12, tzinfo=UTC))
    database, gateway, new_id = Database(url), LocalGateway(), id_source(clock)
    auth = Auth(database, key=b"k" * 32, token_seconds=3600, clock=clock)
    phones: dict[str, list[Phone]] = {}

    async def provision(node: str, those: Sequence[Phone]) -> None:
        phones[node] = list(those)

    async def ready() -> dict[str, Any]:
        return {"database": "ok"}

    agents = Agents(
        database, gateway=gateway, clock=clock, new_id=new_id, hash_password=auth.hash,
        nodes=["ast"], provision=provision,
    )  # fmt: skip
    deps = Deps(
        database=database, gateway=gateway, feed=Feed(clock), clock=clock, new_id=new_id,
        auth=auth, agents=agents,
        accounts=Accounts(database, clock=clock, new_id=new_id, hash_password=auth.hash),
        webhooks=Webhooks(
            database, guard=Guard(Policy(), public_names), clock=clock, new_id=new_id
        ),
        registry=CollectorRegistry(), ready=ready, body_bytes=BODY,
        upload_rows=500, storage=RecordingStorage((folder / "store").as_uri(), key=b"s" * 32),
        campaigns=Campaigns(database, gateway=gateway, clock=clock, new_id=new_id),
    )  # fmt: skip
    app = create_app(deps)
    clients, pools = {}, {}
    hashed = await auth.hash(PASSWORD)
    async with database.begin() as connection:
        for name in ("house", "guest"):
            clients[name], pools[name] = new_id(), new_id()
            await admin.add_client(
                connection, client_id=clients[name], name=name, pool_id=pools[name], at=clock.now()
            )
            clock.advance(1)
        for login, role, client in [
            *((role, role, "house") for role in SCOPES),
            ("guest-admin", "admin", "guest"),
        ]:
            await admin.add_account(
                connection,
                {
                    "id": new_id(), "client_id": clients[client], "login": login,
                    "password_hash": hashed, "role": role, "disabled": False,
                    "created_at": clock.now(),
                },
            )  # fmt: skip
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://house") as http:
        yield House(app, deps, clock, http, clients, pools, phones)
    await database.close()
