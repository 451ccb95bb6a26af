"""What the pacing engine learns from: each event of a call or an agent, as it happens.

Kept from one decision to the next, and only while a campaign is dialed predictively: nobody asks
for it otherwise, and then it costs a comparison. Calls of preview and manual campaigns tell how
long people talk, and nothing about who answers whom.
"""

from __future__ import annotations

from collections import deque
from uuid import UUID

import numpy as np

from dialer.domain.call import Outcome
from dialer.domain.campaign import DialMode
from dialer.engine.state import Call
from pacing.seen import Kind, Seen
from pacing.state import Signal
from telephony.events import CallEnd, Progress

SIGNALS = {
    None: Signal.NONE,
    Progress.TRYING: Signal.TRYING,
    Progress.RINGING: Signal.RINGING,
    Progress.EARLY_MEDIA: Signal.EARLY_MEDIA,
}
_MOST = 100_000  # events kept; the oldest go
_ASSISTED = frozenset({DialMode.PREVIEW, DialMode.MANUAL})
#: Ends of which the network said that it had enough; the others only stopped being watched.
_STOPPED = frozenset(
    {CallEnd.CANCELLED, CallEnd.UNKNOWN, CallEnd.HUNG_UP_NEAR, CallEnd.HUNG_UP_FAR}
)

_MOST_CELLS = 512  # told apart; calls of later ones are their campaign's

Event = tuple[int, int, float, int, int, int, int]  # kind, slot, s, signal, became, cell, agent
NOBODY = -1


class Observer:
    """Events by slot; a slot is a campaign on a node, for as long as the engine lives. A cell is
    one of its lists over one of its trunks, and numbered with the slots."""

    def __init__(self) -> None:
        #: Whether anybody learns from what happens now.
        self.wanted = False
        self._slots: dict[tuple[UUID, str], int] = {}
        self._cells: dict[tuple[UUID, str, UUID, str], int] = {}
        self._agents: dict[UUID, int] = {}
        self._events: deque[Event] = deque(maxlen=_MOST)

    def slot(self, campaign_id: UUID, node: str) -> int:
        """Where the pacing engine keeps what it learnt of this campaign on this node."""
        return self._slots.setdefault((campaign_id, node), self._places)

    def cell(self, campaign_id: UUID, node: str, *, list_id: UUID | None, trunk: str) -> int:
        """Where it keeps what it learnt of this list over this trunk; less than 0: nowhere."""
        if list_id is None or not trunk:
            return NOBODY
        self.slot(campaign_id, node)
        key = campaign_id, node, list_id, trunk
        if key not in self._cells and len(self._cells) >= _MOST_CELLS:
            return NOBODY
        return self._cells.setdefault(key, self._places)

    def cell_of(self, call: Call) -> int:
        """The cell of a call; calls found at reconciliation have none."""
        if call.cell is None:
            list_id = call.lead.list_id if call.lead is not None else None
            call.cell = self.cell(call.campaign_id, call.node, list_id=list_id, trunk=call.trunk)
        return call.cell

    def agent(self, agent_id: UUID | None) -> int:
        """An agent's number; less than 0 for nobody."""
        return NOBODY if agent_id is None else self._agents.setdefault(agent_id, len(self._agents))

    @property
    def _places(self) -> int:
        return len(self._slots) + len(self._cells)

    def want(self, wanted: bool) -> None:
        """Begin or stop to listen."""
        if not wanted and self._events:
            self._events.clear()
        self.wanted = wanted

    def take(self) -> Seen:
        """What came since the last time."""
        events = list(self._events)
        self._events.clear()
        return seen(events)

    # -- calls

    def placed(self, call: Call) -> None:
        self._of_call(Kind.PLACED, call, 0.0)

    def progressed(self, call: Call, became: Progress, at: float) -> None:
        """A stronger signal than `call.progress` came."""
        self._of_call(Kind.PROGRESS, call, at - call.sent, became=int(SIGNALS[became]))

    def answered(self, call: Call, at: float) -> None:
        self._of_call(Kind.ANSWERED, call, at - call.sent)
        if not call.analyse:
            self._of_call(Kind.PERSON, call, 0.0)

    def judged(self, call: Call, at: float, *, person: bool) -> None:
        """The analysis has spoken."""
        self._of_call(Kind.PERSON if person else Kind.MACHINE, call, at - call.answered)

    def connected(self, call: Call, at: float) -> None:
        self._of_call(Kind.CONNECTED, call, at - (call.known or call.answered))

    def abandoned(self, call: Call, at: float) -> None:
        self._of_call(Kind.ABANDONED, call, at - (call.known or call.answered))

    def ended(
        self,
        call: Call,
        end: CallEnd,
        at: float,
        *,
        outcome: Outcome,
        abandoned: bool,
        timeout: float,
    ) -> None:
        """`abandoned`: it counts so; `timeout`: s the call was allowed to ring."""
        if call.connected:
            agent = self.agent(call.agent_id)
            self._note(Kind.TALK_ENDED, call, at - call.connected, agent=agent)
        elif call.answered:
            if abandoned and not call.message_played:
                self.abandoned(call, at)
            elif outcome is Outcome.HUNG_UP_WAITING:
                self._of_call(Kind.GAVE_UP, call, at - (call.known or call.answered))
        elif call.sent:
            age = at - call.sent
            kind = Kind.FAILED
            if call.hanging_up or end in _STOPPED:
                kind = Kind.CANCELLED
            elif end is CallEnd.NO_ANSWER and age >= timeout - 1.0:
                kind = Kind.RANG_OUT
            self._of_call(kind, call, age)

    def wrapped_up(
        self, campaign_id: UUID, node: str, seconds: float, agent_id: UUID | None = None
    ) -> None:
        if self.wanted:
            slot, agent = self.slot(campaign_id, node), self.agent(agent_id)
            self._events.append((int(Kind.WRAP_ENDED), slot, seconds, 0, 0, NOBODY, agent))

    def _of_call(self, kind: Kind, call: Call, seconds: float, *, became: int = 0) -> None:
        # One that we did not place ourselves has an age that nobody knows.
        if call.mode not in _ASSISTED and not call.adopted:
            self._note(kind, call, seconds, became=became)

    def _note(
        self, kind: Kind, call: Call, seconds: float, *, became: int = 0, agent: int = NOBODY
    ) -> None:
        if self.wanted:
            slot, cell = self.slot(call.campaign_id, call.node), self.cell_of(call)
            signal = int(SIGNALS[call.progress])
            self._events.append((int(kind), slot, max(seconds, 0.0), signal, became, cell, agent))


def seen(events: list[Event]) -> Seen:
    """As the pacing engine takes them."""
    if not events:
        return Seen()
    kind, slot, seconds, signal, became, cell, agent = zip(*events, strict=True)
    return Seen(
        kind=np.array(kind, dtype=np.int64),
        slot=np.array(slot, dtype=np.int64),
        seconds=np.array(seconds, dtype=np.float64),
        signal=np.array(signal, dtype=np.int64),
        became=np.array(became, dtype=np.int64),
        cell=np.array(cell, dtype=np.int64),
        agent=np.array(agent, dtype=np.int64),
    )
