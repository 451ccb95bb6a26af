"""Whether the process lives, whether it can do its work, and its metrics."""

from __future__ import annotations

from typing import Any, Literal

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from api.deps import KnownOnly, parts
from api.ws.description import describe

_METRICS = 'dialer_agents{pool="0198c0de-...",state="ready"} 3.0'

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """Each part's state: `ok`, or what is wrong."""

    status: Literal["ok", "not ready"]
    checks: dict[str, str]


@router.get("/healthz", dependencies=[KnownOnly])
async def alive() -> Alive:
    """The process lives. Restart it when this does not answer."""
    return Alive()


@router.get("/readyz", response_model=Ready, dependencies=[KnownOnly])
async def ready(request: Request) -> Response:
    """200 when the database answers, a node is up and the pools are owned; else 503 with why."""
    checks = await parts(request).ready()
    good = all(check == "ok" or check.startswith("degraded") for check in checks.values())
    return Response(
        orjson.dumps({"status": "ok" if good else "not ready", "checks": checks}),
        status_code=200 if good else 503,
        media_type="application/json",
    )


@router.get("/api/v1/asyncapi.json", tags=["description"], dependencies=[KnownOnly])
async def asyncapi() -> dict[str, Any]:
    """The websockets, described as AsyncAPI 3.0."""
    return describe()


@router.get(
    "/metrics",
    dependencies=[KnownOnly],
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"example": _METRICS}}}},
)
async def metrics(request: Request) -> Response:
    """For Prometheus. No numbers and no names of people; keep it off the public network."""
    return Response(generate_latest(parts(request).registry), media_type=CONTENT_TYPE_LATEST)
