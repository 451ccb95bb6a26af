"""The application: routes and websockets over what `Deps` names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response
from prometheus_client import CollectorRegistry

from api import openapi, problems, webhook_events
from api.auth import Auth
from api.idempotency import Idempotency
from api.routes import (
    accounts,
    administration,
    agents,
    calls,
    campaigns,
    customers,
    health,
    lists,
    live,
    pacing,
    recordings,
    tokens,
    webhooks,
)
from api.ws import agent as agent_socket
from api.ws import live as live_socket
from dialer.domain.ids import NewId
from dialer.engine.timing import Timing
from dialer.forecasts.asking import Forecasts
from dialer.jobs.storage import RecordingStorage
from dialer.live.feed import LiveFeed
from dialer.live.gateway import CommandGateway
from dialer.services.accounts import Accounts
from dialer.services.agents import Agents
from dialer.services.audit import Audit
from dialer.services.campaigns import Campaigns
from dialer.services.webhooks import Webhooks
from dialer.store.database import Database
from telephony.clock import Clock


@dataclass(frozen=True, slots=True)
class Deps:
    """What the API stands on."""

    database: Database
    gateway: CommandGateway
    feed: LiveFeed
    clock: Clock
    new_id: NewId
    auth: Auth
    campaigns: Campaigns
    agents: Agents
    accounts: Accounts
    webhooks: Webhooks
    registry: CollectorRegistry
    ready: Callable[[], Awaitable[dict[str, Any]]]
    body_bytes: int
    upload_rows: int
    pops: Timing = field(default_factory=Timing)  # from posted to handed to the websocket
    storage: RecordingStorage | None = None
    address_seconds: int = 300
    pools_changed: Callable[[], None] = lambda: None  # nudges every node to look for new pools
    region: str | None = None  # of numbers that come without a country

    @property
    def audit(self) -> Audit:
        return Audit(self.clock, self.new_id)


#: One module for each resource.
PARTS = (
    tokens,
    accounts,
    administration,
    campaigns,
    pacing,
    lists,
    customers,
    agents,
    calls,
    recordings,
    webhooks,
    live,
    health,
)


def create_app(deps: Deps) -> FastAPI:
    """The ASGI application."""
    app = FastAPI(
        title="dialer",
        version="0.1.0",
        description="Outbound dialing on Asterisk: campaigns, agents, calls, live figures.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        responses=problems.RESPONSES,
    )
    app.state.deps = deps
    app.state.forecasts = Forecasts(deps.database, gateway=deps.gateway, clock=deps.clock)
    problems.install(app)
    for part in PARTS:
        app.include_router(part.router)
    app.include_router(agent_socket.router)
    app.include_router(live_socket.router)

    @app.middleware("http")
    async def headers(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response = await call_next(request)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        response.headers["Referrer-Policy"] = "no-referrer"  # signed addresses stay where they are
        return response

    webhook_events.describe(app)
    openapi.install(app)
    app.add_middleware(Idempotency, deps=deps)
    app.add_middleware(problems.BodyLimit, limit=deps.body_bytes)
    return app
