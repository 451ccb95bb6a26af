"""Who may still come in: the account behind a token, sign-outs, and repeated requests."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.store import schema as t

_KEPT = timedelta(hours=24)
_UNDER_WAY = timedelta(minutes=5)  # after that its process has died


async def standing(
    connection: AsyncConnection, account_id: UUID, token_id: str
) -> dict[str, Any] | None:
    """The account as it is now, and whether this token was signed out."""
    revoked = sa.exists().where(t.revoked_token.c.jti == token_id)
    query = sa.select(
        t.account.c.client_id,
        t.account.c.login,
        t.account.c.role,
        t.account.c.disabled,
        t.account.c.generation,
        revoked.label("revoked"),
    ).where(t.account.c.id == account_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    return dict(row) if row is not None else None


async def revoke(
    connection: AsyncConnection, token_id: str, *, expires: datetime, now: datetime
) -> None:
    """Remember a sign-out until the token would have ended; forget those that have."""
    revoked = t.revoked_token
    await connection.execute(
        sa.delete(revoked).where(sa.or_(revoked.c.expires < now, revoked.c.jti == token_id))
    )
    await connection.execute(sa.insert(revoked).values(jti=token_id, expires=expires))


async def house(connection: AsyncConnection) -> UUID | None:
    """The first client: the house itself."""
    query = sa.select(t.client.c.id).order_by(t.client.c.created_at, t.client.c.id).limit(1)
    return (await connection.execute(query)).scalar_one_or_none()


async def has_client(connection: AsyncConnection, client_id: UUID) -> bool:
    query = sa.select(t.client.c.id).where(t.client.c.id == client_id)
    return (await connection.execute(query)).scalar_one_or_none() is not None


async def claim_key(
    connection: AsyncConnection,
    account_id: UUID,
    client_id: UUID,
    *,
    key: str,
    fingerprint: str,
    now: datetime,
) -> dict[str, Any] | None:
    """None: the key is ours now. Otherwise what was done under it before."""
    k = t.request_key.c
    await connection.execute(
        sa.delete(t.request_key).where(
            sa.or_(k.at < now - _KEPT, sa.and_(k.status == 0, k.at < now - _UNDER_WAY))
        )
    )
    mine = sa.and_(k.account_id == account_id, k.client_id == client_id, k.key == key)
    try:
        async with connection.begin_nested():
            await connection.execute(
                sa.insert(t.request_key).values(
                    account_id=account_id,
                    client_id=client_id,
                    key=key,
                    fingerprint=fingerprint,
                    status=0,
                    content_type="",
                    body=b"",
                    at=now,
                )
            )
    except IntegrityError:
        row = (await connection.execute(sa.select(t.request_key).where(mine))).mappings().one()
        return dict(row)
    return None


async def settle_key(
    connection: AsyncConnection,
    account_id: UUID,
    client_id: UUID,
    *,
    key: str,
    answer: tuple[int, str, bytes] | None,
) -> None:
    """Keep the answer (status, content type, body) of a key, or forget the key."""
    k = t.request_key.c
    mine = sa.and_(k.account_id == account_id, k.client_id == client_id, k.key == key)
    if answer is None:
        await connection.execute(sa.delete(t.request_key).where(mine))
        return
    status, content_type, body = answer
    await connection.execute(
        sa.update(t.request_key)
        .where(mine)
        .values(status=status, content_type=content_type, body=body)
    )
