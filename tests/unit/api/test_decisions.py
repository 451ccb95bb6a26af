"""Why so many calls: read page by page, by whose campaign it is, and forgotten when it is old."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from dialer.jobs.decisions import prune_old
from dialer.store import schema as t
from dialer.store.past import prune_decisions
from tests.unit.api.house import House

pytestmark = pytest.mark.unit

DETAILS = {
    "reason": "2 calls for 1 free agent", "agents": 1, "in_flight": 3, "waiting": 0,
    "theta": 0.07, "budget_left": None,
}  # fmt: skip


async def kept(house: House, count: int) -> str:
    made = await house.call("POST", "/campaigns", json={"name": "a"})
    campaign = str(made.json()["id"])
    rows: list[dict[str, Any]] = [
        {
            "campaign_id": UUID(campaign), "client_id": house.clients["house"], "node": "ast",
            "at": house.clock.now() - timedelta(days=n), "settings_version": 1, "calls": n,
            "cancelled": 0, "binding": "risk", "details": DETAILS,
        }
        for n in range(count)
    ]  # fmt: skip
    async with house.deps.database.begin() as connection:
        await connection.execute(sa.insert(t.pacing_decision), rows)
    return campaign


async def test_newest_first_page_by_page(house: House) -> None:
    path = f"/campaigns/{await kept(house, 5)}/decisions"
    first = (await house.call("GET", path, params={"limit": 3})).json()
    assert [item["calls"] for item in first["items"]] == [0, 1, 2]
    assert first["items"][0]["reason"] == DETAILS["reason"]
    assert (first["items"][0]["theta"], first["items"][0]["goal"]) == (0.07, None)
    rest = (await house.call("GET", path, params={"limit": 3, "cursor": first["next"]})).json()
    assert [item["calls"] for item in rest["items"]] == [3, 4] and rest["next"] is None
    assert (await house.call("GET", path, login="guest-admin")).status_code == 404
    assert (await house.call("GET", path, login="supervisor")).status_code == 200
    assert (await house.call("GET", path, login="agent")).status_code == 403


async def test_what_is_old_is_forgotten(house: House) -> None:
    path = f"/campaigns/{await kept(house, 6)}/decisions"
    await prune_old(house.deps.database, days=3.5, clock=house.clock)
    assert len((await house.call("GET", path)).json()["items"]) == 4
    async with house.deps.database.begin() as connection:
        assert await prune_decisions(connection, before=house.clock.now()) == 3
    assert [i["calls"] for i in (await house.call("GET", path)).json()["items"]] == [0]
