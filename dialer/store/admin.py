"""What people configure and look at: clients, accounts, campaigns, agents, calls.

Each function takes a connection inside the caller's transaction and the client it is bound to; a
row of another client is not found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.domain.campaign import CampaignSettings, CampaignState, DispositionCode
from dialer.domain.errors import Conflict, NotFound
from dialer.domain.work import OPEN_LEADS
from dialer.store import ledger
from dialer.store import schema as t
from dialer.store.settings_codec import dump_dispositions, dump_settings

Rows = Sequence[sa.RowMapping]


async def _one(connection: AsyncConnection, query: sa.Select[Any], what: str) -> dict[str, Any]:
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"no such {what}")
    return dict(row)


async def _add(
    connection: AsyncConnection, table: sa.Table, values: Mapping[str, Any], what: str
) -> None:
    try:
        await connection.execute(sa.insert(table).values(dict(values)))
    except IntegrityError:
        raise Conflict(f"there is a {what} of this name already") from None


# -- clients, pools and accounts


async def add_client(
    connection: AsyncConnection, *, client_id: UUID, name: str, pool_id: UUID, at: datetime
) -> None:
    """A client with its first pool."""
    await _add(connection, t.client, {"id": client_id, "name": name, "created_at": at}, "client")
    await connection.execute(
        sa.insert(t.pool).values(id=pool_id, client_id=client_id, name="default")
    )
    await connection.execute(
        sa.insert(t.pool_lease).values(pool_id=pool_id, epoch=0, owner="", expires=0.0)
    )


async def clients(connection: AsyncConnection) -> Rows:
    return (await connection.execute(sa.select(t.client))).mappings().all()


async def pools(connection: AsyncConnection, client_id: UUID | None = None) -> Rows:
    query = sa.select(t.pool).order_by(t.pool.c.id)
    if client_id is not None:
        query = query.where(t.pool.c.client_id == client_id)
    return (await connection.execute(query)).mappings().all()


async def add_account(connection: AsyncConnection, values: Mapping[str, Any]) -> None:
    await _add(connection, t.account, values, "login")


async def account_by_login(connection: AsyncConnection, login: str) -> dict[str, Any] | None:
    row = await connection.execute(sa.select(t.account).where(t.account.c.login == login))
    found = row.mappings().one_or_none()
    return dict(found) if found is not None else None


async def account(connection: AsyncConnection, account_id: UUID) -> dict[str, Any] | None:
    row = await connection.execute(sa.select(t.account).where(t.account.c.id == account_id))
    found = row.mappings().one_or_none()
    return dict(found) if found is not None else None


async def update_account(
    connection: AsyncConnection, account_id: UUID, values: Mapping[str, Any]
) -> None:
    await connection.execute(
        sa.update(t.account).where(t.account.c.id == account_id).values(dict(values))
    )


async def accounts(connection: AsyncConnection, client_id: UUID) -> Rows:
    query = sa.select(t.account).where(t.account.c.client_id == client_id)
    return (await connection.execute(query.order_by(t.account.c.login))).mappings().all()


# -- campaigns


_CAMPAIGN = (
    sa.select(t.campaign, t.campaign_version.c.settings, t.campaign_version.c.dispositions)
    .join(
        t.campaign_version,
        sa.and_(
            t.campaign_version.c.campaign_id == t.campaign.c.id,
            t.campaign_version.c.version == t.campaign.c.version,
        ),
    )
)  # fmt: skip


def campaign_query() -> sa.Select[Any]:
    """Campaigns with their present settings and dispositions."""
    return _CAMPAIGN


async def add_campaign(
    connection: AsyncConnection,
    *,
    campaign_id: UUID,
    client_id: UUID,
    pool_id: UUID,
    name: str,
    settings: CampaignSettings,
    dispositions: Sequence[DispositionCode],
    at: datetime,
) -> None:
    await _add(
        connection,
        t.campaign,
        {
            "id": campaign_id,
            "client_id": client_id,
            "pool_id": pool_id,
            "name": name,
            "state": CampaignState.DRAFT.value,
            "reason": "",
            "version": 1,
            "created_at": at,
        },
        "campaign",
    )
    await _add_version(connection, campaign_id, client_id, 1, settings, dispositions, at)


async def _add_version(
    connection: AsyncConnection,
    campaign_id: UUID,
    client_id: UUID,
    version: int,
    settings: CampaignSettings,
    dispositions: Sequence[DispositionCode],
    at: datetime,
) -> None:
    await connection.execute(
        sa.insert(t.campaign_version).values(
            campaign_id=campaign_id,
            version=version,
            client_id=client_id,
            settings=dump_settings(settings),
            dispositions=dump_dispositions(dispositions),
            created_at=at,
        )
    )


async def campaign(
    connection: AsyncConnection, client_id: UUID, campaign_id: UUID
) -> dict[str, Any]:
    query = _CAMPAIGN.where(t.campaign.c.id == campaign_id, t.campaign.c.client_id == client_id)
    return await _one(connection, query, "campaign")


async def new_version(
    connection: AsyncConnection,
    client_id: UUID,
    campaign_id: UUID,
    *,
    settings: CampaignSettings,
    dispositions: Sequence[DispositionCode],
    at: datetime,
) -> int:
    """Settings are never changed, only followed by a new version; returns its number."""
    row = await campaign(connection, client_id, campaign_id)
    version = int(row["version"]) + 1
    await _add_version(connection, campaign_id, client_id, version, settings, dispositions, at)
    await connection.execute(
        sa.update(t.campaign).where(t.campaign.c.id == campaign_id).values(version=version)
    )
    return version


async def move_campaign(
    connection: AsyncConnection, campaign_id: UUID, *, before: str, after: str
) -> None:
    """Change the state if it is still what it was; raises Conflict."""
    done = await connection.execute(
        sa.update(t.campaign)
        .where(t.campaign.c.id == campaign_id, t.campaign.c.state == before)
        .values(state=after, reason="")
    )
    if done.rowcount != 1:
        raise Conflict("the campaign's state has changed meanwhile")


async def has_open_leads(connection: AsyncConnection, campaign_id: UUID) -> bool:
    """Whether anybody of the campaign's lists may still be called, now or later."""
    lead = t.lead.c
    wanted = sa.exists().where(
        lead.campaign_id == campaign_id, lead.state.in_([s.value for s in OPEN_LEADS])
    )
    return bool((await connection.execute(sa.select(wanted))).scalar())


async def campaign_figures(
    connection: AsyncConnection, client_id: UUID, campaign_id: UUID
) -> dict[str, Any]:
    """Attempts by outcome and leads by state, from the tables."""
    a, lead = t.attempt.c, t.lead.c
    outcomes = await connection.execute(
        sa.select(a.outcome, sa.func.count())
        .where(a.campaign_id == campaign_id, a.client_id == client_id)
        .group_by(a.outcome)
    )
    states = await connection.execute(
        sa.select(lead.state, sa.func.count())
        .where(lead.campaign_id == campaign_id, lead.client_id == client_id)
        .group_by(lead.state)
    )
    return {
        "outcomes": {(outcome or "open"): count for outcome, count in outcomes},
        "leads": dict(states.all()),
        "abandoned": await ledger.abandoned(connection, client_id, [campaign_id]),
    }


# -- agents


async def add_agent(connection: AsyncConnection, values: Mapping[str, Any]) -> None:
    await _add(connection, t.agent, values, "phone endpoint")


async def agents(connection: AsyncConnection, client_id: UUID | None = None) -> Rows:
    query = sa.select(t.agent).order_by(t.agent.c.name)
    if client_id is not None:
        query = query.where(t.agent.c.client_id == client_id)
    return (await connection.execute(query)).mappings().all()


async def agent(connection: AsyncConnection, client_id: UUID, agent_id: UUID) -> dict[str, Any]:
    return await _one(
        connection,
        sa.select(t.agent).where(t.agent.c.id == agent_id, t.agent.c.client_id == client_id),
        "agent",
    )


async def agent_of_account(connection: AsyncConnection, account_id: UUID) -> dict[str, Any] | None:
    row = await connection.execute(sa.select(t.agent).where(t.agent.c.account_id == account_id))
    found = row.mappings().one_or_none()
    return dict(found) if found is not None else None


async def assign(
    connection: AsyncConnection, client_id: UUID, agent_id: UUID, campaign_ids: Sequence[UUID]
) -> None:
    """The campaigns an agent may work: exactly these, all of the same client."""
    await agent(connection, client_id, agent_id)
    for campaign_id in campaign_ids:
        await campaign(connection, client_id, campaign_id)
    await connection.execute(
        sa.delete(t.agent_campaign).where(t.agent_campaign.c.agent_id == agent_id)
    )
    if campaign_ids:
        await connection.execute(
            sa.insert(t.agent_campaign),
            [
                {"agent_id": agent_id, "campaign_id": c, "client_id": client_id}
                for c in dict.fromkeys(campaign_ids)
            ],
        )


# -- recordings, audit


async def recording(
    connection: AsyncConnection, client_id: UUID, attempt_id: UUID
) -> dict[str, Any]:
    query = sa.select(t.recording).where(
        t.recording.c.attempt_id == attempt_id, t.recording.c.client_id == client_id
    )
    return await _one(connection, query, "recording")


async def waiting_recordings(connection: AsyncConnection, limit: int) -> Rows:
    """Recordings still on a node's disk, oldest first."""
    query = sa.select(t.recording).where(t.recording.c.state == "on_node")
    query = query.order_by(t.recording.c.at).limit(limit)
    return (await connection.execute(query)).mappings().all()


async def update_recording(
    connection: AsyncConnection, attempt_id: UUID, values: Mapping[str, Any]
) -> None:
    await connection.execute(
        sa.update(t.recording).where(t.recording.c.attempt_id == attempt_id).values(dict(values))
    )


async def blocked_since(
    connection: AsyncConnection, client_id: UUID, number: str
) -> datetime | None:
    """When a number was put on the do-not-call list; None when it is not there."""
    entry = t.do_not_call.c
    query = sa.select(entry.at).where(entry.client_id == client_id, entry.number == number)
    return (await connection.execute(query)).scalar_one_or_none()


async def note(connection: AsyncConnection, values: Mapping[str, Any]) -> None:
    """One line of the audit log."""
    await connection.execute(sa.insert(t.audit_log).values(dict(values)))


async def hold_campaign(connection: AsyncConnection, campaign_id: UUID) -> str | None:
    """The campaign's state, which stays what it is until this transaction ends. Leads and attempts
    that refer to the campaign may still be written meanwhile."""
    query = sa.select(t.campaign.c.state).where(t.campaign.c.id == campaign_id)
    state: str | None = await connection.scalar(query.with_for_update(key_share=True))
    return state
