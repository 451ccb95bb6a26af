"""Webhooks over the API: who may, what is refused, what is shown and what is not."""

from __future__ import annotations

from typing import Any

import pytest

from dialer.services.webhooks import MOST
from tests.unit.api.house import House

pytestmark = pytest.mark.unit

URL = "https://crm.example.com/hooks"


async def made(house: House, **body: Any) -> dict[str, Any]:
    answer = await house.call("POST", "/webhooks", json={"url": URL, **body})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


@pytest.mark.parametrize(
    ("login", "status"),
    [("admin", 201), ("integration", 201), ("supervisor", 403), ("quality", 403), ("agent", 403)],
)
async def test_administrators_and_integrations_register(
    house: House, login: str, status: int
) -> None:
    answer = await house.call("POST", "/webhooks", login=login, json={"url": URL})
    assert answer.status_code == status


async def test_a_secret_is_shown_once_and_changes_are_in_the_audit_log(house: House) -> None:
    hook = await made(house)
    path = f"/webhooks/{hook['id']}"
    assert hook["secret"].startswith("whsec_")
    again = await house.call("POST", f"{path}/secret")
    assert again.json()["secret"] != hook["secret"]
    assert again.json()["old_secret_until"] == "2026-03-03T12:00:02Z"
    await house.call("PATCH", path, json={"enabled": False})
    shown = [
        (await house.call("GET", path)).text,
        (await house.call("GET", "/webhooks")).text,
        (await house.call("GET", "/audit")).text,
    ]
    assert (await house.call("DELETE", path)).status_code == 204
    assert not any("whsec_" in text for text in shown)
    audit = (await house.call("GET", "/audit")).json()["items"]
    hooks = [entry["action"] for entry in audit if entry["action"].startswith("webhook.")]
    assert sorted(hooks) == [
        "webhook.changed", "webhook.created", "webhook.deleted", "webhook.new_secret",
    ]  # fmt: skip
    assert (await house.call("GET", path)).status_code == 404


@pytest.mark.parametrize(
    "url",
    ["http://crm.example.com/", "https://127.0.0.1/", "https://[::1]/", "https://10.0.0.1/x",
     "https://169.254.169.254/latest/meta-data/", "https://crm.example.com:25/",
     "https://me@crm.example.com/", "https://crm.example.com/#a"],
)  # fmt: skip
async def test_addresses_that_are_not_called_are_refused(house: House, url: str) -> None:
    hook = await made(house)
    for method, path in (("POST", "/webhooks"), ("PATCH", f"/webhooks/{hook['id']}")):
        answer = await house.call(method, path, json={"url": url})
        assert answer.status_code == 422, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
    assert (await house.call("GET", f"/webhooks/{hook['id']}")).json()["url"] == URL


async def test_events_are_chosen_from_those_that_exist(house: House) -> None:
    hook = await made(house, events=["call.concluded", "call.concluded"])
    assert hook["events"] == ["call.concluded"]
    assert len((await made(house))["events"]) == 5
    for events in ([], ["webhook.test"], ["all"]):
        answer = await house.call("POST", "/webhooks", json={"url": URL, "events": events})
        assert answer.status_code == 422, events


async def test_a_client_has_so_many_webhooks_and_pages_of_them(house: House) -> None:
    for _ in range(MOST):
        await made(house)
    full = await house.call("POST", "/webhooks", json={"url": URL})
    assert full.status_code == 409
    page = (await house.call("GET", "/webhooks?limit=15")).json()
    rest = (await house.call("GET", f"/webhooks?limit=15&cursor={page['next']}")).json()
    assert len({hook["id"] for hook in page["items"] + rest["items"]}) == MOST
    assert rest["next"] is None


async def test_a_test_waits_in_the_deliveries_and_is_shown_in_full(house: House) -> None:
    hook = await made(house, description="CRM")
    path = f"/webhooks/{hook['id']}"
    sent = (await house.call("POST", f"{path}/test")).json()
    assert (sent["type"], sent["state"], sent["tries"]) == ("webhook.test", "pending", 0)
    await house.call("POST", f"{path}/test")
    (first, second) = (await house.call("GET", f"{path}/deliveries?state=pending")).json()["items"]
    assert sent["id"] in (first["id"], second["id"])
    shown = (await house.call("GET", f"{path}/deliveries/{sent['id']}")).json()
    assert shown["event"]["data"] == {"webhook_id": hook["id"], "description": "CRM"}
    again = await house.call("POST", f"{path}/deliveries/{sent['id']}/redeliver")
    assert again.status_code == 202
    assert again.json()["event_id"] == sent["event_id"]
    assert not (await house.call("GET", f"{path}/deliveries?state=failed")).json()["items"]
    await house.call("PATCH", path, json={"enabled": False})
    for what in ("test", f"deliveries/{sent['id']}/redeliver"):
        assert (await house.call("POST", f"{path}/{what}")).status_code == 409


async def test_a_repeated_registration_makes_one_webhook(house: House) -> None:
    headers = {"Idempotency-Key": "crm-1"}
    answers = [
        await house.call("POST", "/webhooks", json={"url": URL}, headers=headers) for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    assert len((await house.call("GET", "/webhooks")).json()["items"]) == 1


async def test_what_is_sent_is_described(house: House) -> None:
    document = house.app.openapi()
    told = document["webhooks"]
    assert set(told) == {
        "call.concluded", "disposition.set", "callback.made", "campaign.state_changed",
        "recording.stored", "webhook.test",
    }  # fmt: skip
    for name, item in told.items():
        media = item["post"]["requestBody"]["content"]["application/json"]
        assert media["example"]["type"] == name
        assert "$ref" in media["schema"]
