"""The interface's description is complete: every route, every example, every websocket message."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from api.app import PARTS
from api.examples import EXAMPLES
from api.ws import messages
from api.ws.description import describe
from tests.unit.api.house import House

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
_BODILESS = "204"


def routes(house: House) -> list[tuple[APIRoute, str, dict[str, Any]]]:
    paths = house.app.openapi()["paths"]
    return [
        (route, method, paths[route.path][method.lower()])
        for part in PARTS
        for route in part.router.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    ]


async def test_every_operation_says_what_it_does_and_shows_it(house: House) -> None:
    seen = 0
    for route, method, operation in routes(house):
        label = f"{method} {route.path}"
        assert operation.get("summary"), label
        assert operation.get("tags"), label
        if "requestBody" in operation:
            media = operation["requestBody"]["content"]["application/json"]
            assert route.body_field is not None
            kind = route.body_field.field_info.annotation
            TypeAdapter(kind).validate_json(_json(media["example"]))
            seen += 1
        for status, answer in operation["responses"].items():
            for kind, media in answer.get("content", {}).items():
                if kind == "application/json":
                    if route.path.endswith("/asyncapi.json"):
                        continue  # its own example
                    assert "example" in media, label
                    TypeAdapter(route.response_model).validate_json(_json(media["example"]))
                    seen += 1
                elif kind == "application/problem+json" and status != "416":
                    assert media["example"]["status"] == int(status), label
            if status.startswith("2") and status != _BODILESS:
                assert answer["content"], label
    assert seen > 50


def _json(value: Any) -> bytes:
    return orjson.dumps(value)


async def test_no_example_is_left_over(house: House) -> None:
    text = str(house.app.openapi()["components"]["schemas"].keys())
    assert not [name for name in EXAMPLES if name not in text]


async def test_examples_of_requests_are_taken(house: House) -> None:
    """Those that need nothing else to be there are sent as they stand."""
    made = 0
    for route, method, operation in routes(house):
        if "requestBody" not in operation or "{" in route.path or route.path.endswith("tokens"):
            continue
        example = dict(operation["requestBody"]["content"]["application/json"]["example"])
        example.pop("campaigns", None)  # names a campaign of another house
        answer = await house.call(method, route.path.removeprefix("/api/v1"), json=example)
        assert answer.is_success, (route.path, answer.text)
        made += 1
    assert made >= 5


async def test_every_write_takes_an_idempotency_key(house: House) -> None:
    for route, method, operation in routes(house):
        writes = method in ("POST", "PUT", "PATCH", "DELETE")
        named = [p["name"] for p in operation.get("parameters", [])]
        expected = writes and (method, route.path) != ("POST", "/api/v1/tokens")
        assert ("Idempotency-Key" in named) is expected, (method, route.path)


async def test_every_list_pages_by_cursor(house: House) -> None:
    lists = 0
    for route, method, operation in routes(house):
        schema = operation["responses"].get("200", {}).get("content", {})
        schema = schema.get("application/json", {}).get("schema", {})
        assert schema.get("type") != "array", f"{route.path}: a bare list cannot grow"
        if method == "GET" and "/Page_" in schema.get("$ref", ""):
            named = {p["name"] for p in operation["parameters"]}
            assert {"cursor", "limit"} <= named, route.path
            lists += 1
    assert lists >= 12


async def test_the_websockets_description_is_served_and_kept(house: House) -> None:
    served = await house.call("GET", "/asyncapi.json", login=None)
    assert served.json() == describe()
    kept = yaml.safe_load((ROOT / "docs/asyncapi.yaml").read_text())
    assert kept == describe(), "run: python -m docs.generate"


def test_the_description_hangs_together() -> None:
    document = describe()
    text = str(document)
    for ref in re.findall(r"'\$ref': '#/([^']+)'", text):
        found: Any = document
        for step in ref.split("/"):
            found = found[step]
        assert found
    named = {
        ref["$ref"] for op in document["operations"].values() for ref in op["messages"]
    }  # fmt: skip
    there = {
        f"#/channels/{name}/messages/{message}"
        for name, channel in document["channels"].items()
        for message in channel["messages"]
    }
    assert named == there


def posted() -> set[tuple[str, str]]:
    """(topic, type) of every message that any code of the engine posts, read from its source."""
    found = set()
    for path in (ROOT / "dialer").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr not in ("_post", "post", "show") or len(node.args) < 3:
                continue
            topic, kind = node.args[0], node.args[1]
            if isinstance(topic, ast.JoinedStr) and isinstance(kind, ast.Constant):
                begin = topic.values[0]
                assert isinstance(begin, ast.Constant)
                found.add((str(begin.value), str(kind.value)))
    return found


def test_every_message_the_engine_posts_is_described() -> None:
    described = {("agent:", kind) for kind in messages.AGENT_EVENTS if kind != "snapshot"}
    described |= {("live:", kind) for kind in messages.LIVE_EVENTS}
    assert posted() == described


def test_every_command_the_engine_knows_is_described() -> None:
    source = (ROOT / "dialer/engine/commands.py").read_text()
    known = set(re.findall(r'^ +"agent\.([a-z_]+)": self\.', source, re.MULTILINE))
    assert known == set(messages.COMMANDS)
