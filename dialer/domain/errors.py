"""Errors that people see: each has an HTTP status, a stable slug and details (RFC 9457)."""

from __future__ import annotations

from typing import Any, ClassVar


class DialerError(Exception):
    """Base of all expected failures."""

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, **fields: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.fields = fields


class NotFound(DialerError):
    status, slug, title = 404, "not-found", "Not found"


class Conflict(DialerError):
    status, slug, title = 409, "conflict", "Conflict with the present state"


class Invalid(DialerError):
    status, slug, title = 422, "invalid", "Invalid request"


class Forbidden(DialerError):
    status, slug, title = 403, "forbidden", "Not allowed"


class Unauthenticated(DialerError):
    status, slug, title = 401, "unauthenticated", "Sign in first"


class TooLarge(DialerError):
    status, slug, title = 413, "too-large", "Too large"


class TooMany(DialerError):
    status, slug, title = 429, "too-many", "Too many requests"


class Unavailable(DialerError):
    status, slug, title = 503, "unavailable", "Temporarily unavailable"


class LeaseLost(Unavailable):
    """This process no longer owns the pool; nothing was written."""

    slug, title = "lease-lost", "The pool has another owner"
