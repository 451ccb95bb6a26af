"""The pacing engine of a pool, kept from tick to tick, and what is done with its decisions.

It is asked for all rows at once, hears what happened since it was asked last, has ringing calls
given up where it says so and the rules let it, and has its reasons shown and kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from dialer.domain.campaign import CampaignState, DialMode
from dialer.domain.work import PoolStore
from dialer.engine.agents import AgentDesk
from dialer.engine.budgets import Centre, give_up_after, profile_of
from dialer.engine.calls import CallDesk
from dialer.engine.explaining import Explaining
from dialer.engine.giving_up import GivingUp
from dialer.engine.lines import Lines
from dialer.engine.observing import Observer, seen
from dialer.engine.outlook import outlook
from dialer.engine.pacing_view import Row, View, pacing_view
from dialer.engine.past import answer_steps, events_of
from dialer.engine.settings import EngineSettings
from dialer.engine.state import Campaign
from pacing.decision import Decision
from pacing.engine import Engine
from pacing.seen import Seen
from pacing.state import Floats
from telephony.clock import Clock

log = structlog.get_logger(__name__)

_PAUSE = 5.0  # s without a decision, after which what happened meanwhile says nothing about a rate


class Pacer:
    """Asks the pacing engine, and carries out what it says of calls that ring."""

    def __init__(
        self,
        *,
        store: PoolStore,
        campaigns: Mapping[UUID, Campaign],
        desk: AgentDesk,
        calls: CallDesk,
        lines: Lines,
        observer: Observer,
        giving_up: GivingUp,
        explaining: Explaining,
        clock: Clock,
        settings: EngineSettings,
    ) -> None:
        self._store, self._campaigns, self._desk, self._calls = store, campaigns, desk, calls
        self._lines, self._observer, self._giving_up = lines, observer, giving_up
        self._explaining, self._clock, self._settings = explaining, clock, settings
        self.engine = Engine(site=True)
        self._decided = clock.monotonic()
        self._known: set[UUID] = set()  # campaigns whose records were learnt from
        #: By what ratio each hour (UTC) changes the answer rate, and the day it was read.
        self._steps: dict[UUID, tuple[date, Floats]] = {}
        self._hour = clock.now().replace(minute=0, second=0, microsecond=0)
        self._listening: datetime | None = None  # since when events are heard
        self._centre = Centre()
        self._centre_due = 0.0

    async def prepare(self) -> None:
        """Before a decision: learn from the records of campaigns that have become predictive, and
        read what other pools of a centre did. Raises what the store raises."""
        predictive = [
            c
            for c in self._campaigns.values()
            if c.view.state is CampaignState.RUNNING and c.view.settings.mode is DialMode.PREDICTIVE
        ]
        now = self._clock.now()
        for campaign in predictive:
            if campaign.id not in self._known:
                await self._learn(campaign, until=self._listening or now)
        self._known &= set(self._campaigns)
        await self._learn_hours(predictive, now)
        if not predictive:
            self._listening = None
        elif self._listening is None:
            self._listening = now
        self._observer.want(bool(predictive))
        await self._look_at_centres(predictive, now)

    async def _learn(self, campaign: Campaign, *, until: datetime) -> None:
        attempts = await self._store.recent_attempts(
            campaign.id,
            since=until - timedelta(seconds=self._settings.learn_from),
            until=until,
            limit=self._settings.learn_most,
        )
        self._known.add(campaign.id)
        events = events_of(
            attempts,
            campaign.view.settings,
            slot=lambda node: self._observer.slot(campaign.id, node),
            cell=lambda attempt: self._observer.cell(
                campaign.id, attempt.node, list_id=attempt.list_id, trunk=attempt.trunk
            ),
            agent=self._observer.agent,
        )
        self.engine.learn(seen(events))
        log.info(
            "learnt from the records",
            action="learnt",
            campaign=str(campaign.id),
            attempts=len(attempts),
        )

    async def _learn_hours(self, campaigns: Sequence[Campaign], now: datetime) -> None:
        """What the hours did on the last days; read once a day, one campaign at a time."""
        mine = {c.id for c in campaigns}
        for campaign_id in self._steps.keys() - mine:
            del self._steps[campaign_id]
        today = now.date()
        for campaign_id in mine:
            read = self._steps.get(campaign_id)
            if read is None or read[0] != today:
                since = now - timedelta(seconds=self._settings.learn_hours)
                counts = await self._store.hour_counts({campaign_id: since})
                self._steps[campaign_id] = today, answer_steps(counts[campaign_id])
                return

    def _turns(self, now: datetime) -> Mapping[UUID, float]:
        """Where an hour has begun since the last decision: what that is expected to change."""
        hour = now.replace(minute=0, second=0, microsecond=0)
        before, self._hour = self._hour, hour
        if hour - before != timedelta(hours=1):
            return {}
        return {
            campaign_id: float(steps[hour.astimezone(UTC).hour])
            for campaign_id, (_, steps) in self._steps.items()
        }

    async def _look_at_centres(self, campaigns: Sequence[Campaign], now: datetime) -> None:
        """Clients whose rules count all their campaigns together."""
        hours: dict[UUID, float] = {}
        for campaign in campaigns:
            profile = profile_of(campaign.view.settings)
            if profile is not None and profile.abandon_centre:
                client = campaign.view.client_id
                hours[client] = max(profile.abandon_hours, hours.get(client, 0.0))
        self._centre.hours = hours
        if not hours or (
            self._clock.monotonic() < self._centre_due
            and hours.keys() == self._centre.others.keys()
        ):
            return
        self._centre.others = {
            client: await self._store.centre_counts(
                client, since=now - timedelta(hours=span), without=list(self._campaigns)
            )
            for client, span in hours.items()
        }
        self._centre_due = self._clock.monotonic() + self._settings.centre

    def decide(self, rows: Sequence[Row], homes: Mapping[UUID, int]) -> Decision:
        """Decide for these rows, and give up what is to be given up."""
        now = self._clock.monotonic()
        passed, self._decided = now - self._decided, now
        happened = self._observer.take()
        if passed > _PAUSE:
            self.engine.learn(happened)
            happened, passed = Seen(), self._settings.wake_gap
        view = pacing_view(
            rows,
            homes=homes,
            desk=self._desk,
            calls=self._calls,
            lines=self._lines,
            observer=self._observer,
            campaigns=self._campaigns,
            centre=self._centre,
            tick=max(passed, self._settings.wake_gap),
            now=now,
            at=self._clock.now(),
            turns=self._turns(self._clock.now()),
        )
        decision = self.engine.decide(view.given, happened)
        cancelled = self._give_up(rows, view, decision)
        self._explaining.tell(rows, decision, cancelled, now)
        return decision

    def outlook(self, campaign: Campaign) -> Mapping[str, Any]:
        """How it stands with a campaign at this moment, for a forecast."""
        return outlook(
            campaign,
            desk=self._desk,
            calls=self._calls,
            lines=self._lines,
            campaigns=self._campaigns,
            centre=self._centre,
            now=self._clock.monotonic(),
            at=self._clock.now(),
        )

    def _give_up(self, rows: Sequence[Row], view: View, decision: Decision) -> Mapping[int, int]:
        """How many calls were given up, by row."""
        done: dict[int, int] = {}
        for at in decision.cancel.nonzero()[0].tolist():
            row = int(view.given.ringing.row[at])
            after = give_up_after(rows[row].campaign.view.settings)
            if self._giving_up.give_up(view.ringing[at], after=after):
                done[row] = done.get(row, 0) + 1
        return done
