"""What holds for all tests."""

from __future__ import annotations

import asyncio


def pytest_configure() -> None:
    """No event loop but those of the tests.

    Plugins ask for the current loop around synchronous tests too; Python 3.11 then makes one that
    nobody closes, and unclosed loops are errors here. Once told that there is none, it makes none.
    """
    asyncio.set_event_loop(None)
