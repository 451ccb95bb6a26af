"""The hopper: leads claimed ahead of need, so that a tick never waits for the database to choose.

A claimed lead's person and number are reserved for this pool; a lead that sat here too long, or
whose campaign stopped, goes back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from datetime import timedelta
from uuid import UUID

from dialer.domain.lead import LeadState
from dialer.domain.work import ClaimedLead, LeadMove, PoolStore
from dialer.engine.lease import LeaseKeeper
from dialer.engine.settings import EngineSettings
from telephony.clock import Clock


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
        self._rate: dict[UUID, float] = {}  # leads taken per second, smoothed
        self._ask_again: dict[UUID, float] = {}  # campaigns that came up short, monotonic

    def size(self, campaign_id: UUID) -> int:
        return len(self._leads.get(campaign_id, ()))

    def take(self, campaign_id: UUID, count: int) -> list[ClaimedLead]:
        """Up to `count` leads, in the order claimed."""
        queue = self._leads.get(campaign_id)
        if not queue:
            return []
        return [queue.popleft()[1] for _ in range(min(count, len(queue)))]

    def note_rate(self, campaign_id: UUID, taken: int, seconds: float) -> None:
        """Tell how many leads a tick of `seconds` used: the hopper grows with the rate."""
        if seconds <= 0:
            return
        share = min(1.0, seconds)
        old = self._rate.get(campaign_id, 0.0)
        # Rises at once, falls over some seconds.
        now = taken / seconds
        self._rate[campaign_id] = max(now * share, old + (now - old) * 0.2 * share)

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
        leads = await self._store.claim(
            self._lease.current, campaign_id=campaign_id, limit=limit, now=self._clock.now()
        )
        now = self._clock.monotonic()
        queue = self._leads.setdefault(campaign_id, deque())
        queue.extend((now, lead) for lead in leads)
        if len(leads) < limit:
            self._ask_again[campaign_id] = now + self._settings.empty_poll
        return len(leads)

    def poke(self, campaign_id: UUID) -> None:
        """New leads were loaded: ask the database at once."""
        self._ask_again.pop(campaign_id, None)

    def send_back(self, campaign_id: UUID, *, reason: str) -> None:
        """Return all leads of a campaign that does not dial."""
        for _, lead in self._leads.pop(campaign_id, deque()):
            self._return(lead, reason)

    def send_back_stale(self) -> None:
        """Return leads claimed so long ago that their history may have changed."""
        oldest = self._clock.monotonic() - self._settings.hopper_age
        for queue in self._leads.values():
            while queue and queue[0][0] < oldest:
                self._return(queue.popleft()[1], "stale")

    def drop_numbers(self, client_id: UUID, numbers: Iterable[str]) -> int:
        """Do-not-call holds for leads already here: blocks them, returns how many."""
        gone, blocked = frozenset(numbers), 0
        for campaign_id, queue in self._leads.items():
            keep: deque[tuple[float, ClaimedLead]] = deque()
            for item in queue:
                lead = item[1]
                if lead.client_id == client_id and lead.number in gone:
                    self._put(LeadMove(lead.lead_id, LeadState.BLOCKED, reason="do_not_call"))
                    blocked += 1
                else:
                    keep.append(item)
            self._leads[campaign_id] = keep
        return blocked

    def _return(self, lead: ClaimedLead, reason: str) -> None:
        now = self._clock.now()
        self._put(
            LeadMove(lead.lead_id, LeadState.RETRY, next_at=now + timedelta(0), reason=reason)
        )
