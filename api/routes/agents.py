"""Agents and their phones."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request

from api.deps import ForAgents, parts
from api.models import Agent, Assignment, NewAgent
from dialer.store import admin

router = APIRouter(prefix="/api/v1/agents", tags=["agents"])


@router.get("")
async def list_agents(who: ForAgents, request: Request) -> list[Agent]:
    async with parts(request).database.begin() as connection:
        rows = await admin.agents(connection, who.client_id)
    return [Agent(id=r["id"], name=r["name"], endpoint=r["endpoint"], node=r["node"]) for r in rows]


@router.post("", status_code=201)
async def add_agent(body: NewAgent, who: ForAgents, request: Request) -> Agent:
    """An agent with a phone account on Asterisk; its password is shown once, here."""
    made = await parts(request).agents.add(
        who.client_id,
        name=body.name,
        endpoint=body.endpoint,
        node=body.node or "",
        contact=body.contact,
        login=body.login,
        password=body.password,
        campaigns=body.campaigns,
    )
    return Agent(
        id=made.id,
        name=body.name,
        endpoint=body.endpoint,
        node=made.node,
        phone_password=made.phone_password or None,
    )


@router.put("/{agent_id}/campaigns", status_code=204)
async def assign(agent_id: UUID, body: Assignment, who: ForAgents, request: Request) -> None:
    """The campaigns this agent may work: exactly these."""
    await parts(request).agents.assign(who.client_id, agent_id, body.campaigns)
