"""A dialer whose calendar clock a test sets while it runs: `python -m tests.faults.stepped_dialer
FILE`. All of it is the product's own but the clock, which is what the product has a port for.

FILE holds one number, the seconds that the calendar is ahead; both sides have it in memory.
"""

from __future__ import annotations

import asyncio
import mmap
import struct
import sys
from datetime import datetime, timedelta
from pathlib import Path

from api.runtime import Runtime, serve
from api.settings import Settings
from telephony.clock import SystemClock

_NUMBER = struct.Struct("<d")


class SharedOffset:
    """Seconds that somebody sets and somebody else reads."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(_NUMBER.pack(0.0))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _NUMBER.size)

    @property
    def seconds(self) -> float:
        return float(_NUMBER.unpack(self._memory[: _NUMBER.size])[0])

    @seconds.setter
    def seconds(self, value: float) -> None:
        self._memory[: _NUMBER.size] = _NUMBER.pack(value)

    def close(self) -> None:
        self._memory.close()


class SetClock(SystemClock):
    """The machine's clock, with a calendar that is set from outside."""

    def __init__(self, offset: SharedOffset) -> None:
        self._offset = offset

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self._offset.seconds)


if __name__ == "__main__":
    set_clock = SetClock(SharedOffset(Path(sys.argv[1])))
    sys.exit(asyncio.run(serve(Settings(), make=lambda s: Runtime(s, clock=set_clock))))
