"""The command line `dialer`."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

from cyclopts import App, Parameter

from api.cli.people import user
from api.cli.start import load_settings, read_password
from api.cli.work import import_, openapi, report

app = App(name="dialer", help="Outbound dialing on Asterisk.", version="0.1.0")
app.command(user)
app.command(import_, name="import")
app.command(report)
app.command(openapi)


@app.command
def serve() -> None:
    """Run the dialer until it is told to stop; migrates its database first."""
    from api.runtime import serve as run  # the whole product: not needed by the other commands

    raise SystemExit(asyncio.run(run(load_settings())))


@app.command
def migrate() -> None:
    """Bring the database's tables up to date."""
    from dialer.store.database import upgrade

    upgrade(load_settings().database_url)
    print("the database is up to date")


@app.command
def setup(
    login: Annotated[str, Parameter(help="the first administrator's login")] = "admin",
    *,
    client: Annotated[str, Parameter(help="the house's name")] = "house",
) -> None:
    """Make the first client and its administrator; the password is read from standard input."""
    from api.auth import Auth
    from dialer.domain.errors import DialerError
    from dialer.domain.ids import id_source
    from dialer.services.setup import first_client
    from dialer.store.database import Database, upgrade
    from telephony.clock import SystemClock

    settings, password = load_settings(), read_password()

    async def make() -> None:
        database, clock = Database(settings.database_url), SystemClock()
        auth = Auth(database, key=b"", token_seconds=60, clock=clock)
        try:
            await first_client(
                database,
                name=client,
                login=login,
                password=password,
                hash_password=auth.hash,
                clock=clock,
                new_id=id_source(clock),
            )
        finally:
            await database.close()

    upgrade(settings.database_url)
    try:
        asyncio.run(make())
    except DialerError as error:
        print(error.detail, file=sys.stderr)
        raise SystemExit(1) from None
    print(f"client {client!r} with administrator {login!r} is there; `dialer serve` picks it up")


@app.command
def doctor(*, as_json: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """Check settings, database, storage and Asterisk, and say what to do; exit code 1 if not."""
    from api.cli.doctor import report as examine

    raise SystemExit(0 if examine(load_settings(), as_json=as_json) else 1)


def main() -> None:
    """The entry of the `dialer` command."""
    app()
