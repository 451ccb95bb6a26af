"""The hopper: leads claimed ahead of need, so that a tick never waits for the database to choose.

A claimed lead's person and number are reserved for this pool; a lead that sat here too long, or
whose campaign stopped, goes back. Callbacks that an agent promised lie apart, one for each agent.
Every claimed lead is on the books here until it is dialed or moved on, so that one whose claim was
carried out while the answer got lost can be told from the others and is returned.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from itertools import islice
from uuid import UUID

from dialer.domain.lead import LeadState
from dialer.domain.work import ClaimedLead, LeadMove, PoolStore
from dialer.engine.lease import LeaseKeeper
from dialer.engine.settings import EngineSettings
from telephony.clock import Clock


def returned(lead: ClaimedLead, *, next_at: datetime, reason: str) -> LeadMove:
    """An undialed lead back to the lists: a callback stays one, with whoever promised it, and a
    finished lead that an agent wanted to call stays finished."""
    state = lead.was if lead.was in (LeadState.CALLBACK, LeadState.DONE) else LeadState.RETRY
    return LeadMove(
        lead.lead_id,
        state,
        next_at=None if state is LeadState.DONE else next_at,
        reason=reason,
        callback_agent=lead.callback_agent,
        only_from=LeadState.HOPPER,
    )


class Hopper:
    """Claimed leads per campaign, filled to what the campaign dials in a few seconds."""

    def __init__(
        self,
        store: PoolStore,
        lease: LeaseKeeper,
        *,
        settings: EngineSettings,
        clock: Clock,
        put: Callable[[LeadMove], None],
    ) -> None:
        self._store, self._lease, self._settings, self._clock = store, lease, settings, clock
        self._put = put
        self._leads: dict[UUID, deque[tuple[float, ClaimedLead]]] = {}
        self._mine: dict[UUID, tuple[float, ClaimedLead]] = {}  # agent -> their own callback
        self._rate: dict[UUID, float] = {}  # leads taken per second, smoothed
        self._ask_again: dict[UUID, float] = {}  # campaigns that came up short, monotonic
        self._asked_own: dict[UUID, tuple[float, frozenset[UUID]]] = {}  # when, for which agents
        self._held: set[UUID] = set()
        self._uncertain = False  # a claim failed: some leads may be ours without our knowing

    def size(self, campaign_id: UUID) -> int:
        return len(self._leads.get(campaign_id, ()))

    # -- the books

    def hold(self, lead: ClaimedLead) -> None:
        """A lead was claimed past the hopper (a manual call)."""
        self._held.add(lead.lead_id)

    def settle(self, lead_id: UUID) -> None:
        """A lead was dialed, or moved on."""
        self._held.discard(lead_id)

    def doubt(self) -> None:
        """A claim failed in a way that leaves open whether it happened."""
        self._uncertain = True

    async def clear_doubt(self) -> int:
        """Return what was claimed without our knowing; all earlier writes must be out."""
        if not self._uncertain:
            return 0
        count = await self._store.unclaim_all(self._lease.current, keep=frozenset(self._held))
        self._uncertain = False
        return count

    @property
    def uncertain(self) -> bool:
        return self._uncertain

    # -- out

    def take(self, campaign_id: UUID, count: int) -> list[ClaimedLead]:
        """Up to `count` leads, in the order claimed."""
        queue = self._leads.get(campaign_id)
        if not queue:
            return []
        return [queue.popleft()[1] for _ in range(min(count, len(queue)))]

    def lists(self, campaign_id: UUID, count: int) -> Counter[UUID]:
        """How many of the next `count` leads are of each list."""
        queue = self._leads.get(campaign_id, ())
        return Counter(lead.list_id for _, lead in islice(queue, count))

    def take_lead(self, lead_id: UUID) -> ClaimedLead | None:
        """This one lead, if it is here."""
        for queue in self._leads.values():
            for item in queue:
                if item[1].lead_id == lead_id:
                    queue.remove(item)
                    return item[1]
        for agent_id, (_, lead) in self._mine.items():
            if lead.lead_id == lead_id:
                del self._mine[agent_id]
                return lead
        return None

    def own_callback(self, agent_id: UUID) -> ClaimedLead | None:
        """The callback this agent promised that is due, left in its place."""
        item = self._mine.get(agent_id)
        return item[1] if item is not None else None

    def note_rate(self, campaign_id: UUID, taken: int, seconds: float) -> None:
        """Tell how many leads a tick of `seconds` used: the hopper grows with the rate."""
        if seconds <= 0:
            return
        share = min(1.0, seconds)
        old = self._rate.get(campaign_id, 0.0)
        # Rises at once, falls over some seconds.
        now = taken / seconds
        self._rate[campaign_id] = max(now * share, old + (now - old) * 0.2 * share)

    # -- in

    def wanted(self, campaign_id: UUID) -> int:
        """How many leads to claim now; 0 when full enough or when the list was short just now."""
        if self._clock.monotonic() < self._ask_again.get(campaign_id, 0.0):
            return 0
        goal = max(
            self._settings.hopper_least,
            int(self._rate.get(campaign_id, 0.0) * self._settings.hopper_seconds),
        )
        size = self.size(campaign_id)
        # Refill in one go when half empty: fewer, larger transactions.
        return min(goal - size, self._settings.claim_most) if size <= goal // 2 else 0

    async def fill(self, campaign_id: UUID) -> int:
        """Claim what is wanted; returns how many came."""
        limit = self.wanted(campaign_id)
        if limit <= 0:
            return 0
        leads = await self._claim(campaign_id, limit, None)
        now = self._clock.monotonic()
        queue = self._leads.setdefault(campaign_id, deque())
        queue.extend((now, lead) for lead in leads)
        if len(leads) < limit:
            self._ask_again[campaign_id] = now + self._settings.empty_poll
        return len(leads)

    async def fill_own(self, campaign_id: UUID, agents: Collection[UUID]) -> int:
        """Claim due callbacks that these agents promised, one for each who has none here."""
        lacking = [agent_id for agent_id in agents if agent_id not in self._mine]
        # Promised callbacks are due at some minute: who was asked for just now need not be again.
        asked, whom = self._asked_own.get(campaign_id, (0.0, frozenset()))
        soon = self._clock.monotonic() < asked + self._settings.empty_poll
        if not lacking or (soon and whom.issuperset(lacking)):
            return 0
        self._asked_own[campaign_id] = self._clock.monotonic(), frozenset(lacking)
        leads = await self._claim(campaign_id, len(lacking), lacking)
        now = self._clock.monotonic()
        for lead in leads:
            if lead.callback_agent is None or lead.callback_agent in self._mine:
                self._return(lead, "not now")
            else:
                self._mine[lead.callback_agent] = (now, lead)
        return len(leads)

    async def _claim(
        self, campaign_id: UUID, limit: int, agents: Collection[UUID] | None
    ) -> list[ClaimedLead]:
        lease = self._lease.current
        try:
            leads = await self._store.claim(
                lease, campaign_id=campaign_id, limit=limit, now=self._clock.now(), agents=agents
            )
        except BaseException:
            self._uncertain = True
            raise
        self._held.update(lead.lead_id for lead in leads)
        return leads

    def poke(self, campaign_id: UUID) -> None:
        """New leads were loaded: ask the database at once."""
        self._ask_again.pop(campaign_id, None)
        self._asked_own.pop(campaign_id, None)

    # -- back

    def send_back(self, campaign_id: UUID, *, reason: str) -> None:
        """Return all leads of a campaign that does not dial."""
        for _, lead in self._leads.pop(campaign_id, deque()):
            self._return(lead, reason)
        self._send_back_own(lambda _, lead: lead.campaign_id == campaign_id, reason)

    def send_back_own(self, agent_id: UUID, *, reason: str) -> None:
        """The agent is not there any more: their callback waits for them in the list."""
        self._send_back_own(lambda agent, _: agent == agent_id, reason)

    def send_back_all(self, *, reason: str) -> None:
        for campaign_id in list(self._leads):
            self.send_back(campaign_id, reason=reason)
        self._send_back_own(lambda *_: True, reason)

    def send_back_stale(self) -> None:
        """Return leads claimed so long ago that their history may have changed."""
        oldest = self._clock.monotonic() - self._settings.hopper_age
        for queue in self._leads.values():
            while queue and queue[0][0] < oldest:
                self._return(queue.popleft()[1], "stale")
        for agent_id in [a for a, (at, _) in self._mine.items() if at < oldest]:
            self._return(self._mine.pop(agent_id)[1], "stale")

    def drop_numbers(self, client_id: UUID, numbers: Iterable[str]) -> int:
        """Do-not-call holds for leads already here: blocks them, returns how many."""
        gone, blocked = frozenset(numbers), 0

        def drop(lead: ClaimedLead) -> bool:
            return lead.client_id == client_id and lead.number in gone

        for campaign_id, queue in self._leads.items():
            for _, lead in queue:
                if drop(lead):
                    self._block(lead)
                    blocked += 1
            self._leads[campaign_id] = deque(item for item in queue if not drop(item[1]))
        for agent_id in [a for a, (_, lead) in self._mine.items() if drop(lead)]:
            self._block(self._mine.pop(agent_id)[1])
            blocked += 1
        return blocked

    def _send_back_own(self, which: Callable[[UUID, ClaimedLead], bool], reason: str) -> None:
        for agent_id in [a for a, (_, lead) in self._mine.items() if which(a, lead)]:
            self._return(self._mine.pop(agent_id)[1], reason)

    def _block(self, lead: ClaimedLead) -> None:
        self._put(LeadMove(lead.lead_id, LeadState.BLOCKED, reason="do_not_call"))

    def _return(self, lead: ClaimedLead, reason: str) -> None:
        at = lead.callback_at or self._clock.now()
        self._put(returned(lead, next_at=at, reason=reason))
