"""Calls that ring and are given up, because nobody would be free for who answers them.

A call that was answered is never ended by this. The wish is dropped when the answer comes before
the hang-up has left; when the two cross on the way, the person is held back from the agents until
it is known whether the hang-up took: if it did they met nobody, and count as abandoned; if it did
not (the link was lost) they are routed as anybody else. A hang-up that did not leave is not
repeated; the call may be given up again some seconds later.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from dialer.domain.call import CallState
from dialer.engine.router import Router
from dialer.engine.state import Call
from dialer.engine.tasks import TaskGroup
from telephony.clock import Clock
from telephony.switch import Switch, SwitchError

log = structlog.get_logger(__name__)

_REST = 5.0  # s until a call is tried again whose hang-up did not leave


class GivingUp:
    """Hangs up ringing calls."""

    def __init__(
        self,
        *,
        switch_for: Callable[[str], Switch],
        router: Router,
        tasks: TaskGroup,
        clock: Clock,
    ) -> None:
        self._switch_for, self._router, self._tasks = switch_for, router, tasks
        self._clock = clock

    def give_up(self, call: Call, *, after: float) -> bool:
        """End this call if it has rung for `after` seconds; whether it is being ended."""
        now = self._clock.monotonic()
        rang = now - call.rings_since if call.rings_since else 0.0
        if not _may(call) or call.given_up or rang < after or now < call.spared_until:
            return False
        call.given_up = True
        self._tasks.spawn(self._try(call), name=f"give-up-{call.key}")
        return True

    async def _try(self, call: Call) -> None:
        if not _may(call):  # answered, or over, since it was decided
            call.given_up = False
            return
        call.hanging_up = True
        try:
            await self._switch_for(call.node).hang_up(call.key)
        except SwitchError as error:
            log.warning("not given up", action="give_up_failed", call=call.key, error=str(error))
            call.given_up = call.hanging_up = False
            call.spared_until = self._clock.monotonic() + _REST
            if call.waits:  # answered meanwhile, and held back
                self._router.person(call)


def _may(call: Call) -> bool:
    return call.state is CallState.RINGING and call.agent_id is None and not call.answered
