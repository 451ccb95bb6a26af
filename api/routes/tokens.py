"""Signing in."""

from __future__ import annotations

from fastapi import APIRouter, Request

from api.deps import Anyone, parts
from api.models import SignIn, Token

router = APIRouter(prefix="/api/v1", tags=["sign-in"])


@router.post("/tokens", status_code=201)
async def sign_in(body: SignIn, request: Request) -> Token:
    """A bearer token for a login and its password."""
    token, seconds = await parts(request).auth.sign_in(body.login, body.password)
    return Token(token=token, expires_in=seconds)


@router.delete("/tokens", status_code=204)
async def sign_out(who: Anyone, request: Request) -> None:
    """The token is worth nothing from now on."""
    await parts(request).auth.sign_out(who)


@router.get("/me")
async def me(who: Anyone) -> dict[str, str]:
    """The account behind the token."""
    return {
        "id": str(who.account_id),
        "login": who.login,
        "role": who.role,
        "client_id": str(who.client_id),
    }
