"""Accounts: who may sign in, and as what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from dialer.domain.errors import Conflict
from dialer.domain.ids import NewId
from dialer.services.audit import Audit
from dialer.store import admin, directory, guesses
from dialer.store import schema as t
from dialer.store.database import Database
from telephony.clock import Clock


class Accounts:
    """Every change is in the audit log; nobody can lock themselves out."""

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock,
        new_id: NewId,
        hash_password: Callable[[str], Awaitable[str]],
    ) -> None:
        self._db, self._hash = database, hash_password
        self._audit = Audit(clock, new_id)

    async def change(
        self,
        client_id: UUID,
        account_id: UUID,
        *,
        by: UUID,
        who: str,
        role: str | None = None,
        disabled: bool | None = None,
        password: str | None = None,
    ) -> dict[str, Any]:
        """Role, password, whether it may sign in. Tokens it has follow at once."""
        if account_id == by and (disabled or role is not None):
            raise Conflict("another administrator has to change your own rights")
        values: dict[str, Any] = {}
        if role is not None:
            values["role"] = role
        if disabled is not None:
            values["disabled"] = disabled
        if password is not None:
            values["password_hash"] = await self._hash(password)
            values["generation"] = t.account.c.generation + 1  # ends the tokens it has
        async with self._db.begin() as connection:
            before = await directory.account(connection, client_id, account_id)
            if password is not None:
                await guesses.forget(connection, before["login"])
            if values:
                await admin.update_account(connection, account_id, values)
                await self._audit.note(
                    connection, client_id, who, "account.changed", account_id=account_id,
                    role=role, disabled=disabled, password=password is not None,
                )  # fmt: skip
            return await directory.account(connection, client_id, account_id)
