"""Switch events to the one who handles them: a table, so that nothing is decided on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from dialer.domain.machine import IllegalTransition
from dialer.engine.agents import AgentDesk
from dialer.engine.calls import CallDesk
from telephony.events import (
    CallAnswered,
    CallBridged,
    CallEnded,
    CallProgress,
    CallStaged,
    CallStarted,
    CallUnbridged,
    LegEnded,
    LegParked,
    LegUp,
    RecordingEnded,
    SwitchEvent,
)

log = structlog.get_logger(__name__)


class EventRouter:
    """Dispatches by type; an event that makes no sense is logged and harms nothing."""

    def __init__(self, calls: CallDesk, desk: AgentDesk) -> None:
        self._table: dict[type[SwitchEvent], Callable[[Any], None]] = {
            CallStarted: calls.started,
            CallProgress: calls.progress,
            CallAnswered: calls.answered,
            CallStaged: calls.staged,
            CallBridged: calls.bridged,
            CallUnbridged: calls.unbridged,
            CallEnded: calls.ended,
            RecordingEnded: calls.recording_ended,
            LegUp: _leg_up,
            LegParked: lambda event: desk.leg_parked(event.leg_id, node=event.node),
            LegEnded: lambda event: desk.leg_ended(
                event.leg_id, cause=event.tech_cause or str(event.cause)
            ),
        }

    def dispatch(self, event: SwitchEvent) -> None:
        handler = self._table.get(type(event))
        if handler is None:
            return
        try:
            handler(event)
        except IllegalTransition as error:
            log.error(
                "event out of place",
                action="event_refused",
                error=str(error),
                event_type=type(event).__name__,
            )
        except Exception:  # the next call's events must still be heard
            log.exception("event failed", action="event_failed", event_type=type(event).__name__)


def _leg_up(event: LegUp) -> None:
    """The leg parks next; nothing is decided on its answer alone."""
