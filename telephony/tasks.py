"""How a part that lives as long as the process starts its own task: by whoever watches over it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

#: (name, work): the task, which the caller may cancel only when it is asked to end.
Spawn = Callable[[str, Coroutine[Any, Any, None]], "asyncio.Task[None]"]


def unwatched(name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """For parts that are used for a moment, and for tests: nobody is told of a death."""
    return asyncio.get_running_loop().create_task(work, name=name)
