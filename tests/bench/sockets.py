"""Half a thousand agents and twenty supervisors on websockets: how soon does a pop arrive?

The server is `dialer serve` with PostgreSQL and the switch in memory (`office.py`); the screens are
in other processes. From the answer (Newstate Up in the switch) to the pop read by the screen.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import jwt
import sqlalchemy as sa

from dialer.domain.campaign import CampaignSettings, DialMode, DispositionCode
from dialer.domain.ids import id_source
from dialer.store import admin
from dialer.store import schema as t
from dialer.store.database import Database, upgrade
from dialer.store.leads import NewLead, insert_leads
from telephony.clock import SystemClock
from tests.bench.report import line, percentile, processor_seconds, say
from tests.lab.process import Child, free_port, until
from tests.lab.servers import LabPostgres

NAME = "websockets"
AGENTS, SUPERVISORS, PROCESSES = 500, 20, 2
RATE = 52.0  # calls/s, all answered: a little above the pops that are asked for
WARM_UP, SECONDS = 12.0, 30.0
_KEY = "a key of this bench and of nothing else, long enough"
_PROJECT = Path(__file__).resolve().parents[2]


class House:
    """The rows of one client with its campaign, people, agents and supervisors."""

    def __init__(self, url: str) -> None:
        self._database, self._clock = Database(url), SystemClock()
        self._new_id = id_source(self._clock)
        self._client, self._pool = self._new_id(), self._new_id()
        self.campaign = self._new_id()

    async def build(self, *, agents: int, leads: int) -> None:
        now = self._clock.now()
        async with self._database.begin() as db:
            await admin.add_client(
                db, client_id=self._client, name="house", pool_id=self._pool, at=now
            )
            await admin.add_campaign(
                db, campaign_id=self.campaign, client_id=self._client, pool_id=self._pool,
                name=NAME, at=now, dispositions=[DispositionCode("success", "Success")],
                settings=CampaignSettings(
                    mode=DialMode.PROGRESSIVE, rules_profile="laboratory",
                    caller_id="+12125550100", record=False, retries={}, max_attempts=1,
                ),
            )  # fmt: skip
            rows = [
                NewLead(f"+1202{i:07}", "US", "mobile", f"Person {i}", f"k{i}", "", True, {})
                for i in range(leads)
            ]
            await insert_leads(
                db, rows, client_id=self._client, campaign_id=self.campaign, list_name="list",
                now=now, new_id=self._new_id,
            )  # fmt: skip

    async def person(self, login: str, role: str) -> str:
        """An account, with an agent when it is one's; its token."""
        account = self._new_id()
        async with self._database.begin() as db:
            await admin.add_account(
                db,
                {
                    "id": account, "client_id": self._client, "login": login, "role": role,
                    "password_hash": "none: its token is made here", "disabled": False,
                    "created_at": self._clock.now(),
                },
            )  # fmt: skip
            if role == "agent":
                await self._agent(db, login, account)
            generation = await db.scalar(
                sa.select(t.account.c.generation).where(t.account.c.id == account)
            )
        now = int(self._clock.now().timestamp())
        claims = {
            "sub": str(account), "client": str(self._client), "login": login, "role": role,
            "jti": account.hex, "gen": generation, "iat": now, "exp": now + 7200,
        }  # fmt: skip
        return jwt.encode(claims, _KEY, algorithm="HS256")

    async def _agent(self, db: Any, login: str, account: UUID) -> None:
        agent = self._new_id()
        await admin.add_agent(
            db,
            {
                "id": agent, "client_id": self._client, "pool_id": self._pool,
                "account_id": account, "name": login, "endpoint": login, "node": "ast1",
                "contact": "", "phone_password": "",
            },
        )  # fmt: skip
        await admin.assign(db, self._client, agent, [self.campaign])

    async def close(self) -> None:
        await self._database.close()


def environment(url: str, folder: Path, port: int) -> dict[str, str]:
    """The server's settings."""
    node = {"name": "ast1", "port": 5038, "secret": "none"}
    trunk = {
        "name": "public", "node": "ast1", "host": "127.0.0.2", "lines": 2000,
        "calls_per_second": RATE,
    }  # fmt: skip
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("DIALER_")},
        "DIALER_DATABASE": url, "DIALER_FOLDER": str(folder), "DIALER_PORT": str(port),
        "DIALER_SECRET": _KEY, "DIALER_NODES": json.dumps([node]),
        "DIALER_TRUNKS": json.dumps([trunk]), "DIALER_DRAIN": "1",
        "BENCH_UPS": str(folder / "ups.json"),
    }  # fmt: skip


async def screens(address: str, agents: list[Any], supervisors: list[str]) -> Any:
    """A process with these screens, once they are ready."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.screens", cwd=_PROJECT, limit=1 << 26,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    told = {"address": address, "agents": agents, "supervisors": supervisors}
    process.stdin.write(json.dumps(told).encode() + b"\n")
    await process.stdin.drain()
    if (await process.stdout.readline()).strip() != b"ready":
        raise RuntimeError("the screens did not get ready")
    return process


async def run() -> bool:
    """Print the figures; False when a goal is missed."""
    with LabPostgres(sync=True) as postgres, tempfile.TemporaryDirectory() as name:
        url, folder = postgres.database(), Path(name)
        await asyncio.to_thread(upgrade, url)
        house = House(url)
        say(f"{AGENTS} agents, {SUPERVISORS} supervisors, and people to call")
        await house.build(agents=AGENTS, leads=int(RATE * (WARM_UP + SECONDS + 10)))
        agents = [[f"agent{i}", await house.person(f"agent{i}", "agent")] for i in range(AGENTS)]
        watchers = [await house.person(f"boss{i}", "supervisor") for i in range(SUPERVISORS)]
        await house.close()
        port = free_port()
        server = await Child.start(
            "office", [sys.executable, "-m", "tests.bench.office"], log=folder / "log",
            cwd=_PROJECT, env=environment(url, folder, port),
        )  # fmt: skip
        try:
            return await _measure(server, port, agents, watchers, house, folder)
        finally:
            await server.stop(timeout=20)


async def _measure(
    server: Child,
    port: int,
    agents: list[Any],
    watchers: list[str],
    house: House,
    folder: Path,
) -> bool:
    address = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=address, timeout=30) as http:
        http.headers["Authorization"] = f"Bearer {watchers[0]}"

        async def up() -> bool:
            try:
                return (await http.get("/readyz")).status_code == 200
            except httpx.HTTPError:
                if not server.alive:
                    raise RuntimeError(f"the server ended:\n{server.tail()}") from None
                return False

        await until(up, timeout=60, what="the server to be ready")
        parts = [
            await screens(address, agents[n::PROCESSES], watchers[n::PROCESSES])
            for n in range(PROCESSES)
        ]
        say("all signed in; dialing")
        (await http.post(f"/api/v1/campaigns/{house.campaign}/start")).raise_for_status()
        await asyncio.sleep(WARM_UP)
        cpu, start = processor_seconds(server.process.pid), asyncio.get_running_loop().time()
        await asyncio.sleep(SECONDS)
        end = asyncio.get_running_loop().time()
        cpu = processor_seconds(server.process.pid) - cpu
    found = []
    for part in parts:
        out, _ = await part.communicate(b"")
        if part.returncode:
            raise RuntimeError("the screens failed")
        found.append(json.loads(out))
    await server.stop(timeout=20)
    ups = json.loads((folder / "ups.json").read_text())
    return _figures(found, ups, start=start, end=end, cpu=cpu)


def _figures(
    found: list[dict[str, Any]], ups: dict[str, float], *, start: float, end: float, cpu: float
) -> bool:
    pops = [(at, call) for part in found for at, call in part["pops"]]
    took = [at - ups[call] for at, call in pops if start <= at < end and call in ups]
    idle = [late for part in found for late in part["idle"]]
    answered = sum(start <= at < end for at in ups.values())
    rate, seconds = len(took) / (end - start), end - start
    good = [
        line(NAME, "pops per second", rate, "1/s", goal="50", ok=rate >= 49.0),
        line(NAME, "answers without a pop", max(answered - len(took) - 25, 0), "calls", goal="0",
             ok=answered - len(took) <= 25),  # those of the last moments are read after the end
    ]  # fmt: skip
    for share, goal in ((0.5, None), (0.99, 20.0), (1.0, None)):
        name = "max" if share == 1.0 else f"p{share * 100:.0f}"
        value = percentile(took, share) * 1000
        good.append(
            line(
                NAME, f"Up to pop read {name}", value, "ms",
                goal=f"at most {goal:.0f} ms" if goal else "",
                baseline=percentile(idle, share) * 1000, ok=value <= goal if goal else None,
            )
        )  # fmt: skip
    figures = min(count for part in found for count in part["figures"]) / (WARM_UP + seconds)
    good.append(
        line(NAME, "live figures per supervisor, the least", figures, "1/s", goal="1",
             ok=figures >= 0.9)
    )  # fmt: skip
    line(NAME, "processor time of the server per second", cpu / seconds * 1000, "ms")
    line(NAME, "processor time of the server per pop", cpu / max(len(took), 1) * 1000, "ms")
    return all(good)
