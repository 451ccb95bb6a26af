"""Who may do what, for every route of the description and every role; and no client sees another.

A new route is in none of the tables here: it fails until somebody has decided who may use it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from api.auth import SCOPES
from dialer.store import schema as t
from tests.unit.api.house import House
from tests.unit.api.test_every_route import ANYONE, NOBODYS, OPEN, VALID, furnish, operations

pytestmark = pytest.mark.unit

V1 = "/api/v1"
#: The decision for each route: which scope it takes.
DECIDED = {
    "admin": """
        GET /accounts, POST /accounts, PATCH /accounts/{account_id}, GET /clients, POST /clients,
        GET /audit
    """,
    "campaigns": """
        GET /campaigns, POST /campaigns, GET /campaigns/{campaign_id},
        PUT /campaigns/{campaign_id}/settings, GET /campaigns/{campaign_id}/versions,
        GET /campaigns/{campaign_id}/dispositions, POST /campaigns/{campaign_id}/start,
        POST /campaigns/{campaign_id}/pause, POST /campaigns/{campaign_id}/stop,
        GET /campaigns/{campaign_id}/figures, GET /campaigns/{campaign_id}/decisions,
        POST /campaigns/{campaign_id}/forecast,
        GET /pools, GET /callbacks, PUT /callbacks/{lead_id}, DELETE /callbacks/{lead_id}
    """,
    "leads": """
        POST /campaigns/{campaign_id}/leads, GET /campaigns/{campaign_id}/leads, GET /lists,
        GET /lists/{list_id}, GET /customers, GET /customers/{customer_id},
        PATCH /customers/{customer_id}, DELETE /customers/{customer_id}
    """,
    "calls": "GET /calls, GET /calls/{call_id}, POST /calls/{call_id}/hang-up",
    "agents": """
        GET /agents, POST /agents, GET /agents/{agent_id}, PATCH /agents/{agent_id},
        POST /agents/{agent_id}/phone-password, PUT /agents/{agent_id}/campaigns,
        PUT /agents/{agent_id}/campaigns/{campaign_id},
        DELETE /agents/{agent_id}/campaigns/{campaign_id}
    """,
    "recordings": "GET /recordings, GET /calls/{call_id}/recording",
    "webhooks": """
        GET /webhooks, POST /webhooks, GET /webhooks/{webhook_id}, PATCH /webhooks/{webhook_id},
        DELETE /webhooks/{webhook_id}, POST /webhooks/{webhook_id}/secret,
        POST /webhooks/{webhook_id}/test, POST /webhooks/{webhook_id}/redeliver,
        GET /webhooks/{webhook_id}/deliveries,
        GET /webhooks/{webhook_id}/deliveries/{delivery_id},
        POST /webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver
    """,
    "live": "GET /live",
    "dnc": "GET /do-not-call, POST /do-not-call, POST /do-not-call/check",
}
#: The decision for each role: which scopes it has.
ROLES = {
    "admin": "admin agents calls campaigns dnc leads live recordings webhooks",
    "supervisor": "agents calls campaigns dnc leads live recordings",
    "quality": "calls recordings",
    "agent": "agent",
    "integration": "calls campaigns dnc leads webhooks",
}


def decided() -> dict[tuple[str, str], str]:
    return {
        (method, V1 + path): scope
        for scope, routes in DECIDED.items()
        for method, path in (route.split() for route in routes.split(","))
    }


def filled(path: str, ids: dict[str, Any] | None = None) -> str:
    def one(name: re.Match[str]) -> str:
        return str(ids[name[1]]) if ids is not None else NOBODYS

    return re.sub(r"\{([a-z_]+)\}", one, path).removeprefix(V1)


def test_each_role_has_the_scopes_that_were_decided() -> None:
    assert {role: " ".join(sorted(scopes)) for role, scopes in SCOPES.items()} == ROLES


async def test_every_route_has_a_decision(house: House) -> None:
    there = {(method, path) for method, path, _ in operations(house)}
    assert there - decided().keys() - OPEN.keys() - ANYONE == set(), "decide who may use it"
    assert decided().keys() - there == set(), "decided, and not there"


@pytest.mark.parametrize("role", [*ROLES, ""])
async def test_a_role_may_do_what_its_scopes_say_and_nothing_else(house: House, role: str) -> None:
    let_in = refused = 0
    for (method, path), scope in decided().items():
        answer = await house.call(method, filled(path), login=role or None, json={})
        label = f"{role or 'nobody'}: {method} {path}: {answer.status_code}"
        if not role:
            assert answer.status_code == 401, label
        elif scope in ROLES[role].split():
            assert answer.status_code not in (401, 403), label
            let_in += 1
        else:
            assert answer.status_code == 403, label
            refused += 1
    assert let_in + refused == (len(decided()) if role else 0)
    for method, path in sorted(ANYONE, reverse=True):  # signing out comes last
        answer = await house.call(method, path.removeprefix(V1), login=role or None)
        assert answer.is_success is bool(role), (role, method, path)


# -- clients


async def theirs(house: House, login: str) -> dict[str, Any]:
    """One of everything, and the client's pool."""
    ids = await furnish(house, login, endpoint=f"phone-{login}")
    return {**ids, "pool_id": str(house.pools["guest" if login == "guest-admin" else "house"])}


def told(answer: Any, ids: dict[str, Any]) -> tuple[int, str]:
    """An answer without the ids that were asked for: what it tells."""
    text = answer.text
    for value in {*map(str, ids.values()), NOBODYS}:
        text = text.replace(value, "(id)")
    return answer.status_code, text


async def test_another_clients_ids_are_like_ids_that_nobody_has(house: House) -> None:
    """In the path, each id in turn; in the query; in the body: the answers are the same."""
    mine, other = await theirs(house, "admin"), await theirs(house, "guest-admin")
    missing = dict.fromkeys(other, NOBODYS)
    tried = 0
    for method, path, operation in operations(house):
        if (method, path) in OPEN:
            continue
        for foreign, nobodys in requests(house, operation, path, mine, other, missing):
            body = VALID.get((method, path))
            first = await send(house, method, path, foreign, body)
            second = await send(house, method, path, nobodys, body)
            assert told(first, other) == told(second, other), (method, path, foreign)
            if "{" in path and foreign["path"] != mine:
                assert first.status_code == 404, (method, path, first.text)
            tried += 1
    assert tried > 35
    assert await theirs_are_untouched(house, other)


def requests(
    house: House, operation: dict[str, Any], path: str, mine: dict[str, Any],
    other: dict[str, Any], missing: dict[str, Any],
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:  # fmt: skip
    """Pairs of requests that differ in one id: another client's, and nobody's."""
    for name in re.findall(r"\{([a-z_]+)\}", path):
        yield (
            {"path": {**mine, name: other[name]}},
            {"path": {**mine, name: missing[name]}},
        )
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "query" and parameter["name"] in other:
            name = parameter["name"]
            yield (
                {"path": mine, "query": {name: other[name]}},
                {"path": mine, "query": {name: missing[name]}},
            )
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    for name, many in uuid_fields(schema.get("schema", {}), house.app.openapi()):
        key = "campaign_id" if name == "campaigns" else name
        wrap = (lambda value: [value]) if many else (lambda value: value)
        yield (
            {"path": mine, "body": {name: wrap(other[key])}},
            {"path": mine, "body": {name: wrap(missing[key])}},
        )


def uuid_fields(schema: dict[str, Any], root: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    if "$ref" in schema:
        schema = root["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    for name, field in schema.get("properties", {}).items():
        kinds = [field, *field.get("anyOf", [])]
        if any(kind.get("format") == "uuid" for kind in kinds):
            yield name, False
        elif any(kind.get("items", {}).get("format") == "uuid" for kind in kinds):
            yield name, True


NEW = {
    "/api/v1/campaigns": {"name": "another"},
    "/api/v1/agents": {"name": "Cy", "endpoint": "phone-new"},
    "/api/v1/webhooks": {"url": "https://hooks.example.com/new"},
}


async def send(house: House, method: str, path: str, request: dict[str, Any], body: Any) -> Any:
    body = copy.deepcopy(body if body is not None else NEW.get(path))
    if "body" in request:
        body = {**(body or {}), **request["body"]}
    return await house.call(
        method, filled(path, request["path"]), json=body, params=request.get("query")
    )


async def theirs_are_untouched(house: House, other: dict[str, Any]) -> bool:
    for path in ("campaigns", "customers", "agents", "lists"):
        name = f"{path.removesuffix('s')}_id"
        assert (
            await house.call("GET", f"/{path}/{other[name]}", login="guest-admin")
        ).status_code == 200
    audit = (await house.call("GET", "/audit?limit=500", login="guest-admin")).json()["items"]
    return {line["who"] for line in audit} == {"guest-admin"}


async def test_lists_show_a_client_its_own_rows_only(house: House) -> None:
    of = {login: await theirs(house, login) for login in ("admin", "guest-admin")}
    secret = {login: set(map(str, ids.values())) for login, ids in of.items()}
    seen = dict.fromkeys(of, 0)
    for me, not_me in (("admin", "guest-admin"), ("guest-admin", "admin")):
        for method, path, _ in operations(house):
            if method != "GET" or (method, path) in OPEN or path == "/api/v1/clients":
                continue
            answer = await house.call("GET", filled(path, of[me]), login=me)
            text = answer.text
            leaked = [value for value in secret[not_me] if value in text]
            assert not leaked, (me, path, leaked)
            seen[me] += any(value in text for value in secret[me])
    assert min(seen.values()) >= 12, "each sees its own"
    mine = (await house.call("GET", "/clients", login="guest-admin")).json()["items"]
    assert [client["name"] for client in mine] == ["guest"]


async def test_a_key_of_one_client_is_not_one_of_another(house: House) -> None:
    """The same account at work for two clients, and two accounts: four answers, none repeated."""
    guest = {"X-Client": str(house.clients["guest"])}
    made = []
    for login, more in (("admin", {}), ("admin", guest), ("guest-admin", {}), ("supervisor", {})):
        answer = await house.call(
            "POST", "/campaigns", login=login, json={"name": f"of {login} {len(made)}"},
            headers={"Idempotency-Key": "the-same", **more},
        )  # fmt: skip
        assert answer.status_code == 201, answer.text
        assert "idempotent-replayed" not in answer.headers
        made.append(answer.json()["id"])
    assert len(set(made)) == 4


CALLABLE = {"settings": {"caller_id": "+12125550199"}}
#: Writes that leave no line, each with its reason.
UNNOTED = {
    ("POST", "/api/v1/do-not-call/check"): "looks",
    ("POST", "/api/v1/campaigns/{campaign_id}/forecast"): "looks ahead",
}


async def test_every_write_leaves_a_line_in_the_audit_log(house: House) -> None:
    """Whoever changes anything through the API is found again; nothing else than that is said."""
    ids = await theirs(house, "admin")
    bodies = {
        **VALID,
        ("PUT", "/api/v1/campaigns/{campaign_id}/settings"): CALLABLE,
        ("POST", "/api/v1/accounts"): {"login": "n", "password": "p" * 12, "role": "quality"},
        ("POST", "/api/v1/clients"): {"name": "third"},
        ("POST", "/api/v1/do-not-call"): {"number": "+12125550177"},
        ("PATCH", "/api/v1/accounts/{account_id}"): {"password": "another good one"},
        ("POST", "/api/v1/tokens"): {"login": "quality", "password": "correct horse battery"},
        **{("POST", path): body for path, body in NEW.items()},
    }  # fmt: skip
    last = {
        "DELETE /api/v1/webhooks/{webhook_id}": 1,
        "DELETE /api/v1/customers/{customer_id}": 1,
        "DELETE /api/v1/tokens": 2,
    }
    writes = [(m, p) for m, p, _ in operations(house) if m != "GET" and (m, p) not in UNNOTED]
    await ready_for_everything(house, ids)
    for method, path in sorted(writes, key=lambda w: last.get(" ".join(w), 0)):
        before = await lines(house)
        login = "integration" if (method, path) == ("DELETE", "/api/v1/tokens") else "admin"
        answer = await house.call(
            method, filled(path, ids), login=login, json=bodies.get((method, path))
        )
        hung_up = path.endswith("/hang-up")  # no engine here to tell: 503, and the line is there
        assert answer.is_success or (hung_up and answer.status_code == 503), (path, answer.text)
        new = (await lines(house))[len(before) :]
        assert new, f"{method} {path} left no line in the audit log"
        assert all("+1212" not in str(line) and "Ada" not in str(line) for line in new), new
    assert len(writes) > 18


async def lines(house: House) -> list[Any]:
    async with house.deps.database.engine.connect() as connection:
        query = sa.select(t.audit_log.c.who, t.audit_log.c.action, t.audit_log.c.details)
        return list((await connection.execute(query)).all())


async def ready_for_everything(house: House, ids: dict[str, Any]) -> None:
    """A lead with a callback, a campaign that can be started, paused and stopped."""
    address = f"/campaigns/{ids['campaign_id']}/settings"
    assert (await house.call("PUT", address, json=CALLABLE)).is_success
    async with house.deps.database.begin() as connection:
        await connection.execute(sa.update(t.lead).values(state="retry"))
