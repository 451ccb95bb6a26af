"""Lists in pages: ordered by columns that tell every row from every other, after a given place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa


def page(
    query: sa.Select[Any],
    columns: Sequence[sa.ColumnElement[Any]],
    *,
    after: Sequence[Any] | None,
    limit: int,
    newest_first: bool = False,
) -> sa.Select[Any]:
    """The query's rows beyond `after` (one value for each column) in their order."""
    if after is not None:
        query = query.where(
            sa.or_(
                *(
                    sa.and_(
                        *(c == v for c, v in zip(columns[:i], after, strict=False)),
                        column < after[i] if newest_first else column > after[i],
                    )
                    for i, column in enumerate(columns)
                )
            )
        )
    order = [c.desc() for c in columns] if newest_first else list(columns)
    return query.order_by(*order).limit(limit)
