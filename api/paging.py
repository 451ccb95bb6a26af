"""Pages by cursor: where the last row stood, in an opaque word, checked when it comes back."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query

from dialer.domain.errors import Invalid

Cursor = Annotated[
    str | None, Query(max_length=200, description="`next` of the page before; none: first page.")
]
Limit = Annotated[int, Query(ge=1, le=500, description="Rows in a page.")]
Place = tuple[datetime, UUID]


def place(cursor: str | None) -> Place | None:
    """Where a page begins; raises Invalid for a word that is not one of ours."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor.encode(), altchars=b"-_", validate=True).decode()
        at, _, row_id = text.partition("|")
        found = datetime.fromisoformat(at), UUID(row_id)
    except (ValueError, binascii.Error):
        raise Invalid("the cursor is not one of ours") from None
    if found[0].tzinfo is None:
        raise Invalid("the cursor is not one of ours")
    return found


def following(
    rows: Sequence[Mapping[str, Any]], limit: int, *, at: str, row_id: str = "id"
) -> str | None:
    """The cursor of the next page, None when this one was not full."""
    if len(rows) < limit:
        return None
    last = rows[-1]
    return base64.urlsafe_b64encode(f"{last[at].isoformat()}|{last[row_id]}".encode()).decode()
