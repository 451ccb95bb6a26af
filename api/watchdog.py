"""A thread that watches the event loop: when the loop stands still, only somebody else can say why.

It reads the heartbeat, and while the loop is blocked it logs where: the stack of the loop's thread,
once when the stall is noticed and again each time it has become twice as long.
"""

from __future__ import annotations

import sys
import threading
import traceback

import structlog

from dialer.engine.heartbeat import Heartbeat
from telephony.clock import Clock

log = structlog.get_logger(__name__)

_LOOK = 0.1  # s


class Watchdog:
    """`start` on the loop's thread; ends with `stop`, or with the process."""

    def __init__(self, heartbeat: Heartbeat, *, clock: Clock, threshold: float) -> None:
        """`threshold`: seconds without a beat after which the stack is logged."""
        self._heartbeat, self._clock, self._threshold = heartbeat, clock, threshold
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._watched = 0
        self._told = 0.0  # how long the stall was when it was last logged; 0: the loop runs
        self.stalls = 0

    def start(self) -> None:
        self._watched = threading.get_ident()
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._end.wait(_LOOK):
            self._look()

    def _look(self) -> None:
        last = self._heartbeat.last
        stall = self._clock.monotonic() - last if last else 0.0
        if stall < self._threshold:
            if self._told:
                log.warning("the loop runs again", action="loop_runs", after=round(self._told, 2))
            self._told = 0.0
        elif stall >= 2 * self._told:
            if not self._told:
                self.stalls += 1
            self._told = stall
            frame = sys._current_frames().get(self._watched)
            log.error(
                "the event loop stands still",
                action="loop_stalled",
                seconds=round(stall, 2),
                stack="".join(traceback.format_stack(frame)) if frame is not None else "",
            )
