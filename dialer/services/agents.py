"""Agents, their accounts and their phones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from dialer.domain.errors import Conflict, Invalid, NotFound, Unavailable
from dialer.domain.ids import NewId
from dialer.live.gateway import CommandGateway
from dialer.services.audit import Audit
from dialer.store import admin, directory
from dialer.store.database import Database
from telephony.clock import Clock
from telephony.provision.phones import Phone, new_password

#: Makes Asterisk know a node's phones: all of them, every time.
Provision = Callable[[str, Sequence[Phone]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class MadeAgent:
    id: UUID
    node: str
    phone_password: str


class Agents:
    """People who talk, and what they need for it."""

    def __init__(
        self,
        database: Database,
        *,
        gateway: CommandGateway,
        clock: Clock,
        new_id: NewId,
        hash_password: Callable[[str], Awaitable[str]],
        nodes: Sequence[str],
        provision: Provision,
    ) -> None:
        self._db, self._gateway, self._clock, self._new_id = database, gateway, clock, new_id
        self._audit = Audit(clock, new_id)
        self._hash, self._nodes, self._provision = hash_password, tuple(nodes), provision

    async def add_account(
        self, client_id: UUID, *, who: str, login: str, password: str, role: str
    ) -> UUID:
        account_id = self._new_id()
        values = await self._account(account_id, client_id, login, password, role)
        async with self._db.begin() as connection:
            await admin.add_account(connection, values)
            await self._audit.note(
                connection, client_id, who, "account.added", account_id=account_id, role=role
            )
        return account_id

    async def _account(
        self, account_id: UUID, client_id: UUID, login: str, password: str, role: str
    ) -> dict[str, Any]:
        return {
            "id": account_id,
            "client_id": client_id,
            "login": login,
            "password_hash": await self._hash(password),
            "role": role,
            "disabled": False,
            "created_at": self._clock.now(),
        }

    async def add(
        self,
        client_id: UUID,
        *,
        who: str,
        name: str,
        endpoint: str,
        node: str,
        contact: str,
        login: str | None,
        password: str | None,
        campaigns: Sequence[UUID],
    ) -> MadeAgent:
        """An agent with phone and, given a login, account. A phone with a contact needs no
        password: it is called where it is. Without a `node` it is the one with the fewest agents.
        """
        if (login is None) != (password is None):
            raise Invalid("login and password belong together")
        if node and node not in self._nodes:
            raise NotFound("no such Asterisk node")
        agent_id, account_id = self._new_id(), self._new_id()
        phone_password = "" if contact else new_password()
        account = None
        if login is not None and password is not None:
            account = await self._account(account_id, client_id, login, password, "agent")
        async with self._db.begin() as connection:
            pools = await admin.pools(connection, client_id)
            if account is not None:
                await admin.add_account(connection, account)
            where = node or await self._emptiest(connection)
            await admin.add_agent(
                connection,
                {
                    "id": agent_id,
                    "client_id": client_id,
                    "pool_id": pools[0]["id"],
                    "account_id": account_id if account is not None else None,
                    "name": name,
                    "endpoint": endpoint,
                    "node": where,
                    "contact": contact,
                    "phone_password": phone_password,
                },
            )
            await admin.assign(connection, client_id, agent_id, campaigns)
            await self._note(connection, client_id, who, "agent.added", agent_id)
        await self.provision()
        await self.tell_pools([pools[0]["id"]], "pool.refresh", {})
        return MadeAgent(agent_id, where, phone_password)

    async def _emptiest(self, connection: Any) -> str:
        if len(self._nodes) < 2:
            return next(iter(self._nodes), "")
        counts = await directory.agents_by_node(connection)
        return min(self._nodes, key=lambda node: counts.get(node, 0))

    async def assign(
        self, client_id: UUID, agent_id: UUID, campaign_ids: Sequence[UUID], *, who: str
    ) -> None:
        async with self._db.begin() as connection:
            await admin.assign(connection, client_id, agent_id, campaign_ids)
            await self._audit.note(
                connection, client_id, who, "agent.campaigns", agent_id=agent_id,
                campaigns=[str(c) for c in campaign_ids],
            )  # fmt: skip
            row = await admin.agent(connection, client_id, agent_id)
        await self.tell_pools([row["pool_id"]], "pool.refresh", {})

    async def link(
        self, client_id: UUID, agent_id: UUID, campaign_id: UUID, *, works: bool, who: str
    ) -> None:
        """Whether the agent may work this campaign, the others left as they are."""
        async with self._db.begin() as connection:
            row = await admin.agent(connection, client_id, agent_id)
            await admin.campaign(connection, client_id, campaign_id)
            change = directory.link if works else directory.unlink
            await change(connection, client_id, agent_id, campaign_id)
            await self._audit.note(
                connection, client_id, who, "agent.campaign", agent_id=agent_id,
                campaign_id=campaign_id, works=works,
            )  # fmt: skip
        await self.tell_pools([row["pool_id"]], "pool.refresh", {})

    async def change(
        self,
        client_id: UUID,
        agent_id: UUID,
        *,
        who: str,
        name: str | None = None,
        disabled: bool | None = None,
    ) -> dict[str, Any]:
        """A name; or whether the agent may sign in. Who is disabled is signed out after the call at
        hand, and their phone may not register any more."""
        async with self._db.begin() as connection:
            row = await directory.agent(connection, client_id, agent_id)
            if disabled is not None and row["account_id"] is None:
                raise Conflict("this agent has no account to disable: nobody can sign in as it")
            if name is not None:
                await directory.change_agent(connection, client_id, agent_id, {"name": name})
                await self._note(connection, client_id, who, "agent.renamed", agent_id)
            if disabled is not None:
                await admin.update_account(connection, row["account_id"], {"disabled": disabled})
                await self._note(
                    connection, client_id, who, "agent.disabled" if disabled else "agent.enabled",
                    agent_id,
                )  # fmt: skip
            row = await directory.agent(connection, client_id, agent_id)
        if disabled:
            await self.tell_pools(
                [row["pool_id"]],
                "agent.sign_out",
                {"agent_id": str(agent_id), "reason": "disabled"},
            )
        if disabled is not None:
            await self.provision()
        await self.tell_pools([row["pool_id"]], "pool.refresh", {})
        return row

    async def account_disabled(self, account_id: UUID) -> None:
        """Whoever works under this account is signed out after the call at hand, phone and all."""
        async with self._db.begin() as connection:
            row = await admin.agent_of_account(connection, account_id)
        if row is not None:
            await self.tell_pools(
                [row["pool_id"]],
                "agent.sign_out",
                {"agent_id": str(row["id"]), "reason": "disabled"},
            )
            await self.provision()

    async def new_phone_password(
        self, client_id: UUID, agent_id: UUID, *, who: str
    ) -> dict[str, Any]:
        """The old one is worth nothing from now on. Raises Conflict for a phone without one."""
        password = new_password()
        async with self._db.begin() as connection:
            row = await directory.agent(connection, client_id, agent_id)
            if row["contact"]:
                raise Conflict("this phone is called where it is: it has no password")
            values = {"phone_password": password}
            await directory.change_agent(connection, client_id, agent_id, values)
            await self._note(connection, client_id, who, "agent.phone_password", agent_id)
        await self.provision()
        return {**row, "phone_password": password}

    async def _note(
        self, connection: Any, client_id: UUID, who: str, action: str, agent_id: UUID
    ) -> None:
        await self._audit.note(connection, client_id, who, action, agent_id=agent_id)

    async def provision(self) -> None:
        """Write all phones for every node and have Asterisk read them: a phone is called by
        another node when its own one is away."""
        async with self._db.begin() as connection:
            rows = await directory.phones(connection)
        phones = [Phone(r["endpoint"], r["phone_password"], r["contact"]) for r in rows]
        await asyncio.gather(*(self._provision(node, phones) for node in self._nodes))

    async def tell_pools(
        self, pool_ids: Sequence[UUID], command: str, payload: Mapping[str, Any]
    ) -> None:
        """Engines that run hear of it now; others read it at their start."""
        for pool_id in pool_ids:
            try:
                await self._gateway.call(pool_id, command, payload)
            except (Unavailable, NotFound):  # an agent the engine does not know is not signed in
                pass
