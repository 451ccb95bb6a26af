"""What holds for every route, by enumeration: a new one is tested the day it is written."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from dialer.store import schema as t
from tests.unit.api.house import BODY, House

pytestmark = pytest.mark.unit

#: Routes without a scope, each with its reason. Everything else must refuse who has none.
OPEN = {
    ("POST", "/api/v1/tokens"): "signing in",
    ("GET", "/healthz"): "for the supervisor of processes",
    ("GET", "/readyz"): "for the load balancer",
    ("GET", "/api/v1/asyncapi.json"): "what the websockets say is no secret, as openapi.json",
    ("GET", "/metrics"): "for Prometheus, on a private network",
    ("GET", "/api/v1/recordings/{call_id}/sound"): "the signature is the permission",
}
#: Any account may use these.
ANYONE = {("GET", "/api/v1/me"), ("DELETE", "/api/v1/tokens")}
NOBODYS = "01890000-0000-7000-8000-000000000000"


def operations(house: House) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, item in house.app.openapi()["paths"].items()
        for method, operation in item.items()
    ]


def filled(path: str) -> str:
    return re.sub(r"\{[a-z_]+\}", NOBODYS, path).removeprefix("/api/v1")


def is_problem(answer: Any, status: int) -> None:
    assert answer.status_code == status, (answer.request.url, answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail"} <= answer.json().keys()
    assert answer.json()["status"] == status


async def test_nobody_comes_in_without_a_token(house: House) -> None:
    tried = 0
    for method, path, _ in operations(house):
        if (method, path) in OPEN:
            continue
        for headers in ({}, {"Authorization": "Bearer x.y.z"}, {"Authorization": "Basic YTpi"}):
            is_problem(
                await house.call(method, filled(path), login=None, headers=headers, json={}), 401
            )
        tried += 1
    assert tried > 25


VALID: dict[tuple[str, str], Any] = {
    ("PUT", "/api/v1/campaigns/{campaign_id}/settings"): {"settings": {}},
    ("POST", "/api/v1/campaigns/{campaign_id}/leads"): {
        "name": "x", "leads": [{"number": "+12125550100"}]
    },
    ("POST", "/api/v1/campaigns/{campaign_id}/forecast"): {"minutes": 5},
    ("PATCH", "/api/v1/customers/{customer_id}"): {"name": "x"},
    ("PUT", "/api/v1/callbacks/{lead_id}"): {"at": "2026-04-01T10:00:00Z"},
    ("PUT", "/api/v1/agents/{agent_id}/campaigns"): {"campaigns": []},
    ("PATCH", "/api/v1/agents/{agent_id}"): {"name": "x"},
    ("PATCH", "/api/v1/accounts/{account_id}"): {"disabled": True},
    ("PATCH", "/api/v1/webhooks/{webhook_id}"): {"enabled": True},
    ("POST", "/api/v1/webhooks/{webhook_id}/redeliver"): {"since": "2026-01-01T00:00:00Z"},
}  # fmt: skip


async def furnish(house: House, login: str, *, endpoint: str = "phone-1") -> dict[str, Any]:
    """One of everything that has an id, belonging to this login's client."""
    made = await house.call("POST", "/campaigns", login=login, json={"name": "a"})
    assert made.status_code == 201, made.text
    campaign = made.json()["id"]
    rows = {"name": "l", "leads": [{"number": "+12125550123", "name": "Ada"}]}
    done = await house.call("POST", f"/campaigns/{campaign}/leads", login=login, json=rows)
    assert done.json()["accepted"] == 1, done.text
    agent = await house.call(
        "POST", "/agents", login=login, json={"name": "Bo", "endpoint": endpoint}
    )
    assert agent.status_code == 201, agent.text
    leads = (await house.call("GET", f"/campaigns/{campaign}/leads", login=login)).json()["items"]
    call_id, client = uuid4(), "guest" if login.startswith("guest") else "house"
    client_id = house.clients[client]
    async with house.deps.database.begin() as connection:
        await connection.execute(
            sa.insert(t.attempt).values(
                intended_at=house.clock.now(), id=call_id, client_id=client_id,
                campaign_id=UUID(campaign), pool_id=house.pools[client],
                lead_id=UUID(leads[0]["id"]), customer_id=UUID(leads[0]["customer_id"]),
                number_id=uuid4(), number="+12125550123", caller_id="", node="ast", trunk="t",
                mode="manual", settings_version=1, script_version=0, form_version=0,
                rules_profile="us_tsr@1", verdict={},
            )
        )  # fmt: skip
        await connection.execute(
            sa.insert(t.recording).values(
                attempt_id=call_id, client_id=client_id, campaign_id=UUID(campaign), node="ast",
                path="a.wav", state="stored", stored_as="a.wav", size=1, sha256="",
                at=house.clock.now(),
            )
        )  # fmt: skip
    hook = await house.call(
        "POST", "/webhooks", login=login, json={"url": "https://hooks.example.com/"}
    )
    webhook = hook.json()["id"]
    sent = await house.call("POST", f"/webhooks/{webhook}/test", login=login)
    return {
        "webhook_id": webhook,
        "delivery_id": sent.json()["id"],
        "campaign_id": campaign,
        "agent_id": agent.json()["id"],
        "lead_id": leads[0]["id"],
        "customer_id": leads[0]["customer_id"],
        "call_id": str(call_id),
        "list_id": leads[0]["list_id"],
        "account_id": (await house.call("GET", "/accounts", login=login)).json()["items"][-1]["id"],
    }


@pytest.mark.parametrize(
    "content",
    [b"{", b"\xff\xfe", b"[]", b"null", b'{"\\u0000": 1}', b"[" * 50_000, b'{"a": NaN}'],
    ids=["cut", "not utf-8", "list", "null", "nul", "deep", "nan"],
)
async def test_malformed_bodies_are_problems(house: House, content: bytes) -> None:
    for method, path, operation in operations(house):
        if "requestBody" not in operation:
            continue
        headers = {"Content-Type": "application/json"}
        answer = await house.call(method, filled(path), content=content, headers=headers)
        assert answer.status_code in (400, 422), (path, answer.status_code, answer.text)
        is_problem(answer, answer.status_code)


async def test_oversized_bodies_are_refused_while_read(house: House) -> None:
    async def chunks() -> Any:
        for _ in range(BODY // 1000 + 10):
            yield b" " * 1000

    for method, path, operation in operations(house):
        if "requestBody" not in operation:
            continue
        headers = {"Content-Type": "application/json"}
        whole = await house.call(method, filled(path), content=b" " * (BODY + 1), headers=headers)
        is_problem(whole, 413)
        is_problem(await house.call(method, filled(path), content=chunks(), headers=headers), 413)


def strings(schema: dict[str, Any], root: dict[str, Any]) -> list[str]:
    """Names of a body's fields that take text."""
    if "$ref" in schema:
        schema = root["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    found = []
    for name, field in schema.get("properties", {}).items():
        kinds = [field, *field.get("anyOf", [])]
        if any(kind.get("type") == "string" for kind in kinds):
            found.append(name)
    return found


@pytest.mark.parametrize(
    "text",
    ["a\r\nAction: Command", "a\nb\r", "a\x00b", "x" * 10_001, "a\x1bb", "\ud800"],
    ids=["crlf", "cr", "nul", "long", "escape", "surrogate"],
)
async def test_hostile_text_is_refused_in_every_field(house: House, text: str) -> None:
    root, tried = house.app.openapi(), 0
    for method, path, operation in operations(house):
        if "requestBody" not in operation:
            continue
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        for name in strings(schema, root):
            if name == "password":
                continue  # never leaves the hash
            body = json.dumps({name: text}).encode()
            headers = {"Content-Type": "application/json"}
            answer = await house.call(method, filled(path), content=body, headers=headers)
            is_problem(answer, 422)
            assert any(e["where"] == f"body/{name}" for e in answer.json()["errors"]), (
                path,
                name,
                answer.text,
            )
            tried += 1
    assert tried > 10


async def test_unknown_fields_are_refused(house: House) -> None:
    for method, path, operation in operations(house):
        if "requestBody" in operation:
            answer = await house.call(method, filled(path), json={"surprise": 1})
            is_problem(answer, 422)
            assert any(e["where"] == "body/surprise" for e in answer.json()["errors"]), path


async def test_unknown_query_parameters_are_refused(house: House) -> None:
    """A filter with a typing error must not answer with everything."""
    for method, path, _ in operations(house):
        if method == "GET":
            given = {"signature": "x"} if path.endswith("/sound") else {}
            answer = await house.http.get(
                re.sub(r"\{[a-z_]+\}", NOBODYS, path),
                params={**given, "campaing_id": "x"},
                headers={"Authorization": f"Bearer {await house.token('admin')}"},
            )
            is_problem(answer, 422)
            assert "campaing_id" in answer.json()["detail"], path


async def test_unknown_paths_and_methods_are_problems(house: House) -> None:
    is_problem(await house.call("GET", "/nothing"), 404)
    is_problem(await house.call("PATCH", "/campaigns"), 405)


async def test_what_fails_inside_stays_inside(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("secret insides")

    await house.token("admin")
    monkeypatch.setattr("dialer.store.campaign_parts.campaigns", broken)
    answer = await house.call("GET", "/campaigns")
    is_problem(answer, 500)
    assert "secret" not in answer.text
