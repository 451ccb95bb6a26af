"""A write that is repeated with the same `Idempotency-Key` is done once and answered alike.

Keys belong to an account and client and are kept for a day. The same key with another request is
refused (422), and while the first one is under way so is the second (409). Failures of ours (5xx)
are not kept: the request may be tried again under its key.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING
from uuid import UUID

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem
from dialer.domain.errors import DialerError
from dialer.store import access

if TYPE_CHECKING:
    from api.app import Deps

_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_KEY = re.compile(r"^[\x21-\x7e]{1,200}$")
_NOT_KEPT = frozenset({401, 403, 429})
_SIGN_IN = "/api/v1/tokens"


class Idempotency:
    """ASGI middleware, inside the body limit."""

    def __init__(self, app: ASGIApp, *, deps: Deps) -> None:
        self._app, self._deps = app, deps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in _WRITES or scope["path"] == _SIGN_IN:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        key = headers.get("idempotency-key")
        if key is None:
            await self._app(scope, receive, send)
            return
        if not _KEY.match(key):
            refused = problem(
                400, "bad-request", "Bad request", "Idempotency-Key: 1 to 200 printable characters"
            )
            await refused(scope, receive, send)
            return
        who = await self._who(headers)
        if who is None:
            await self._app(scope, receive, send)  # which answers 401 or 403
            return
        body = await _whole(receive)
        done = await self._before(scope, headers, who, key, body)
        if done is not None:
            await done(scope, receive, send)
            return
        await self._first(scope, send, who, key, body)

    async def _who(self, headers: Headers) -> tuple[UUID, UUID] | None:
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return None
        try:
            caller = await self._deps.auth.authenticate(token.strip())
            if chosen := headers.get("x-client"):
                caller = await self._deps.auth.for_client(caller, UUID(chosen))
        except (DialerError, ValueError):
            return None
        return caller.account_id, caller.client_id

    async def _before(
        self, scope: Scope, headers: Headers, who: tuple[UUID, UUID], key: str, body: bytes
    ) -> Response | None:
        """The answer given before, or a refusal; None when this is the first time."""
        digest = hashlib.sha256()
        kind = headers.get("content-type", "").encode()
        for part in (scope["method"].encode(), scope["path"].encode(), scope["query_string"], kind):
            digest.update(len(part).to_bytes(4, "big") + part)
        digest.update(body)
        fingerprint = digest.hexdigest()
        async with self._deps.database.begin() as connection:
            row = await access.claim_key(
                connection, *who, key=key, fingerprint=fingerprint, now=self._deps.clock.now()
            )
        if row is None:
            return None
        if row["fingerprint"] != fingerprint:
            return problem(
                422, "key-reused", "Key used before", "this key came with another request before"
            )
        if row["status"] == 0:
            return problem(409, "under-way", "Under way", "the first request is not done yet")
        again = Response(row["body"], status_code=row["status"])
        if row["content_type"]:
            again.headers["content-type"] = row["content_type"]
        again.headers["Idempotent-Replayed"] = "true"
        return again

    async def _first(
        self, scope: Scope, send: Send, who: tuple[UUID, UUID], key: str, body: bytes
    ) -> None:
        status, kind, answer = 500, "", bytearray()
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return {"type": "http.disconnect"}
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def watched(message: Message) -> None:
            nonlocal status, kind
            if message["type"] == "http.response.start":
                status = message["status"]
                kind = Headers(raw=message["headers"]).get("content-type", "")[:100]
            elif message["type"] == "http.response.body":
                answer.extend(message.get("body", b""))
                if not message.get("more_body"):
                    await settle()
            await send(message)

        async def settle() -> None:
            keep = status < 500 and status not in _NOT_KEPT
            async with self._deps.database.begin() as connection:
                await access.settle_key(
                    connection,
                    *who,
                    key=key,
                    answer=(status, kind, bytes(answer)) if keep else None,
                )

        try:
            await self._app(scope, replay, watched)
        except Exception:
            status = 500
            await settle()
            raise


async def _whole(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
