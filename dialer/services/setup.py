"""The first client and account of an installation; everything else is made through the API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

from dialer.domain.ids import NewId
from dialer.store import admin
from dialer.store.database import Database
from telephony.clock import Clock


async def first_client(
    database: Database,
    *,
    name: str,
    login: str,
    password: str,
    hash_password: Callable[[str], Awaitable[str]],
    clock: Clock,
    new_id: NewId,
) -> UUID:
    """A client with a pool and an administrator; raises Conflict when the name is taken."""
    client_id, now = new_id(), clock.now()
    hashed = await hash_password(password)
    async with database.begin() as connection:
        await admin.add_client(connection, client_id=client_id, name=name, pool_id=new_id(), at=now)
        await admin.add_account(
            connection,
            {
                "id": new_id(),
                "client_id": client_id,
                "login": login,
                "password_hash": hashed,
                "role": "admin",
                "disabled": False,
                "created_at": now,
            },
        )
    return client_id
