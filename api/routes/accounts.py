"""Accounts of one client."""

from __future__ import annotations

from fastapi import APIRouter, Request

from api.deps import AdminOnly, parts
from api.models import Account, NewAccount
from dialer.store import admin

router = APIRouter(prefix="/api/v1/accounts", tags=["accounts"])


@router.get("")
async def list_accounts(who: AdminOnly, request: Request) -> list[Account]:
    async with parts(request).database.begin() as connection:
        rows = await admin.accounts(connection, who.client_id)
    return [Account(**{k: row[k] for k in Account.model_fields}) for row in rows]


@router.post("", status_code=201)
async def add_account(body: NewAccount, who: AdminOnly, request: Request) -> Account:
    account_id = await parts(request).agents.add_account(
        who.client_id, login=body.login, password=body.password, role=body.role
    )
    return Account(id=account_id, login=body.login, role=body.role, disabled=False)
