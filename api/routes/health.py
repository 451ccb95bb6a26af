"""Whether the process lives, whether it can do its work, and its metrics."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.deps import parts
from api.ws.description import describe

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def alive() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/readyz")
async def ready(request: Request) -> Response:
    """200 when the database answers, a node is up and the pools are owned; else 503 with why."""
    checks = await parts(request).ready()
    good = all(check == "ok" for check in checks.values())
    return Response(
        orjson.dumps({"status": "ok" if good else "not ready", "checks": checks}),
        status_code=200 if good else 503,
        media_type="application/json",
    )


@router.get("/api/v1/asyncapi.json", tags=["description"])
async def asyncapi() -> dict[str, Any]:
    """The websockets, described as AsyncAPI 3.0."""
    return describe()


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    return Response(generate_latest(parts(request).registry), media_type=CONTENT_TYPE_LATEST)
