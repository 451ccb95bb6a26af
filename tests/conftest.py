"""What holds for all tests."""

from __future__ import annotations

import asyncio

import structlog


def pytest_configure() -> None:
    """No event loop but those of the tests.

    Plugins ask for the current loop around synchronous tests too; Python 3.11 then makes one that
    nobody closes, and unclosed loops are errors here. Once told that there is none, it makes none.
    """
    asyncio.set_event_loop(None)
    # Tracebacks as in production: without the values of variables, which takes seconds besides.
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.dev.ConsoleRenderer(
                colors=False, exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    )
