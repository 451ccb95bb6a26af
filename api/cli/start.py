"""How each command begins: with the settings, and a password that is never an argument."""

from __future__ import annotations

import contextlib
import getpass
import sys
import tomllib
from collections.abc import Iterator
from typing import Annotated

import sqlalchemy.exc as sql
from cyclopts import Parameter
from pydantic import ValidationError
from pydantic_settings import SettingsError

from api.settings import Settings
from dialer.domain.errors import DialerError

Json = Annotated[
    bool, Parameter(name="--json", negative="", help="Print JSON for a program to read.")
]

FAILED, MISUSED, INTERRUPTED = 1, 2, 130


@contextlib.contextmanager
def plain_failures() -> Iterator[None]:
    """Expected failures end the command with one line and an exit code, not with a traceback."""
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except DialerError as error:
        _end(error.detail)
    except sql.DBAPIError as error:
        # Never the statement or its values: they may hold a person's data.
        empty = "no such table" in str(error.orig) or "relation" in str(error.orig)
        hint = "the database is empty: run `dialer migrate`"
        _end(hint if empty else f"the database does not do it: {type(error.orig).__name__}")
    except OSError as error:
        _end(f"cannot reach or open what is needed: {error.strerror or type(error).__name__}")


def _end(text: str) -> None:
    print(text, file=sys.stderr)
    raise SystemExit(FAILED) from None


def load_settings() -> Settings:
    """The settings, or an end with a readable message."""
    try:
        return Settings()
    except ValidationError as error:
        lines = [f"  {'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors()]
        print("the settings do not fit:", *lines, sep="\n", file=sys.stderr)
    except SettingsError as error:  # it names the field, and not what stands in it
        print(f"the settings do not fit: {error}", file=sys.stderr)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        # Not what the parser says: it may quote the line, and the line may hold a secret.
        print("the settings do not fit: DIALER_CONFIG names no TOML file", file=sys.stderr)
    raise SystemExit(MISUSED)


def read_password() -> str:
    """From the terminal without echo, or one line of standard input; never from the arguments."""
    password = (
        getpass.getpass("password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    )
    if len(password) < 8:
        print("a password has at least 8 characters", file=sys.stderr)
        raise SystemExit(MISUSED)
    return password
