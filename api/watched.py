"""Tasks that must live as long as the process: named, owned, and their death is noticed.

The one place that knows of them all: the bus, the manager links, the pools, the jobs. A death is
logged, shown by readiness and counted, and from then on this process places no new call: nobody
knows what else is wrong, and conversations go on. A task that only one node needs holds nothing
here: its node is down without it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Mapping
from typing import Any

import structlog

log = structlog.get_logger(__name__)


class WatchedTasks:
    """`dead` has what ended on its own, and why; readiness shows it. None of them may return."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], bool] = {}  # whether its death holds all dialing
        self._dead: dict[str, str] = {}
        self._held = ""
        #: How often each task ended on its own; loops of an engine too, which is then made again.
        self.deaths: Counter[str] = Counter()

    @property
    def dead(self) -> Mapping[str, str]:
        return self._dead

    @property
    def alive(self) -> int:
        """How many are watched now."""
        return len(self._tasks)

    def hold(self) -> str:
        """Why this process may place no calls any more; '' while it may."""
        return self._held

    def start(
        self, name: str, work: Coroutine[Any, Any, None], *, holds: bool = True
    ) -> asyncio.Task[None]:
        """`holds`: without it, no call may be placed by this process."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks[task] = holds
        task.add_done_callback(self._done)
        return task

    def start_link(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A manager link: when it dies its node is down, and the others go on."""
        return self.start(name, work, holds=False)

    def _done(self, task: asyncio.Task[None]) -> None:
        holds = self._tasks.pop(task, None)
        if holds is None:
            return  # ended by us
        error = None if task.cancelled() else _root(task.exception())
        why = "cancelled" if task.cancelled() else type(error).__name__ if error else "returned"
        name = task.get_name()
        self.deaths[name] += 1
        self._dead[name] = f"died: {why}"
        if holds and not self._held:
            self._held = f"task {name} died: {why}"
        log.critical(
            "task died", action="task_died", task=name, why=why, held=holds, exc_info=error
        )

    async def end(self, task: asyncio.Task[None]) -> None:
        """End one of them and wait until it is gone."""
        self._tasks.pop(task, None)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def stop(self) -> None:
        """End all of them and wait until they are gone."""
        tasks, self._tasks = self._tasks, {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _root(error: BaseException | None) -> BaseException | None:
    """What a group of tasks died of says more than that it was a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
