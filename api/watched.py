"""Tasks that must live as long as the process: named, owned, and their death is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

import structlog

log = structlog.get_logger(__name__)


class WatchedTasks:
    """`dead` has what ended on its own, and why; readiness shows it. None of them may return."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._dead: dict[str, str] = {}

    @property
    def dead(self) -> Mapping[str, str]:
        return self._dead

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        if task not in self._tasks:
            return  # ended by us
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        why = "cancelled" if task.cancelled() else "returned" if error is None else repr(error)
        self._dead[task.get_name()] = f"died: {type(error).__name__ if error else why}"
        log.critical("task died", action="task_died", task=task.get_name(), exc_info=error)

    async def end(self, task: asyncio.Task[None]) -> None:
        """End one of them and wait until it is gone."""
        self._tasks.discard(task)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def stop(self) -> None:
        """End all of them and wait until they are gone."""
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
