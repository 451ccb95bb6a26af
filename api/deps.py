"""What a route may ask for: the application's parts, and an authenticated caller with a scope."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast
from uuid import UUID

from fastapi import Depends, Header, Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.auth import Caller
from dialer.domain.errors import Invalid, Unauthenticated

if TYPE_CHECKING:
    from api.app import Deps

_bearer = HTTPBearer(auto_error=False)


def deps(request: Request) -> Any:
    """The application's parts."""
    return request.app.state.deps


def parts(request: Request) -> Deps:
    return cast("Deps", request.app.state.deps)


Parts = Annotated[Any, Depends(deps)]


def known_only(request: Request) -> None:
    """Refuse query parameters that the route does not have: a filter with a typing error would
    otherwise answer with everything. Raises Invalid."""
    route = request.scope.get("route")
    if not isinstance(route, APIRoute):
        return
    fields = get_flat_params(route.dependant)
    known = {field.alias for field in fields if isinstance(field.field_info, Query)}
    if unknown := sorted(set(request.query_params) - known):
        raise Invalid(f"unknown query parameter {unknown[0][:60]!r}")


KnownOnly = Depends(known_only)


async def caller(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    client: Annotated[
        UUID | None,
        Header(alias="X-Client", description="The client to work for (administrators)."),
    ] = None,
) -> Caller:
    """The bearer token's account; raises Unauthenticated."""
    if credentials is None:
        raise Unauthenticated("a bearer token is needed")
    auth = parts(request).auth
    who = await auth.authenticate(credentials.credentials)
    known_only(request)
    return await auth.for_client(who, client) if client is not None else who


class Scope:
    """A dependency that lets through callers with one scope; read by the scope test."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def __call__(self, who: Annotated[Caller, Depends(caller)]) -> Caller:
        who.require(self.name)
        return who


Anyone = Annotated[Caller, Depends(caller)]
AdminOnly = Annotated[Caller, Depends(Scope("admin"))]
ForCampaigns = Annotated[Caller, Depends(Scope("campaigns"))]
ForLeads = Annotated[Caller, Depends(Scope("leads"))]
ForCalls = Annotated[Caller, Depends(Scope("calls"))]
ForAgents = Annotated[Caller, Depends(Scope("agents"))]
ForLive = Annotated[Caller, Depends(Scope("live"))]
ForDoNotCall = Annotated[Caller, Depends(Scope("dnc"))]
ForRecordings = Annotated[Caller, Depends(Scope("recordings"))]
ForWebhooks = Annotated[Caller, Depends(Scope("webhooks"))]
