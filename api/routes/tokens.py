"""Signing in."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel

from api.auth import SCOPES
from api.deps import Anyone, KnownOnly, parts
from api.models import SignIn, Token

router = APIRouter(prefix="/api/v1", tags=["sign-in"])


@router.post("/tokens", status_code=201, dependencies=[KnownOnly])
async def sign_in(body: SignIn, request: Request) -> Token:
    """A bearer token for a login and its password."""
    address = request.client.host if request.client is not None else ""
    token, seconds = await parts(request).auth.sign_in(body.login, body.password, address=address)
    return Token(token=token, expires_in=seconds)


@router.delete("/tokens", status_code=204)
async def sign_out(who: Anyone, request: Request) -> None:
    """The token is worth nothing from now on."""
    await parts(request).auth.sign_out(who)


class Me(BaseModel):
    """The account behind a token, and what it may do."""

    id: UUID
    login: str
    role: str
    client_id: UUID
    scopes: list[str]


@router.get("/me")
async def me(who: Anyone) -> Me:
    """The account behind the token."""
    return Me(
        id=who.account_id,
        login=who.login,
        role=who.role,
        client_id=who.client_id,
        scopes=sorted(SCOPES.get(who.role, ())),
    )
