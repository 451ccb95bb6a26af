"""Lists in pages; agents, accounts, calls and lists as operations work with them."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from dialer.store import schema as t
from tests.unit.api.house import PASSWORD, House
from tests.unit.api.test_behaviour import campaign

pytestmark = pytest.mark.unit


async def test_every_list_gives_its_pages_in_order_and_whole(house: House) -> None:
    first = await campaign(house, "c0")
    for n in range(1, 5):
        await campaign(house, f"c{n}")
        house.clock.advance(1)
    for n in range(5):
        body = {"name": "Same", "endpoint": f"p{n}"}
        assert (await house.call("POST", "/agents", json=body)).status_code == 201
        number = {"number": f"+1212555010{n}"}
        assert (await house.call("POST", "/do-not-call", json=number)).status_code == 201
        rows = [{"number": f"+1212555020{n}"}]
        body = {"name": f"l{n}", "leads": rows}
        await house.call("POST", f"/campaigns/{first}/leads", json=body)
        body = {"settings": {"wrap_up": n}}
        await house.call("PUT", f"/campaigns/{first}/settings", json=body)
        assert (await house.call("POST", "/clients", json={"name": f"k{n}"})).status_code == 201
    async with house.deps.database.begin() as connection:
        await connection.execute(
            sa.update(t.lead).values(state="callback", next_at=house.clock.now())
        )
    for path, key, count in [
        ("/campaigns", "id", 5), ("/agents", "id", 5), ("/accounts", "login", 5),
        ("/clients", "id", 7), ("/pools", "id", 1), ("/do-not-call", "number", 5),
        (f"/campaigns/{first}/leads", "id", 5), ("/callbacks", "id", 5), ("/lists", "id", 5),
        (f"/campaigns/{first}/versions", "version", 6), ("/customers", "id", 5),
    ]:  # fmt: skip
        seen: list[Any] = []
        params: dict[str, Any] = {"limit": 2}
        while True:
            page = (await house.call("GET", path, params=params)).json()
            assert len(page["items"]) <= 2
            seen += [row[key] for row in page["items"]]
            if page["next"] is None:
                break
            params["cursor"] = page["next"]
        whole = [row[key] for row in (await house.call("GET", path)).json()["items"]]
        assert seen == whole, path
        assert len(set(seen)) == count, path


async def test_an_agent_is_unassigned_disabled_and_gets_another_phone_password(
    house: House,
) -> None:
    one, two = await campaign(house, "one"), await campaign(house, "two")
    body = {
        "name": "Bo", "endpoint": "bo", "login": "bo", "password": PASSWORD,
        "campaigns": [one, two],
    }  # fmt: skip
    made = (await house.call("POST", "/agents", json=body)).json()
    assert made["phone_password"] == house.phones["ast"][0].password
    path = f"/agents/{made['id']}"
    assert (await house.call("DELETE", f"{path}/campaigns/{one}")).status_code == 204
    shown = (await house.call("GET", path)).json()
    assert (shown["campaigns"], shown["phone_password"]) == ([two], None)
    for _ in range(2):
        assert (await house.call("PUT", f"{path}/campaigns/{one}")).status_code == 204
    assert sorted((await house.call("GET", path)).json()["campaigns"]) == sorted([one, two])
    again = (await house.call("POST", f"{path}/phone-password")).json()["phone_password"]
    assert again != made["phone_password"]
    assert [p.password for p in house.phones["ast"]] == [again]
    told: list[tuple[str, Any]] = []

    async def engine(command: str, payload: Any) -> dict[str, Any]:
        told.append((command, dict(payload)))
        return {}

    release = await house.deps.gateway.serve(house.pools["house"], engine)
    token = await house.token("bo")
    off = await house.call("PATCH", path, json={"disabled": True, "name": "Bo B."})
    assert (off.json()["disabled"], off.json()["name"]) == (True, "Bo B.")
    assert ("agent.sign_out", {"agent_id": made["id"], "reason": "disabled"}) in told
    assert house.phones["ast"] == [], "the phone of a disabled agent may not register"
    headers = {"Authorization": f"Bearer {token}"}
    assert (await house.call("GET", "/me", login=None, headers=headers)).status_code == 401
    on = await house.call("PATCH", path, json={"disabled": False})
    assert on.json()["disabled"] is False
    assert len(house.phones["ast"]) == 1
    await release()
    fixed = {"name": "Di", "endpoint": "di", "contact": "sip:di@127.0.0.3:5060"}
    di = (await house.call("POST", "/agents", json=fixed)).json()
    assert (await house.call("POST", f"/agents/{di['id']}/phone-password")).status_code == 409
    assert (await house.call("PATCH", f"/agents/{di['id']}", json={"disabled": True})
            ).status_code == 409  # fmt: skip
    log = [e["action"] for e in (await house.call("GET", "/audit")).json()["items"]]
    noted = {"agent.disabled", "agent.enabled", "agent.phone_password"}
    assert sorted(e for e in log if e in noted) == sorted(noted)


async def test_accounts_are_changed_and_nobody_locks_themselves_out(house: House) -> None:
    accounts = (await house.call("GET", "/accounts")).json()["items"]
    ids = {a["login"]: a["id"] for a in accounts}
    token = {"Authorization": f"Bearer {await house.token('quality')}"}
    assert (await house.call("GET", "/calls", login=None, headers=token)).status_code == 200
    path = f"/accounts/{ids['quality']}"
    assert (await house.call("PATCH", path, json={"role": "agent"})).json()["role"] == "agent"
    assert (await house.call("GET", "/calls", login=None, headers=token)).status_code == 403
    assert (await house.call("PATCH", path, json={"disabled": True})).json()["disabled"] is True
    assert (await house.call("GET", "/me", login=None, headers=token)).status_code == 401
    new = {"disabled": False, "password": "another long password"}
    assert (await house.call("PATCH", path, json=new)).status_code == 200
    body = {"login": "quality", "password": "another long password"}
    assert (await house.http.post("/api/v1/tokens", json=body)).status_code == 201
    for change in ({"disabled": True}, {"role": "agent"}):
        own = await house.call("PATCH", f"/accounts/{ids['admin']}", json=change)
        assert own.status_code == 409
    log = (await house.call("GET", "/audit")).json()["items"]
    assert {e["action"] for e in log} == {"account.changed", "sign_in"}
    assert "another long password" not in str(log)


async def test_a_call_is_shown_in_full_and_found_by_what_the_agent_said(house: House) -> None:
    key, call_id, agent_id = await campaign(house), house.deps.new_id(), uuid4()
    async with house.deps.database.begin() as connection:
        await connection.execute(
            sa.insert(t.attempt).values(
                intended_at=house.clock.now(), id=call_id, client_id=house.clients["house"],
                campaign_id=UUID(key), pool_id=house.pools["house"], lead_id=uuid4(),
                customer_id=uuid4(), number_id=uuid4(), number="+12125550123",
                caller_id="+12125550199", node="ast", trunk="t", mode="progressive",
                settings_version=1, script_version=0, form_version=0, rules_profile="us_tsr@1",
                verdict={"verdict": "allow", "zones": ["America/New_York"]},
                outcome="ended_by_agent", agent_id=agent_id,
            )
        )  # fmt: skip
        await connection.execute(
            sa.insert(t.disposition).values(
                attempt_id=call_id, agent_id=agent_id, code="success", note="fine",
                form={"size": "L"}, at=house.clock.now(), wrap_up_seconds=3.5,
            )
        )  # fmt: skip
    full = (await house.call("GET", f"/calls/{call_id}")).json()
    assert full["verdict"]["zones"] == ["America/New_York"]
    assert (full["form"], full["disposition"], full["note"]) == ({"size": "L"}, "success", "fine")
    for code, found in (("success", 1), ("refused", 0)):
        page = (await house.call("GET", f"/calls?disposition={code}")).json()
        assert len(page["items"]) == found
    used = (await house.call("GET", f"/campaigns/{key}/dispositions")).json()["items"]
    assert {d["code"]: d["used"] for d in used}["success"] == 1
    listed = (await house.call("GET", "/campaigns?state=draft")).json()["items"]
    assert [c["id"] for c in listed] == [key]


async def test_a_list_says_how_far_it_is(house: House) -> None:
    key = await campaign(house)
    rows = [{"number": f"+1212555012{n}"} for n in range(3)]
    body = {"name": "march", "leads": rows}
    made = (await house.call("POST", f"/campaigns/{key}/leads", json=body)).json()
    shown = (await house.call("GET", f"/lists/{made['list_id']}")).json()
    assert (shown["name"], shown["leads"], shown["states"]) == ("march", 3, {"new": 3})
