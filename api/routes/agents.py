"""Agents, their phones, and the campaigns they work."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request

from api.deps import ForAgents, parts
from api.models import Agent, Assignment, ChangedAgent, NewAgent, Page
from api.paging import Cursor, Limit, following, place
from dialer.store import directory

router = APIRouter(prefix="/api/v1/agents", tags=["agents"])


def _agent(row: Any, *, phone_password: str | None = None) -> Agent:
    seen = {k: row[k] for k in Agent.model_fields if k != "phone_password"}
    return Agent(**seen, phone_password=phone_password)


@router.get("")
async def list_agents(
    who: ForAgents, request: Request, cursor: Cursor = None, limit: Limit = 100
) -> Page[Agent]:
    """By name."""
    async with parts(request).database.begin() as connection:
        rows = await directory.agents(
            connection, who.client_id, after=place(cursor, [str, UUID]), limit=limit
        )
    return Page(items=[_agent(row) for row in rows], next=following(rows, limit, "name", "id"))


@router.post("", status_code=201)
async def add_agent(body: NewAgent, who: ForAgents, request: Request) -> Agent:
    """An agent with a phone account on Asterisk; its password is shown once, here."""
    deps = parts(request)
    made = await deps.agents.add(
        who.client_id,
        who=who.login,
        name=body.name,
        endpoint=body.endpoint,
        node=body.node or "",
        contact=body.contact,
        login=body.login,
        password=body.password,
        campaigns=body.campaigns,
    )
    async with deps.database.begin() as connection:
        row = await directory.agent(connection, who.client_id, made.id)
    return _agent(row, phone_password=made.phone_password or None)


@router.get("/{agent_id}")
async def get_agent(agent_id: UUID, who: ForAgents, request: Request) -> Agent:
    async with parts(request).database.begin() as connection:
        return _agent(await directory.agent(connection, who.client_id, agent_id))


@router.patch("/{agent_id}")
async def change_agent(
    agent_id: UUID, body: ChangedAgent, who: ForAgents, request: Request
) -> Agent:
    """Rename, disable or enable an agent."""
    return _agent(
        await parts(request).agents.change(
            who.client_id, agent_id, who=who.login, name=body.name, disabled=body.disabled
        )
    )


@router.post("/{agent_id}/phone-password")
async def new_phone_password(agent_id: UUID, who: ForAgents, request: Request) -> Agent:
    """A new password for the phone, shown once, here; the old one ends. 409 for a phone without."""
    row = await parts(request).agents.new_phone_password(who.client_id, agent_id, who=who.login)
    return _agent(row, phone_password=row["phone_password"])


@router.put("/{agent_id}/campaigns", status_code=204)
async def assign(agent_id: UUID, body: Assignment, who: ForAgents, request: Request) -> None:
    """The campaigns this agent may work: exactly these."""
    await parts(request).agents.assign(who.client_id, agent_id, body.campaigns, who=who.login)


@router.put("/{agent_id}/campaigns/{campaign_id}", status_code=204)
async def assign_one(agent_id: UUID, campaign_id: UUID, who: ForAgents, request: Request) -> None:
    """This campaign too."""
    await parts(request).agents.link(
        who.client_id, agent_id, campaign_id, works=True, who=who.login
    )


@router.delete("/{agent_id}/campaigns/{campaign_id}", status_code=204)
async def unassign(agent_id: UUID, campaign_id: UUID, who: ForAgents, request: Request) -> None:
    """This campaign no more; a call at hand is finished."""
    await parts(request).agents.link(
        who.client_id, agent_id, campaign_id, works=False, who=who.login
    )
