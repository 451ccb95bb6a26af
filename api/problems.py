"""Every failure as a problem document (RFC 9457), with nothing of our insides in it."""

from __future__ import annotations

from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dialer.domain.errors import DialerError, Unauthenticated

log = structlog.get_logger(__name__)

_TITLES = {404: "not-found", 405: "method-not-allowed", 413: "too-large", 400: "bad-request"}


def _documented(status: int, slug: str, detail: str, what: str, **more: Any) -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
        },
    }
    title = slug.replace("-", " ").capitalize()
    example = {"type": f"/problems/{slug}", "title": title, "status": status, "detail": detail}
    media = {"schema": schema, "example": {**example, **more}}
    return {"description": what, "content": {"application/problem+json": media}}


_WHERE: dict[str, Any] = {"errors": [{"where": "body/name", "what": "Field required"}]}

_STATE: dict[str, Any] = {"state": "draft"}
_NOTHING: dict[str, Any] = {}

#: For every operation's description: what any of them may answer besides success.
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: _documented(status, slug, detail, what, **more)
    for status, slug, detail, what, more in [
        (400, "bad-request", "the body is not JSON", "No JSON, or a bad header", _NOTHING),
        (401, "unauthenticated", "a bearer token is needed", "Sign in first", _NOTHING),
        (403, "forbidden", "this needs the scope 'calls'", "The role lacks the scope", _NOTHING),
        (404, "not-found", "no such campaign", "Not there, or not yours", _NOTHING),
        (409, "conflict", "campaign in draft: expected one of make_ready, start, stop, got pause",
         "Conflict with the present state", _STATE),
        (413, "too-large", "at most 33554432 bytes", "Too large", _NOTHING),
        (422, "invalid", "the request does not fit",
         "The request does not fit; `errors` says where", _WHERE),
        (429, "too-many", "too many wrong passwords; try again in some minutes",
         "Too many tries", _NOTHING),
        (503, "unavailable", "no engine runs this pool at the moment",
         "Temporarily unavailable", _NOTHING),
    ]
}  # fmt: skip


def problem(status: int, slug: str, title: str, detail: str, **fields: Any) -> Response:
    """A problem response; `type` is a stable relative address."""
    body = {
        "type": f"/problems/{slug}",
        "title": title,
        "status": status,
        "detail": detail,
        **{key: value for key, value in fields.items() if value is not None},
    }
    return Response(
        orjson.dumps(body, default=str), status_code=status, media_type="application/problem+json"
    )


def describe(error: DialerError) -> dict[str, Any]:
    """The same as data, for websocket replies."""
    return {
        "type": f"/problems/{error.slug}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        **error.fields,
    }


def install(app: FastAPI) -> None:
    """Register the handlers."""

    @app.exception_handler(DialerError)
    async def _dialer(request: Request, error: DialerError) -> Response:
        response = problem(error.status, error.slug, error.title, error.detail, **error.fields)
        if isinstance(error, Unauthenticated):
            response.headers["WWW-Authenticate"] = "Bearer"
        return response

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        if any(e["type"] == "json_invalid" for e in error.errors()):
            return problem(400, "bad-request", "Bad request", "the body is not JSON")
        errors = [
            {"where": "/".join(str(p)[:60] for p in e["loc"]), "what": e["msg"][:200]}
            for e in error.errors()[:20]
        ]
        return problem(422, "invalid", "Invalid request", "the request does not fit", errors=errors)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        slug = _TITLES.get(error.status_code, "http-error")
        return problem(error.status_code, slug, slug.replace("-", " ").capitalize(), "")

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> Response:
        log.exception("request failed", action="request_failed", path=request.url.path)
        return problem(500, "internal", "Internal error", "something went wrong here")


class BodyLimit:
    """Refuses larger bodies while they are read, whether or not a length was announced."""

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        self._app, self._limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        announced = headers.get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > self._limit:
            await self._refuse(scope, receive, send)
            return
        got, sent, over = 0, False, False

        async def limited() -> Message:
            nonlocal got, over
            message = await receive()
            got += len(message.get("body", b""))
            if got > self._limit:
                over = True
                raise _BodyTooLarge
            return message

        async def watched(message: Message) -> None:
            nonlocal sent
            if over and not sent:
                return  # the framework's own idea of what went wrong; ours follows
            sent = True
            await send(message)

        try:
            await self._app(scope, limited, watched)
        except _BodyTooLarge:
            pass
        if over and not sent:
            await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = problem(413, "too-large", "Too large", f"at most {self._limit} bytes")
        await response(scope, receive, send)


class _BodyTooLarge(Exception):
    pass
