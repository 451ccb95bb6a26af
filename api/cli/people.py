"""`dialer user`: accounts, without an administrator's token. Passwords never come as arguments."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal
from uuid import UUID

from cyclopts import App, Parameter

from api.auth import Auth
from api.cli.start import Json, load_settings, read_password
from dialer.domain.errors import NotFound
from dialer.domain.ids import uuid7
from dialer.store import access, admin, guesses
from dialer.store.database import Database
from dialer.store.schema import account
from telephony.clock import SystemClock

Role = Literal["admin", "supervisor", "quality", "agent", "integration"]
Login = Annotated[str, Parameter(help="who signs in with it")]
ClientName = Annotated[str | None, Parameter(help="the client it belongs to; none: the house")]
user = App(name="user", help="Accounts: who may sign in, and as what.")


def _run(work: Callable[[Database], Awaitable[None]]) -> None:
    """On the installation's database."""

    async def inside() -> None:
        database = Database(load_settings().database_url)
        try:
            await work(database)
        finally:
            await database.close()

    asyncio.run(inside())


async def _hash(database: Database, password: str) -> str:
    return await Auth(database, key=b"", token_seconds=60, clock=SystemClock()).hash(password)


async def _client(connection: Any, name: str | None) -> UUID:
    """The named client, or the house."""
    if name is None:
        house = await access.house(connection)
        if house is None:
            raise NotFound("there is no client yet: run `dialer setup` first")
        return house
    for row in await admin.clients(connection):
        if row["name"] == name:
            return UUID(str(row["id"]))
    raise NotFound(f"there is no client {name!r}")


async def _change(database: Database, login: str, values: dict[str, Any]) -> None:
    async with database.begin() as connection:
        row = await admin.account_by_login(connection, login)
        if row is None:
            raise NotFound(f"there is no account {login!r}")
        await admin.update_account(connection, row["id"], values)


@user.command
def add(
    login: Login,
    *,
    role: Annotated[Role, Parameter(help="what it may do")],
    client: ClientName = None,
) -> None:
    """Add an account; the password is asked for, or read from standard input."""
    password, clock = read_password(), SystemClock()

    async def work(database: Database) -> None:
        hashed = await _hash(database, password)
        async with database.begin() as connection:
            await admin.add_account(
                connection,
                {
                    "id": uuid7(clock),
                    "client_id": await _client(connection, client),
                    "login": login,
                    "password_hash": hashed,
                    "role": role,
                    "disabled": False,
                    "created_at": clock.now(),
                },
            )
        print(f"{login} may sign in as {role}")

    _run(work)


@user.command(name="list")
def list_(*, client: ClientName = None, as_json: Json = False) -> None:
    """Accounts of a client (of the house when none is named)."""

    async def work(database: Database) -> None:
        async with database.begin() as connection:
            rows = await admin.accounts(connection, await _client(connection, client))
        for row in rows:
            seen = {k: row[k] for k in ("login", "role", "disabled")}
            off = "  disabled" if row["disabled"] else ""
            print(json.dumps(seen) if as_json else f"{row['login']:<30} {row['role']}{off}")

    _run(work)


@user.command
def disable(login: Login) -> None:
    """Refuse an account from now on, also with tokens it has."""

    async def work(database: Database) -> None:
        await _change(database, login, {"disabled": True})
        print(f"{login} is disabled")

    _run(work)


@user.command
def passwd(login: Login) -> None:
    """Set a new password and enable the account."""
    password = read_password()

    async def work(database: Database) -> None:
        hashed = await _hash(database, password)
        generation = account.c.generation + 1  # ends the tokens it has
        values = {"password_hash": hashed, "disabled": False, "generation": generation}
        await _change(database, login, values)
        async with database.begin() as connection:
            await guesses.forget(connection, login)
        print(f"{login} has a new password")

    _run(work)
