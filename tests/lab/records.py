"""A run of a dialer as plain records, for the invariants' checker: what the store has, what the
network saw, what agents were shown. Times are aware datetimes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

#: Outcomes after which nobody's telephone can have rung.
UNDIALED = frozenset({"expired"})
#: Outcomes that leave open whether the call was made.
OPEN = frozenset({"unknown", "failed"})
CONNECTED = frozenset({"ended_by_agent", "ended_by_customer"})
ANSWERED = CONNECTED | {"abandoned", "hung_up_waiting", "machine", "fax", "call_screening"}
FREE = frozenset({"congestion", "expired"})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt as the store has it."""

    id: str
    client: str
    campaign: str
    lead: str
    person: str
    number: str
    intended_at: datetime
    outcome: str | None
    allowed: bool = True  # an Allow verdict is stored with it
    by_hand: bool = False  # preview or manual: an agent chose the moment
    sent_at: datetime | None = None
    answered_at: datetime | None = None
    connected_at: datetime | None = None
    ended_at: datetime | None = None
    message: bool = False

    @property
    def abandoned(self) -> bool:
        """As the ledger counts it."""
        lost = self.outcome == "unknown" and self.answered_at and not self.connected_at
        return self.outcome == "abandoned" or self.message or bool(lost)


@dataclass(frozen=True, slots=True)
class Bridge:
    """A person and an agent's leg in one bridge; `until` None: still."""

    agent: str
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Call:
    """One call as the network saw it. `id` is the attempt's, '' where the log has only numbers."""

    id: str
    number: str
    at: datetime  # INVITE
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    message_at: datetime | None = None
    bridges: tuple[Bridge, ...] = ()
    analysed: bool = False  # answering-machine detection comes first
    machine: bool = False
    ended_by_us: bool = False
    ended_unseen: bool = False  # Asterisk died with it: its end was not told to anybody
    stood_still: tuple[tuple[datetime, datetime], ...] = ()  # its Asterisk did, from when to when


@dataclass(frozen=True, slots=True)
class Lead:
    id: str
    client: str
    number: str
    state: str


@dataclass(frozen=True, slots=True)
class Stretch:
    """An agent's time in one state."""

    agent: str
    session: str
    state: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Session:
    """One sign-in. `cut`: the dialer died, the last stretch was never written."""

    agent: str
    session: str
    since: datetime
    until: datetime
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Pop:
    """A record shown to an agent."""

    agent: str
    at: datetime
    call: str
    person: str


@dataclass(frozen=True, slots=True)
class Blocked:
    client: str
    number: str
    at: datetime


@dataclass(slots=True)
class Evidence:
    """All that is known of a run; what is not known is left empty, and its rule then passes."""

    attempts: Sequence[Attempt] = ()
    calls: Sequence[Call] = ()
    leads: Sequence[Lead] = ()
    loaded: Collection[str] = ()  # lead ids that were put in
    blocked: Sequence[Blocked] = ()
    stretches: Sequence[Stretch] = ()
    sessions: Sequence[Session] = ()
    pops: Sequence[Pop] = ()
    #: (client, topic) -> sequence numbers received, as (epoch, n)
    received: Mapping[Hashable, Sequence[tuple[int, int]]] = field(default_factory=dict)
    #: campaign -> (live answers, abandoned) as the engine counts them
    ledgers: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    max_attempts: int | None = None
    #: outcome -> least seconds until the same lead is dialed again by the machine
    delays: Mapping[str, float] = field(default_factory=dict)
    #: may this number be called at this moment? Asked of every INVITE.
    lawful: Callable[[str, datetime], bool] | None = None
    window: float = 2.0  # s, connect window
    analysis: float = 3.0  # s that answering-machine detection may take
    slack: float = 0.06  # s by which clocks and events may differ
    settled: bool = True
