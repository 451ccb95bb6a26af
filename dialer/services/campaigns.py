"""Campaigns: made, changed by new versions, moved through their states, given leads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.compliance.hours import every_day
from dialer.compliance.profile import UnknownProfile, load_profile
from dialer.domain.campaign import (
    CAMPAIGN,
    CampaignEvent,
    CampaignSettings,
    CampaignState,
    DialMode,
    DispositionCode,
)
from dialer.domain.errors import Conflict, Invalid, NotFound, Unavailable
from dialer.domain.ids import NewId
from dialer.domain.machine import IllegalTransition
from dialer.live.gateway import CommandGateway
from dialer.services.audit import Audit
from dialer.store import admin, outbox
from dialer.store.database import Database
from dialer.store.leads import Inserted, NewLead, insert_leads
from dialer.store.settings_codec import load_settings
from telephony.clock import Clock

_AT_WORK = (CampaignState.RUNNING.value, CampaignState.PAUSING.value)


class Campaigns:
    """All that is done to campaigns by people."""

    def __init__(
        self, database: Database, *, gateway: CommandGateway, clock: Clock, new_id: NewId
    ) -> None:
        self._db, self._gateway, self._clock, self._new_id = database, gateway, clock, new_id
        self._audit = Audit(clock, new_id)

    async def create(
        self,
        client_id: UUID,
        *,
        who: str,
        name: str,
        settings: CampaignSettings,
        dispositions: Sequence[DispositionCode],
        pool_id: UUID | None,
    ) -> dict[str, Any]:
        _check(settings, dispositions)
        campaign_id = self._new_id()
        async with self._db.begin() as connection:
            pools = [row["id"] for row in await admin.pools(connection, client_id)]
            if pool_id is not None and pool_id not in pools:
                raise NotFound("no such pool")
            await admin.add_campaign(
                connection,
                campaign_id=campaign_id,
                client_id=client_id,
                pool_id=pool_id or pools[0],
                name=name,
                settings=settings,
                dispositions=dispositions,
                at=self._clock.now(),
            )
            await self._note(connection, client_id, who, "campaign.created", campaign_id)
            row = await admin.campaign(connection, client_id, campaign_id)
        await self.refresh(row["pool_id"])
        return row

    async def change(
        self,
        client_id: UUID,
        campaign_id: UUID,
        *,
        who: str,
        settings: CampaignSettings,
        dispositions: Sequence[DispositionCode] | None,
    ) -> dict[str, Any]:
        _check(settings, dispositions or ())
        async with self._db.begin() as connection:
            row = await admin.campaign(connection, client_id, campaign_id)
            if row["state"] in _AT_WORK:
                _startable(settings)
            await admin.new_version(
                connection,
                client_id,
                campaign_id,
                settings=settings,
                dispositions=(
                    dispositions
                    if dispositions is not None
                    else [DispositionCode(**d) for d in row["dispositions"]]
                ),
                at=self._clock.now(),
            )
            version = int(row["version"]) + 1
            await self._note(
                connection, client_id, who, "campaign.changed", campaign_id, version=version
            )
            row = await admin.campaign(connection, client_id, campaign_id)
        await self.refresh(row["pool_id"])
        return row

    async def move(
        self, client_id: UUID, campaign_id: UUID, event: CampaignEvent, *, who: str
    ) -> dict[str, Any]:
        """Start, pause or stop; raises Conflict when the state does not allow it. A finished
        campaign starts again when it has leads to call; loading them alone starts nothing."""
        async with self._db.begin() as connection:
            row = await admin.campaign(connection, client_id, campaign_id)
            state = CampaignState(row["state"])
            try:
                after = CAMPAIGN.next(state, event)
            except IllegalTransition as error:
                raise Conflict(str(error), state=state.value) from None
            if event is CampaignEvent.START:
                _startable(load_settings(row["settings"]))
            by_hand = load_settings(row["settings"]).mode is DialMode.MANUAL  # agents bring numbers
            if (
                state is CampaignState.FINISHED
                and not by_hand
                and not await admin.has_open_leads(connection, campaign_id)
            ):
                raise Conflict("every lead is done: load more, then start it", state=state.value)
            await admin.move_campaign(
                connection, campaign_id, before=state.value, after=after.value
            )
            await self._note(
                connection, client_id, who, f"campaign.{event.value}", campaign_id,
                before=state.value, after=after.value,
            )  # fmt: skip
            row = await admin.campaign(connection, client_id, campaign_id)
            await outbox.campaign_moved(connection, row, before=state.value, now=self._clock.now())
        await self.refresh(row["pool_id"])
        return row

    async def upload(
        self, client_id: UUID, campaign_id: UUID, *, who: str, name: str, rows: Sequence[NewLead]
    ) -> tuple[Inserted, CampaignState]:
        """What was put in, and the campaign's state: a finished one calls nobody until started."""
        async with self._db.begin() as connection:
            row = await admin.campaign(connection, client_id, campaign_id)
            done = await insert_leads(
                connection,
                rows,
                client_id=client_id,
                campaign_id=campaign_id,
                list_name=name,
                now=self._clock.now(),
                new_id=self._new_id,
            )
            await self._note(
                connection, client_id, who, "leads.loaded", campaign_id,
                list_id=str(done.list_id), leads=len(done.lead_ids),
            )  # fmt: skip
            # Last, so that a long upload holds nobody up: either this sees the end of the
            # campaign, or who would end it sees these leads.
            state = await admin.hold_campaign(connection, campaign_id)
        await self.refresh(row["pool_id"])
        return done, CampaignState(state)

    async def _note(
        self,
        connection: AsyncConnection,
        client_id: UUID,
        who: str,
        action: str,
        campaign_id: UUID,
        **details: Any,
    ) -> None:
        await self._audit.note(
            connection, client_id, who, action, campaign_id=campaign_id, **details
        )

    async def refresh(self, pool_id: UUID) -> None:
        """Tell the pool's engine; without one the change is picked up at its start."""
        try:
            await self._gateway.call(pool_id, "pool.refresh", {})
        except Unavailable:
            pass


def _startable(settings: CampaignSettings) -> None:
    """What a draft may lack and a running campaign may not; raises Conflict."""
    if load_profile(settings.rules_profile).caller_id_required and not settings.caller_id:
        raise Conflict("caller_id: the rules profile asks for one before anybody is called")


def _check(settings: CampaignSettings, dispositions: Sequence[DispositionCode]) -> None:
    try:
        profile = load_profile(settings.rules_profile)
    except UnknownProfile as error:
        raise Invalid(str(error)) from None
    if settings.connect_window > profile.connect_within:
        raise Invalid(
            f"connect_window: the rules profile allows at most {profile.connect_within} s"
        )
    if settings.ring_timeout < profile.minimum_ring:
        raise Invalid(f"ring_timeout: the rules profile asks for {profile.minimum_ring} s")
    if settings.target_abandon > profile.abandon_cap:
        raise Invalid(f"target_abandon: the rules profile's cap is {profile.abandon_cap}")
    if settings.analyse and not profile.analysis_allowed:
        raise Invalid("analyse: takes longer than the rules profile's window from the answer")
    try:
        every_day(settings.calling_hours)
    except ValueError as error:
        raise Invalid(f"calling_{error}") from None
    codes = [d.code for d in dispositions]
    if len(codes) != len(set(codes)):
        raise Invalid("dispositions: a code is there twice")
