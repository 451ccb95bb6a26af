"""Owned tasks: every one has a name and an owner, and its death is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

_AGAIN = 0.5  # s

log = structlog.get_logger(__name__)


class TaskGroup:
    """Short tasks that may fail alone, and loops whose death is fatal for the owner."""

    def __init__(self, on_fatal: Callable[[str, BaseException], None]) -> None:
        self._on_fatal = on_fatal
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loops: set[asyncio.Task[Any]] = set()
        self._may_return: set[asyncio.Task[Any]] = set()
        self._ending = False  # by us

    def spawn(self, work: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """A short piece of work; an exception is logged, with its name."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._short_done)
        return task

    def loop(
        self, work: Coroutine[Any, Any, Any], *, name: str, returns: bool = False
    ) -> asyncio.Task[Any]:
        """A loop that must live as long as its owner: its end, however it came, is told to the
        owner. `returns`: it ends by itself when its work is done."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._loops.add(task)
        if returns:
            self._may_return.add(task)
        task.add_done_callback(self._loop_done)
        return task

    def _short_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task failed", action="task_failed", task=task.get_name(), exc_info=error)

    def _loop_done(self, task: asyncio.Task[Any]) -> None:
        self._loops.discard(task)
        may_return = task in self._may_return
        self._may_return.discard(task)
        error = None if task.cancelled() else task.exception()
        if self._ending or (error is None and may_return and not task.cancelled()):
            return
        how = "was cancelled" if task.cancelled() else "returned"
        self._on_fatal(task.get_name(), error or RuntimeError(how))

    async def cancel(self) -> None:
        """End all of them and wait until they are gone. A task can miss being cancelled (Python
        3.11's `wait_for` swallows it when what it waits for comes in the same moment): asked again.
        """
        self._ending = True
        current = asyncio.current_task()
        tasks = {t for t in (*self._loops, *self._tasks) if t is not current}
        while tasks:
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=_AGAIN)

    async def settle(self) -> None:
        """Wait for the short tasks under way."""
        while self._tasks:
            await asyncio.gather(*list(self._tasks), return_exceptions=True)
