"""What holds for all tests."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from tests.lab.faults import tally


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--least-faults",
        type=int,
        default=0,
        metavar="N",
        help="fail unless the run injected at least N faults into real parts",
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run that promises faults and injected too few is no proof: it fails."""
    least = session.config.getoption("--least-faults")
    if sum(tally().values()) < least and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    found, least = tally(), config.getoption("--least-faults")
    if not found and not least:
        return
    terminalreporter.section("faults injected into real parts")
    for kind, count in sorted(found.items()):
        terminalreporter.line(f"{count:6d}  {kind}")
    total = sum(found.values())
    wanted = f" of at least {least}" if least else ""
    terminalreporter.line(f"{total:6d}  in all{wanted}", red=total < least)


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
