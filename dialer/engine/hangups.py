"""Hang-ups that must happen: asked for once, repeated when the link is back, until they took.

Hanging up is idempotent, so it may be sent again where nothing else may. A wish that met a dead
link must not leave a person or an agent on a line that nobody ends.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from dialer.engine.tasks import TaskGroup
from telephony.switch import Switch, SwitchError

log = structlog.get_logger(__name__)


class HangUps:
    """By channel: a call or a leg."""

    def __init__(self, *, switch_for: Callable[[str], Switch], tasks: TaskGroup) -> None:
        self._switch_for, self._tasks = switch_for, tasks
        self._wanted: dict[str, str] = {}  # channel -> node, not yet taken

    def want(self, node: str, channel_id: str) -> None:
        """End this channel, now or when its node is back."""
        self._wanted[channel_id] = node
        self._tasks.spawn(self._try(node, channel_id), name=f"hangup-{channel_id}")

    def gone(self, channel_id: str) -> None:
        """It ended."""
        self._wanted.pop(channel_id, None)

    def node_up(self, node: str) -> None:
        """What was not taken before the link broke is asked for again."""
        for channel_id, where in list(self._wanted.items()):
            if where == node:
                self.want(node, channel_id)

    async def _try(self, node: str, channel_id: str) -> None:
        try:
            await self._switch_for(node).hang_up(channel_id)
        except SwitchError as error:
            log.warning(
                "hang-up waits", action="hangup_waits", channel=channel_id, error=str(error)
            )
        else:
            self._wanted.pop(channel_id, None)
