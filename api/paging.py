"""Pages by cursor: where the last row stood, in an opaque word, checked when it comes back."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Query

from dialer.domain.errors import Invalid

Cursor = Annotated[
    str | None, Query(max_length=1000, description="`next` of the page before; none: first page.")
]
Limit = Annotated[int, Query(ge=1, le=500, description="Rows in a page.")]
Place = tuple[Any, ...]


def moment(text: str) -> datetime:
    """An aware time; raises ValueError."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("expected an aware time")
    return at


def place(
    cursor: str | None, kinds: Sequence[Callable[[str], Any]] = (moment, UUID)
) -> Place | None:
    """Where a page begins, one value of each kind; raises Invalid for a word not one of ours."""
    if cursor is None:
        return None
    try:
        parts = orjson.loads(base64.b64decode(cursor.encode(), altchars=b"-_", validate=True))
        if not isinstance(parts, list) or not all(isinstance(p, str) for p in parts):
            raise ValueError("expected a list of texts")
        return tuple(kind(part) for kind, part in zip(kinds, parts, strict=True))
    except (ValueError, binascii.Error):
        raise Invalid("the cursor is not one of ours") from None


def following(rows: Sequence[Mapping[str, Any]], limit: int, *keys: str) -> str | None:
    """The cursor of the next page, None when this one was not full."""
    if len(rows) < limit:
        return None
    values = [rows[-1][key] for key in keys]
    parts = [v.isoformat() if isinstance(v, datetime) else str(v) for v in values]
    return base64.urlsafe_b64encode(orjson.dumps(parts)).decode()
