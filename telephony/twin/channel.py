"""One channel of the twin: a call or an agent's leg."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

from telephony.events import CallEnd
from telephony.switch import Originate
from telephony.twin.public import Behaviour


@dataclass(slots=True)
class Channel:
    """State as the node sees it; `request` is None for a leg."""

    id: str
    behaviour: Behaviour
    born: float
    request: Originate | None = None
    started: bool = False
    answered: bool = False
    parked: bool = False
    partner: Channel | None = None
    bridge: str = ""
    bridged: bool = False  # at any time
    met: str = ""  # the last leg it was bridged to
    recorded: bool = False
    dialplan: asyncio.Handle | None = None  # what the dialplan does next
    far: asyncio.Handle | None = None  # what the network does next
    # for the call records
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    end: CallEnd | None = None
    cause: int = 0
    tech_cause: str = ""
    stages: list[str] = field(default_factory=list)

    @property
    def leg(self) -> bool:
        return self.request is None

    def halt(self) -> None:
        """Take it out of the dialplan."""
        if self.dialplan is not None:
            self.dialplan.cancel()
            self.dialplan = None

    def close(self) -> None:
        self.halt()
        if self.far is not None:
            self.far.cancel()
            self.far = None
