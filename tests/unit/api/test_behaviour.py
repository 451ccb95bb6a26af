"""What the resources do, seen from outside."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from api.auth import Auth
from dialer.domain.errors import Unauthenticated
from dialer.store import admin
from dialer.store import schema as t
from tests.unit.api.house import PASSWORD, House

pytestmark = pytest.mark.unit


async def campaign(house: House, name: str = "spring", **settings: Any) -> str:
    values = {"caller_id": "+12125550199", **settings}
    made = await house.call("POST", "/campaigns", json={"name": name, "settings": values})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


async def test_one_bad_lead_is_rejected_with_its_reason_and_the_rest_kept(house: House) -> None:
    key = await campaign(house)
    leads: list[Any] = [
        {"number": "+12125550101", "attributes": {"plan": "gold"}},
        {"number": "nonsense"},
        {"number": "+12125550102", "name": "a\r\nb"},
        {"number": "+12125550101"},
        {"number": "+12125550103", "surprise": 1},
        {"number": "+12125550104", "attributes": {"deep": {"er": 1}}},
        {"number": "+12125550105", "name": "x" * 201},
        {"number": "+12125550106", "attributes": {"n": 2**60}},
        {"number": "+12125550107", "zone": "Europe/London", "consent": True},
        {"number": "+12125550108", "zone": "Mars/Base"},
    ]
    done = await house.call("POST", f"/campaigns/{key}/leads", json={"name": "l", "leads": leads})
    assert done.status_code == 201
    assert done.json()["accepted"] == 2
    assert [r["row"] for r in done.json()["rejected"]] == [1, 2, 3, 4, 5, 6, 7, 9]
    assert all(r["reason"] for r in done.json()["rejected"])
    found = (await house.call("GET", "/customers?number=%2B12125550101")).json()["items"]
    assert [c["attributes"] for c in found] == [{"plan": "gold"}]


async def test_too_many_rows_are_refused(house: House) -> None:
    key = await campaign(house)
    rows = [{"number": "1"}] * 501
    done = await house.call("POST", f"/campaigns/{key}/leads", json={"name": "l", "leads": rows})
    assert done.status_code == 413


async def test_a_campaigns_states_are_kept(house: House) -> None:
    key = await campaign(house)
    refused = await house.call("POST", f"/campaigns/{key}/pause")
    assert refused.status_code == 409
    assert refused.json()["state"] == "draft"
    assert "got pause" in refused.json()["detail"]
    assert (await house.call("POST", f"/campaigns/{key}/start")).json()["state"] == "running"
    changed = await house.call(
        "PUT",
        f"/campaigns/{key}/settings",
        json={"settings": {"mode": "preview", "caller_id": "+12125550199"}},
    )
    assert changed.json()["version"] == 2
    silent = await house.call("PUT", f"/campaigns/{key}/settings", json={"settings": {}})
    assert silent.status_code == 409, "a running campaign must keep its caller id"


async def test_rules_that_a_campaign_breaks_are_named(house: House) -> None:
    for settings, word in [
        ({"connect_window": 3}, "connect_window"),
        ({"ring_timeout": 10}, "ring_timeout"),
        ({"target_abandon": 0.04}, "target_abandon"),
        ({"rules_profile": "uk", "analyse": True}, "analyse"),
        ({"rules_profile": "nowhere"}, "rules profile"),
        ({"calling_hours": [[600, 600]]}, "hours"),
    ]:
        body = {"name": "a", "settings": settings}
        refused = await house.call("POST", "/campaigns", json=body)
        assert (refused.status_code, word in refused.json()["detail"]) == (422, True), refused.text
    key = await campaign(house, "night", caller_id="", calling_hours=[[1320, 120]])
    refused = await house.call("POST", f"/campaigns/{key}/start")
    assert refused.status_code == 409
    assert "caller_id" in refused.json()["detail"]


async def test_a_repeated_write_is_done_once(house: House) -> None:
    headers = {"Idempotency-Key": "k1"}
    body = {"name": "once"}
    first = await house.call("POST", "/campaigns", json=body, headers=headers)
    again = await house.call("POST", "/campaigns", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    other = await house.call("POST", "/campaigns", json={"name": "two"}, headers=headers)
    assert other.status_code == 422
    assert other.json()["type"] == "/problems/key-reused"
    # The same word of another account is another key.
    theirs = await house.call(
        "POST", "/campaigns", json={"name": "two"}, headers=headers, login="supervisor"
    )
    assert theirs.status_code == 201
    assert len((await house.call("GET", "/campaigns")).json()["items"]) == 2


async def test_two_at_once_under_one_key_make_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.token("admin")
    inside, go = asyncio.Event(), asyncio.Event()
    real = house.deps.campaigns.create

    async def slow(*args: Any, **kwargs: Any) -> Any:
        inside.set()
        await go.wait()
        return await real(*args, **kwargs)

    monkeypatch.setattr(type(house.deps.campaigns), "create", lambda self, *a, **k: slow(*a, **k))
    headers = {"Idempotency-Key": "k"}
    first = asyncio.create_task(
        house.call("POST", "/campaigns", json={"name": "a"}, headers=headers), name="first"
    )
    await asyncio.wait_for(inside.wait(), 5)
    second = await house.call("POST", "/campaigns", json={"name": "a"}, headers=headers)
    assert second.status_code == 409
    go.set()
    assert (await first).status_code == 201


async def test_a_failure_of_ours_may_be_tried_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"Idempotency-Key": "k"}

    async def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("away")

    with monkeypatch.context() as patch:
        patch.setattr(admin, "add_campaign", broken)
        bad = await house.call("POST", "/campaigns", json={"name": "a"}, headers=headers)
        assert bad.status_code == 500
    good = await house.call("POST", "/campaigns", json={"name": "a"}, headers=headers)
    assert good.status_code == 201


async def test_signing_out_disabling_and_time_end_a_token(house: House) -> None:
    assert (await house.call("GET", "/me", login="quality")).status_code == 200
    assert (await house.call("DELETE", "/tokens", login="quality")).status_code == 204
    assert (await house.call("GET", "/me", login="quality")).status_code == 401
    assert (await house.call("GET", "/me", login="supervisor")).status_code == 200
    async with house.deps.database.begin() as connection:
        row = await admin.account_by_login(connection, "supervisor")
        assert row is not None
        await admin.update_account(connection, row["id"], {"disabled": True})
    assert (await house.call("GET", "/me", login="supervisor")).status_code == 401
    assert (await house.call("GET", "/me")).status_code == 200
    house.clock.advance(3601)
    assert (await house.call("GET", "/me")).status_code == 401


async def test_guessing_passwords_locks_the_login_for_a_while(house: House) -> None:
    for _ in range(5):
        wrong = await house.http.post("/api/v1/tokens", json={"login": "admin", "password": "no"})
        assert wrong.status_code == 401
    right = {"login": "admin", "password": PASSWORD}
    assert (await house.http.post("/api/v1/tokens", json=right)).status_code == 429
    house.clock.advance(301)
    assert (await house.http.post("/api/v1/tokens", json=right)).status_code == 201
    unknown = await house.http.post("/api/v1/tokens", json={"login": "who", "password": "no"})
    assert unknown.json() == wrong.json()


async def test_only_the_houses_administrators_choose_a_client(house: House) -> None:
    guest, home = str(house.clients["guest"]), str(house.clients["house"])
    seen = await house.call("GET", "/me", headers={"X-Client": guest})
    assert seen.json()["client_id"] == guest
    for login, client in (("guest-admin", home), ("supervisor", guest)):
        refused = await house.call("GET", "/me", login=login, headers={"X-Client": client})
        assert refused.status_code == 403


async def test_a_recording_is_heard_by_signed_address_and_every_access_noted(
    house: House, tmp_path: Path
) -> None:
    sound, call_id = os.urandom(200_000), uuid4()
    source = tmp_path / "a.wav"
    source.write_bytes(sound)
    storage = house.deps.storage
    assert storage is not None
    size, digest = storage.put(source, "a.wav.enc")
    async with house.deps.database.begin() as connection:
        await connection.execute(
            sa.insert(t.recording).values(
                attempt_id=call_id, client_id=house.clients["house"], campaign_id=uuid4(),
                node="ast", path="a.wav", state="stored", stored_as="a.wav.enc", size=size,
                sha256=digest, at=house.clock.now(),
            )
        )  # fmt: skip
    theirs = await house.call("GET", f"/calls/{call_id}/recording", login="guest-admin")
    assert theirs.status_code == 404
    given = await house.call("GET", f"/calls/{call_id}/recording", login="quality")
    address = given.json()["address"]
    whole = await house.http.get(address)
    assert whole.content == sound
    part = await house.http.get(address, headers={"Range": "bytes=70000-140000"})
    assert (part.status_code, part.content) == (206, sound[70000:140001])
    assert (await house.http.get(address, headers={"Range": "bytes=900000-"})).status_code == 416
    other = address.replace(str(call_id), str(uuid4()))
    assert (await house.http.get(other)).status_code == 401
    token = await house.token("quality")
    stolen = f"/api/v1/recordings/{call_id}/sound?signature={token}"
    assert (await house.http.get(stolen)).status_code == 401, "a bearer token is no signature"
    signature = address.rpartition("=")[2]
    as_token = {"Authorization": f"Bearer {signature}"}
    assert (await house.call("GET", "/me", login=None, headers=as_token)).status_code == 401
    rotated = Auth(house.deps.database, key=b"n" * 32, token_seconds=60, clock=house.clock)
    with pytest.raises(Unauthenticated):  # a new key ends what the old one signed
        rotated.open_address(signature, call_id)
    house.deps.auth.open_address(signature, call_id)
    for place in range(0, len(signature), 7):  # each part of it counts
        forged = (
            signature[:place] + ("A" if signature[place] != "A" else "B") + signature[place + 1 :]
        )
        assert (await house.http.get(address.replace(signature, forged))).status_code == 401
    for nonsense in ("", "%00", "é", signature[:-4], signature + "AAAA", "A" * 1000):
        assert (await house.http.get(f"{address.partition('=')[0]}={nonsense}")).status_code == 401
    assert "quality" not in address, "no person in an address"
    accounts = (await house.call("GET", "/accounts")).json()["items"]
    mine = next(a["id"] for a in accounts if a["login"] == "quality")
    await house.call("PATCH", f"/accounts/{mine}", json={"disabled": True})
    assert (await house.http.get(address)).status_code == 401, "given to one who may no longer"
    await house.call("PATCH", f"/accounts/{mine}", json={"disabled": False})
    assert (await house.http.get(address)).status_code == 200
    house.clock.advance(301)
    assert (await house.http.get(address)).status_code == 401
    log = (await house.call("GET", "/audit")).json()["items"]
    log = [e for e in log if e["action"].startswith("recording")]
    noted = sorted(e["action"] for e in log)  # one moment of the test's clock: no order
    assert noted == ["recording.address"] + ["recording.read"] * 4
    assert {e["who"] for e in log} == {"quality"}


async def test_an_erased_person_is_gone_and_never_called_again(house: House) -> None:
    key = await campaign(house)
    number = "+12125550101"
    rows = [{"number": number, "name": "Ada", "external_key": "c1", "attributes": {"a": 1}}]
    await house.call("POST", f"/campaigns/{key}/leads", json={"name": "l", "leads": rows})
    assert (await house.call("POST", "/do-not-call", json={"number": number})).status_code == 201
    found = (await house.call("GET", "/customers")).json()["items"][0]
    assert (await house.call("DELETE", f"/customers/{found['id']}")).status_code == 204
    gone = (await house.call("GET", f"/customers/{found['id']}")).json()
    assert (gone["name"], gone["external_key"], gone["attributes"]) == ("", "", {})
    assert number not in (await house.call("GET", f"/campaigns/{key}/leads")).text
    check = await house.call("POST", "/do-not-call/check", json={"number": number})
    assert check.json()["blocked"] is True


async def test_a_person_being_called_is_not_erased_nor_rescheduled(house: House) -> None:
    key = await campaign(house)
    rows = [{"number": "+12125550101", "name": "Ada"}]
    await house.call("POST", f"/campaigns/{key}/leads", json={"name": "l", "leads": rows})
    lead = (await house.call("GET", f"/campaigns/{key}/leads")).json()["items"][0]
    when = {"at": "2026-03-03T10:00:00+01:00"}

    async def put(state: str) -> None:
        async with house.deps.database.begin() as connection:
            await connection.execute(
                sa.update(t.lead).where(t.lead.c.id == UUID(lead["id"])).values(state=state)
            )

    await put("dialing")
    assert (await house.call("DELETE", f"/customers/{lead['customer_id']}")).status_code == 409
    assert (await house.call("PUT", f"/callbacks/{lead['id']}", json=when)).status_code == 409
    await put("retry")
    agreed = await house.call("PUT", f"/callbacks/{lead['id']}", json=when)
    assert (agreed.status_code, agreed.json()["state"]) == (200, "callback")
    assert len((await house.call("GET", "/callbacks")).json()["items"]) == 1
    past = {"at": "2026-03-01T10:00:00Z"}
    assert (await house.call("PUT", f"/callbacks/{lead['id']}", json=past)).status_code == 422
    assert (await house.call("DELETE", f"/callbacks/{lead['id']}")).status_code == 204
    assert (await house.call("DELETE", f"/callbacks/{lead['id']}")).status_code == 409


async def test_pages_follow_each_other_and_foreign_cursors_are_refused(house: House) -> None:
    key = await campaign(house)
    rows = [{"number": f"+1212555{n:04d}", "name": str(n)} for n in range(7)]
    await house.call("POST", f"/campaigns/{key}/leads", json={"name": "l", "leads": rows})
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await house.call("GET", f"/customers?limit=3{cursor}")).json()
        seen += [c["id"] for c in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert len(seen) == len(set(seen)) == 7
    for bad in ("x", "%00", "AAAA", "é"):
        assert (await house.call("GET", f"/customers?cursor={bad}")).status_code == 422
