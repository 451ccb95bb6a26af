"""Who is asking, and what they may do: passwords, bearer tokens, roles and scopes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from api.tries import Tries
from dialer.domain.errors import Forbidden, NotFound, TooMany, Unauthenticated
from dialer.store import access, admin
from dialer.store.database import Database
from telephony.clock import Clock

_ALGORITHM = "HS256"
_FAILURES = 5  # wrong passwords in a row before a pause
_LOCK = timedelta(minutes=5)
_FROM_ONE_ADDRESS = 30  # wrong passwords a minute: a whole floor may share one address
_REST = "too many wrong passwords; try again in some minutes"

SCOPES: dict[str, frozenset[str]] = {
    "admin": frozenset(
        {
            "admin", "campaigns", "leads", "calls", "agents", "live", "dnc", "recordings",
            "webhooks",
        }
    ),
    "supervisor": frozenset({"campaigns", "leads", "calls", "agents", "live", "dnc", "recordings"}),
    "quality": frozenset({"calls", "recordings"}),
    "agent": frozenset({"agent"}),
    "integration": frozenset({"campaigns", "leads", "calls", "dnc", "webhooks"}),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated account."""

    account_id: UUID
    client_id: UUID
    login: str
    role: str
    expires: float  # Unix seconds
    token_id: str = ""

    def require(self, scope: str) -> None:
        """Raise Forbidden without the scope."""
        if scope not in SCOPES.get(self.role, frozenset()):
            raise Forbidden(f"this needs the scope {scope!r}", scope=scope)


class Auth:
    """Signs people in and verifies their tokens."""

    def __init__(self, database: Database, *, key: bytes, token_seconds: int, clock: Clock) -> None:
        self._db, self._key, self._seconds, self._clock = database, key, token_seconds, clock
        seconds = _LOCK.total_seconds()
        self._by_login = Tries(clock, most=_FAILURES, seconds=seconds)
        self._by_address = Tries(clock, most=_FROM_ONE_ADDRESS, seconds=60.0)
        self._hasher = PasswordHash((Argon2Hasher(),))
        # Verified for unknown logins, so that they take as long as known ones.
        self._nobody = self._hasher.hash("nobody")

    async def hash(self, password: str) -> str:
        """Argon2id, in a thread: it is slow on purpose."""
        return await asyncio.to_thread(self._hasher.hash, password)

    async def sign_in(self, login: str, password: str, *, address: str = "") -> tuple[str, int]:
        """(token, seconds it lasts); raises Unauthenticated or TooMany.

        Failures are counted by login, whether there is one or not, and by the address they come
        from, before any hash is made: guessing costs the guesser, not us.
        """
        if self._by_login.too_many(login) or (address and self._by_address.too_many(address)):
            raise TooMany(_REST)
        async with self._db.begin() as connection:
            row = await admin.account_by_login(connection, login)
        now = self._clock.now()
        if row is not None and row["locked_until"] is not None and row["locked_until"] > now:
            raise TooMany(_REST)
        good = await asyncio.to_thread(
            self._hasher.verify, password, row["password_hash"] if row else self._nobody
        )
        if row is None or not good or row["disabled"]:
            self._by_login.failed(login)
            if address:
                self._by_address.failed(address)
            if row is not None:
                await self._failed(row)
            raise Unauthenticated("unknown login or wrong password")
        self._by_login.succeeded(login)
        if row["failures"]:
            async with self._db.begin() as connection:
                await admin.update_account(
                    connection, row["id"], {"failures": 0, "locked_until": None}
                )
        claims = {
            "sub": str(row["id"]),
            "client": str(row["client_id"]),
            "login": row["login"],
            "role": row["role"],
            "jti": uuid4().hex,
            "iat": int(now.timestamp()),
            "exp": int(now.timestamp()) + self._seconds,
        }
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM), self._seconds

    async def _failed(self, row: dict[str, Any]) -> None:
        """Counted in the database too: for all processes, and guesses at the same time."""
        async with self._db.begin() as connection:
            await access.count_failure(
                connection, row["id"], most=_FAILURES, until=self._clock.now() + _LOCK
            )

    def verify(self, token: str) -> Caller:
        """The caller of a token; raises Unauthenticated."""
        if len(token) > 4096:
            raise Unauthenticated("the token is not valid")
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[_ALGORITHM],
                # Time is judged below, by our own clock.
                options={
                    "require": ["exp", "sub", "client", "role", "jti"],
                    "verify_exp": False,
                    "verify_iat": False,
                },
            )
            if float(claims["exp"]) <= self._clock.now().timestamp():
                raise Unauthenticated("the token has expired")
            return Caller(
                account_id=UUID(claims["sub"]),
                client_id=UUID(claims["client"]),
                login=str(claims.get("login", "")),
                role=str(claims["role"]),
                expires=float(claims["exp"]),
                token_id=str(claims["jti"])[:40],
            )
        except (jwt.InvalidTokenError, ValueError, TypeError):
            raise Unauthenticated("the token is not valid") from None

    async def authenticate(self, token: str) -> Caller:
        """Like `verify`, and the account still exists, is enabled, and has not signed out."""
        who = self.verify(token)
        async with self._db.engine.connect() as connection:
            row = await access.standing(connection, who.account_id, who.token_id)
        if row is None or row["disabled"] or row["revoked"]:
            raise Unauthenticated("the token is not valid any more")
        return replace(who, role=row["role"], client_id=row["client_id"])

    async def sign_out(self, who: Caller) -> None:
        """The caller's token is worth nothing from now on."""
        async with self._db.begin() as connection:
            await access.revoke(
                connection,
                who.token_id,
                expires=datetime.fromtimestamp(who.expires, UTC),
                now=self._clock.now(),
            )

    async def for_client(self, who: Caller, client_id: UUID) -> Caller:
        """The caller working for another client: the house's administrators may."""
        if client_id == who.client_id:
            return who
        async with self._db.engine.connect() as connection:
            house = await access.house(connection)
            known = await access.has_client(connection, client_id)
        if who.role != "admin" or who.client_id != house:
            raise Forbidden("only the house's administrators choose a client")
        if not known:
            raise NotFound("no such client")
        return replace(who, client_id=client_id)

    def sign_address(self, client_id: UUID, call_id: UUID, *, login: str, seconds: int) -> str:
        """A token that opens one recording for a short while, and nothing else."""
        claims = {
            "aud": "recording",
            "sub": str(call_id),
            "client": str(client_id),
            "login": login,
            "exp": int(self._clock.now().timestamp()) + seconds,
        }
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)

    def open_address(self, token: str, call_id: UUID) -> tuple[UUID, str]:
        """(client, login) of a signed address for this recording; raises Unauthenticated."""
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[_ALGORITHM],
                audience="recording",
                options={"require": ["exp", "sub", "client"], "verify_exp": False},
            )
            good = claims["sub"] == str(call_id)
            if good and float(claims["exp"]) > self._clock.now().timestamp():
                return UUID(claims["client"]), str(claims.get("login", ""))
        except (jwt.InvalidTokenError, ValueError, TypeError):
            pass
        raise Unauthenticated("this address is not valid any more")
