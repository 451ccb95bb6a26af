"""A finished campaign: loading leads starts nothing, starting it without any is refused."""

from __future__ import annotations

import pytest

from tests.unit.api.house import House

pytestmark = pytest.mark.unit


async def test_more_leads_then_start(house: House) -> None:
    body = {"name": "spring", "settings": {"caller_id": "+12125550199"}}
    made = await house.call("POST", "/campaigns", json=body)
    path = f"/campaigns/{made.json()['id']}"
    assert (await house.call("POST", f"{path}/start")).json()["state"] == "running"
    assert (await house.call("POST", f"{path}/stop")).json()["state"] == "finished"
    refused = await house.call("POST", f"{path}/start")
    assert refused.status_code == 409
    assert "load more" in refused.json()["detail"]
    leads = {"name": "second", "leads": [{"number": "+12125550101"}]}
    assert (await house.call("POST", f"{path}/leads", json=leads)).json()["accepted"] == 1
    assert (await house.call("GET", path)).json()["state"] == "finished"
    assert (await house.call("POST", f"{path}/start")).json()["state"] == "running"
