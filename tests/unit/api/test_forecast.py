"""A forecast over the API: from the records and an engine's word, in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.api.house import House

pytestmark = pytest.mark.unit

STANDS = {
    "free": 1, "talking": [3.0, 40.0, 9.0], "wrapping": [2.0], "ringing": [1.0, 8.0, 12.5],
    "live": 100, "abandoned": 2, "windows": [[100.0, 2.0, 0.03]], "lines": 100,
    "calls_per_second": 20.0,
}  # fmt: skip


async def campaign(house: House, **settings: Any) -> str:
    made = await house.call("POST", "/campaigns", json={"name": "a", "settings": settings})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


async def serve(house: House, stands: Mapping[str, Any] = STANDS) -> None:
    async def handle(command: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        assert command in ("pool.outlook", "pool.refresh")
        return stands if command == "pool.outlook" else {}

    await house.deps.gateway.serve(house.pools["house"], handle)


async def test_both_settings_and_the_difference(house: House) -> None:
    await serve(house)
    target = {"mode": "predictive", "target_abandon": 0.03, "rules_profile": "laboratory"}
    mine = await campaign(house, **target)
    people = [{"number": f"+1212555{n:04}"} for n in range(300)]
    loaded = await house.call(
        "POST", f"/campaigns/{mine}/leads", json={"name": "l", "leads": people}
    )
    assert loaded.json()["accepted"] == 300
    answer = await house.call(
        "POST", f"/campaigns/{mine}/forecast", json={"mode": "progressive", "minutes": 10}
    )
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["minutes"], found["attempts"]) == (10, 0)
    now, then = found["current"]["occupancy"], found["changed"]["occupancy"]
    assert 0 < then["mean"] < now["mean"] < 1 and now["low"] <= now["mean"] <= now["high"]
    assert found["difference"]["occupancy"]["mean"] == pytest.approx(
        then["mean"] - now["mean"], abs=1e-3
    )
    assert 600 < found["current"]["finish"]["mean"] < found["changed"]["finish"]["mean"]
    assert found["parameters"]["answer_share"] > 0


async def test_what_cannot_be_forecast_is_said(house: House) -> None:
    mine = await campaign(house, mode="predictive")
    path = f"/campaigns/{mine}/forecast"
    assert (await house.call("POST", path, json={})).status_code == 503  # no engine
    await serve(house, {**STANDS, "free": 0, "talking": [], "wrapping": []})
    assert (await house.call("POST", path, json={})).status_code == 409
    assert (await house.call("POST", path, json={"mode": "preview"})).status_code == 422
    assert (await house.call("POST", path, json={"minutes": 600})).status_code == 422
    other = await house.call("POST", path, login="guest-admin", json={})
    assert other.status_code == 404
