"""What the engine logs as an error fails a test, unless the test said that it must come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

_FAULTS = frozenset(
    {
        "engine_died", "event_failed", "event_refused", "task_failed", "tick_conflict",
        "tick_failed", "claim_failed", "twin_handler_failed", "write_failed", "write_refused",
        "stop_unwritten", "lease_lost",
    }
)  # fmt: skip


class Logs:
    """The log lines of one test."""

    def __init__(self, lines: list[Any]) -> None:
        self.lines, self._expected = lines, set[str]()

    def expect(self, *actions: str) -> None:
        """These faults are what the test is about."""
        self._expected.update(actions)

    def faults(self) -> list[Any]:
        return [
            line
            for line in self.lines
            if line.get("action") in _FAULTS and line["action"] not in self._expected
        ]

    def of(self, action: str) -> list[Any]:
        return [line for line in self.lines if line.get("action") == action]


@pytest.fixture(autouse=True)
def logs() -> Iterator[Logs]:
    capture = LogCapture()
    structlog.configure(processors=[capture], cache_logger_on_first_use=False)
    found = Logs(capture.entries)
    yield found
    structlog.reset_defaults()
    assert found.faults() == []
