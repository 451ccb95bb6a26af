"""How each command begins: with the settings, and a password that is never an argument."""

from __future__ import annotations

import getpass
import sys

from pydantic import ValidationError

from api.settings import Settings


def load_settings() -> Settings:
    """The settings, or an end with a readable message."""
    try:
        return Settings()
    except ValidationError as error:
        lines = [f"  {'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors()]
        print("the settings do not fit:", *lines, sep="\n", file=sys.stderr)
        raise SystemExit(2) from None


def read_password() -> str:
    """From the terminal without echo, or one line of standard input; never from the arguments."""
    password = (
        getpass.getpass("password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    )
    if len(password) < 8:
        print("a password has at least 8 characters", file=sys.stderr)
        raise SystemExit(2)
    return password
