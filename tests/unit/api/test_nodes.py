"""Where agents' phones belong when there is more than one Asterisk node."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from dialer.domain.ids import id_source
from dialer.live.gateway import LocalGateway
from dialer.services.agents import Agents
from dialer.store import admin
from dialer.store.database import Database, upgrade
from telephony.clock import SystemClock
from telephony.provision.phones import Phone

pytestmark = pytest.mark.unit


async def test_agents_are_spread_over_the_nodes_and_every_node_knows_every_phone(
    tmp_path: Path,
) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'nodes.sqlite'}"
    await asyncio.to_thread(upgrade, url)
    database, clock = Database(url), SystemClock()
    new_id = id_source(clock)
    client = new_id()
    async with database.begin() as connection:
        await admin.add_client(
            connection, client_id=client, name="house", pool_id=new_id(), at=clock.now()
        )
    known: dict[str, set[str]] = {}

    async def provision(node: str, phones: Sequence[Phone]) -> None:
        known[node] = {phone.endpoint for phone in phones}

    async def hashed(password: str) -> str:
        return password

    agents = Agents(
        database, gateway=LocalGateway(), clock=clock, new_id=new_id, hash_password=hashed,
        nodes=["one", "two"], provision=provision,
    )  # fmt: skip
    nodes = []
    for n in range(5):
        made = await agents.add(
            client, name=f"A{n}", endpoint=f"phone{n}", node="two" if n == 0 else "", contact="",
            login=None, password=None, campaigns=[], who="admin",
        )  # fmt: skip
        nodes.append(made.node)
    assert nodes[0] == "two"  # as it was asked for
    assert Counter(nodes) == {"one": 3, "two": 2} or Counter(nodes) == {"one": 2, "two": 3}
    assert known["one"] == known["two"] == {f"phone{n}" for n in range(5)}
    await database.close()
