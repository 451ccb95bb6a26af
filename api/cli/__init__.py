"""The command line `dialer`."""

from __future__ import annotations

import asyncio
from typing import Annotated

from cyclopts import App, Parameter

from api.cli.board import board
from api.cli.people import user
from api.cli.simulation import simulate
from api.cli.start import Json, load_settings, plain_failures, read_password
from api.cli.work import import_, openapi, report

app = App(
    name="dialer",
    help="""Outbound dialing on Asterisk.

    Settings come from DIALER_... in the environment and the TOML file named by DIALER_CONFIG
    (docs/configuration.md). Exit codes: 0 done, 1 not done (one line on standard error says why),
    2 used wrongly or settings that do not fit, 130 interrupted.
    """,
    version="0.1.0",
)
app.command(user)
app.command(import_, name="import")
app.command(report)
app.command(simulate)
app.command(board)
app.command(openapi)


@app.command
def serve() -> None:
    """Run the dialer until it is told to stop; migrates its database first.

    SIGTERM or Ctrl-C: no new calls, conversations may go on for DIALER_DRAIN seconds, then the rest
    is ended, what happened is written, and the process ends. Logs go to standard error.
    """
    from api.runtime import serve as run  # the whole product: not needed by the other commands

    raise SystemExit(asyncio.run(run(load_settings())))


@app.command
def migrate() -> None:
    """Bring the database's tables up to date; safe to repeat. `serve` does it by itself."""
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
    asyncio.run(make())
    print(f"client {client!r} with administrator {login!r} is there; `dialer serve` picks it up")


@app.command
def doctor(
    *,
    repair: Annotated[bool, Parameter(negative="", help="Put right what is safe to.")] = False,
    as_json: Json = False,
) -> None:
    """Find what is wrong with this installation, and say what to do about it.

    Looks at database, migrations, clocks, disks, storage, Redis, and each Asterisk: accounts and
    their rights, version, modules, trunks, channels; and for calls and leads that are stuck.
    With --repair it hangs up orphaned calls after asking twice, releases stale reservations and
    puts leads back from hoppers that nobody has; a call in conversation is never touched.
    Exit codes: 0 no problem (notes and repairs are none), 1 problems are left, 2 settings that do
    not fit, 130 interrupted.
    """
    from api.cli.doctor import report as examine

    good = examine(load_settings(), as_json=as_json, repair=repair)
    raise SystemExit(0 if good else 1)


def main() -> None:
    """The entry of the `dialer` command."""
    with plain_failures():
        app()
