"""The audit log: who changed what, written in the transaction that changes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.domain.ids import NewId
from dialer.store import admin
from telephony.clock import Clock


@dataclass(frozen=True, slots=True)
class Audit:
    """Lines of no client but the one that is worked for; details without personal data."""

    clock: Clock
    new_id: NewId

    async def note(
        self, connection: AsyncConnection, client_id: UUID, who: str, action: str, **details: Any
    ) -> None:
        """One line: what is undone when the transaction is, is not in the log."""
        await admin.note(
            connection,
            {
                "id": self.new_id(),
                "client_id": client_id,
                "at": self.clock.now(),
                "who": who,
                "action": action,
                "details": {k: str(v) if isinstance(v, UUID) else v for k, v in details.items()},
            },
        )
