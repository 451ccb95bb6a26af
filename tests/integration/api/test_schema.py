"""The API against its own description: whatever is generated from it gets a documented answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase

from tests.unit.api.house import House, open_house

pytestmark = pytest.mark.integration


async def test_generated_requests_get_documented_answers(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with open_house(tmp_path) as house:
        token = await house.token("admin")
        schema = schemathesis.openapi.from_dict(house.app.openapi())
        tried: dict[str, int] = {}
        for result in schema.get_all_operations():
            # The generator is synchronous: it works in a thread and its requests on the loop.
            await asyncio.to_thread(_drive, loop, house, token, result.ok(), tried)
    assert len(tried) > 30
    assert sum(tried.values()) > 150


def _drive(
    loop: asyncio.AbstractEventLoop, house: House, token: str, operation: Any, tried: dict[str, int]
) -> None:
    documented = {int(s) for s in operation.definition.raw["responses"] if s.isdigit()}

    @hypothesis.settings(
        max_examples=12,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy())
    def one(case: Any) -> None:
        sent = case.as_transport_kwargs(base_url="http://house")
        headers = {k: str(v) for k, v in dict(sent.get("headers") or {}).items()}
        headers["Authorization"] = f"Bearer {token}"
        if operation.path == "/api/v1/tokens" and operation.method == "delete":
            headers["Authorization"] = "Bearer x"  # signing out would end the test's own token
        headers.pop("X-Client", None)
        request = house.http.request(
            sent["method"],
            sent["url"],
            params=sent.get("params"),
            json=sent.get("json"),
            headers=headers,
        )
        answer = asyncio.run_coroutine_threadsafe(request, loop).result(20)
        label = f"{sent['method']} {sent['url']} {sent.get('json')!r}"
        assert answer.status_code < 500 or answer.status_code == 503, (
            f"{label}: {answer.status_code} {answer.text}"
        )
        assert answer.status_code in documented, f"{label}: {answer.status_code} {documented}"
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json", label
        tried[operation.label] = tried.get(operation.label, 0) + 1

    one()
