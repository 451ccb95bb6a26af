"""The API over HTTP against its own description, by every check that schemathesis has.

Requests that fit the description and requests that do not are made from the description itself, for
ids that are there and ids that are not; answers must be documented: status, headers, type, shape.
"""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.config import SchemathesisConfig

from api.examples import EXAMPLES
from api.runtime import http_config
from tests.integration.store.conftest import cluster
from tests.lab.process import until
from tests.lab.servers import LabPostgres
from tests.unit.api.house import House, open_house
from tests.unit.api.test_every_route import furnish

__all__ = ["cluster"]

pytestmark = pytest.mark.integration

CONFIG = SchemathesisConfig.from_dict(
    {
        "checks": {
            # A text may fit the pattern of a number and be none, a zone's name and be none: 422
            # then, and 409 where the state forbids it. 413: more rows than one upload may have.
            # 429: this test guesses passwords by the dozen.
            "positive_data_acceptance": {
                "expected-statuses": ["2xx", 401, 403, 404, 409, 413, 422, 429]
            },
            # A body that does not fit is refused before or after the id in the path is looked up.
            "negative_data_rejection": {
                "expected-statuses": [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 429]
            },
        }
    }
)


@asynccontextmanager
async def served(house: House) -> AsyncIterator[str]:
    """The application behind its real HTTP server."""
    server = uvicorn.Server(http_config(house.app, host="127.0.0.1", port=0))
    serving = asyncio.create_task(server._serve(), name="house-http")
    try:
        await until(lambda: server.started, timeout=10, what="the HTTP server")
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await asyncio.wait_for(serving, 15)


async def drive(house: House, *, examples: int) -> Counter[str]:
    """Every operation, in both ways; returns how many requests each was sent."""
    load_all_checks()
    ids = await furnish(house, "admin")

    async def engine(command: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """A pool at work, as far as the API can see: without one 503 is the right answer."""
        if command == "pool.outlook":  # nobody at work: 409, and no simulation
            return {"free": 0, "talking": [], "wrapping": []}
        return dict(EXAMPLES["Live"]["pools"][0]) if command == "pool.figures" else {}

    for pool_id in house.pools.values():
        await house.deps.gateway.serve(pool_id, engine)
    tried: Counter[str] = Counter()
    async with served(house) as address:
        schema = await asyncio.to_thread(
            schemathesis.openapi.from_url, f"{address}/api/v1/openapi.json", config=CONFIG
        )
        for result in schema.get_all_operations():
            token = await house.token("admin")
            modes = [GenerationMode.POSITIVE]
            if any(True for _ in result.ok().iter_parameters()) or result.ok().body:
                modes.append(GenerationMode.NEGATIVE)  # what takes nothing takes nothing wrong
            for mode in modes:
                work = functools.partial(
                    _operation, result.ok(), mode, token, ids, tried, examples=examples
                )
                await asyncio.to_thread(work)
            house.tokens.clear()  # it may have signed out, and must not grow old
            house.clock.advance(901)  # or no sign-in is let in after those that were tried
    return tried


def _operation(
    operation: Any, mode: GenerationMode, token: str, ids: dict[str, Any], tried: Counter[str],
    *, examples: int,
) -> None:  # fmt: skip
    in_path = [p.name for p in operation.path_parameters]
    real = {name: ids[name] for name in in_path if name in ids}
    for path in [None, real] if real and mode is GenerationMode.POSITIVE else [None]:

        @hypothesis.settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy(mode, path_parameters=path))
        def one(case: Any) -> None:
            if case.headers is not None and mode is GenerationMode.POSITIVE:
                case.headers.pop("X-Client", None)  # chooses another client: tested elsewhere
            tried[operation.label] += 1
            case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, timeout=20)

        one()


async def test_every_answer_is_one_that_the_description_promises(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        tried = await drive(house, examples=2)
    assert len(tried) > 45
    assert len(CHECKS.get_all_names()) >= 14, "all of them: none is switched off"


@pytest.mark.full
@pytest.mark.parametrize("where", ["sqlite", "postgresql"])
async def test_the_same_at_length_on_both_databases(
    tmp_path: Path, where: str, cluster: LabPostgres
) -> None:
    url = cluster.database() if where == "postgresql" else None
    async with open_house(tmp_path, url=url) as house:
        tried = await drive(house, examples=15)
    assert sum(tried.values()) > 1500
