"""Accounts of one client."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request

from api.deps import AdminOnly, parts
from api.models import Account, ChangedAccount, NewAccount, Page
from api.paging import Cursor, Limit, following, place
from dialer.store import directory

router = APIRouter(prefix="/api/v1/accounts", tags=["accounts"])


def _account(row: Any) -> Account:
    return Account(**{k: row[k] for k in Account.model_fields})


@router.get("")
async def list_accounts(
    who: AdminOnly, request: Request, cursor: Cursor = None, limit: Limit = 100
) -> Page[Account]:
    """By login."""
    async with parts(request).database.begin() as connection:
        rows = await directory.accounts(
            connection, who.client_id, after=place(cursor, [str]), limit=limit
        )
    return Page(items=[_account(row) for row in rows], next=following(rows, limit, "login"))


@router.post("", status_code=201)
async def add_account(body: NewAccount, who: AdminOnly, request: Request) -> Account:
    """Somebody who may sign in. Agents are made under /agents, with their phone."""
    account_id = await parts(request).agents.add_account(
        who.client_id, who=who.login, login=body.login, password=body.password, role=body.role
    )
    return Account(id=account_id, login=body.login, role=body.role, disabled=False)


@router.patch("/{account_id}")
async def change_account(
    account_id: UUID, body: ChangedAccount, who: AdminOnly, request: Request
) -> Account:
    """Role, password, whether it may sign in; tokens the account has follow at once."""
    deps = parts(request)
    row = await deps.accounts.change(
        who.client_id,
        account_id,
        by=who.account_id,
        who=who.login,
        role=body.role,
        disabled=body.disabled,
        password=body.password,
    )
    if body.disabled:
        await deps.agents.account_disabled(account_id)
    return _account(row)
