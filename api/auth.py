"""Who is asking, and what they may do: passwords, bearer tokens, roles and scopes."""

from __future__ import annotations

import asyncio
import hmac
import struct
from base64 import b64decode, urlsafe_b64encode
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hmac import compare_digest
from ipaddress import ip_address, ip_network
from typing import Any
from uuid import UUID, uuid4

import jwt
import structlog
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from dialer.domain.errors import Forbidden, NotFound, TooMany, Unauthenticated
from dialer.domain.ids import uuid7
from dialer.store import access, admin, guesses
from dialer.store.database import Database
from telephony.clock import Clock

log = structlog.get_logger(__name__)

_ALGORITHM = "HS256"
# Wrong passwords, counted in the database for all nodes. Five from one place rest that login for
# that place only: whoever guesses locks out himself, not whom he would like to be.
_FROM_ONE_PLACE = (5, timedelta(minutes=5))
_FROM_ONE_ADDRESS = (30, timedelta(minutes=1))  # a whole floor may share one address
# From everywhere together; then only places that a login has signed in from before may go on.
_FOR_ONE_LOGIN = (100, timedelta(minutes=15))
_HASHES = 2  # at the same time: each takes 64 MiB and a processor
_ADDRESS = struct.Struct(">Q16s16s")  # expires (Unix seconds), client, account
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
    generation: int = 0

    def require(self, scope: str) -> None:
        """Raise Forbidden without the scope."""
        if scope not in SCOPES.get(self.role, frozenset()):
            raise Forbidden(f"this needs the scope {scope!r}", scope=scope)


def network(address: str) -> str:
    """Whom an address stands for: itself, or its /64, of which one machine has all."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return str(found) if found.version == 4 else str(ip_network((found, 64), strict=False))


def _limits(login: str, address: str) -> list[guesses.Limit]:
    place = network(address)
    limits = [
        guesses.Limit("pair", guesses.subject(login, place), *_FROM_ONE_PLACE),
        guesses.Limit("login", guesses.subject(login), *_FOR_ONE_LOGIN),
    ]
    if address:
        limits.append(guesses.Limit("address", guesses.subject(place), *_FROM_ONE_ADDRESS))
    return limits


class Auth:
    """Signs people in and verifies their tokens."""

    def __init__(self, database: Database, *, key: bytes, token_seconds: int, clock: Clock) -> None:
        self._db, self._key, self._seconds, self._clock = database, key, token_seconds, clock
        self._hashing = asyncio.Semaphore(_HASHES)
        self._hasher = PasswordHash((Argon2Hasher(),))
        # Verified for unknown logins, so that they take as long as known ones.
        self._nobody = self._hasher.hash("nobody")

    async def hash(self, password: str) -> str:
        """Argon2id, in a thread: it is slow on purpose."""
        return await asyncio.to_thread(self._hasher.hash, password)

    async def sign_in(self, login: str, password: str, *, address: str = "") -> tuple[str, int]:
        """(token, seconds it lasts); raises Unauthenticated or TooMany.

        Each try is counted, by login and address, whether there is such a login or not, before any
        hash is made: guessing costs the guesser, not us. A right password takes its count back.
        """
        limits = _limits(login, address)
        place = guesses.subject(login, network(address))
        now = self._clock.now()
        async with self._db.begin() as connection:
            over = await guesses.count(connection, limits, now=now)
            known = over == {"login"} and await guesses.is_known(connection, place, now=now)
            row = await admin.account_by_login(connection, login)
        if over and not known:
            log.warning("sign-in rests", action="sign_in_rests", address=address, by=sorted(over))
            raise TooMany(_REST)
        async with self._hashing:
            good = await asyncio.to_thread(
                self._hasher.verify, password, row["password_hash"] if row else self._nobody
            )
        if row is None or not good or row["disabled"]:
            log.warning("sign-in refused", action="sign_in_refused", address=address)
            if row is not None:
                await self._note(row, "sign_in.refused", address)
            raise Unauthenticated("unknown login or wrong password")
        async with self._db.begin() as connection:
            await guesses.forgive(connection, [x for x in limits if x.kind != "pair"])
            await guesses.forget(connection, login, network(address))
            await guesses.came_in(connection, place, now=now)
        await self._note(row, "sign_in", address)
        claims = {
            "sub": str(row["id"]),
            "client": str(row["client_id"]),
            "login": row["login"],
            "role": row["role"],
            "jti": uuid4().hex,
            "gen": row["generation"],
            "iat": int(now.timestamp()),
            "exp": int(now.timestamp()) + self._seconds,
        }
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM), self._seconds

    async def _note(self, row: dict[str, Any], action: str, address: str) -> None:
        """Who came in, and who was turned away, in the audit log of the account's client."""
        async with self._db.begin() as connection:
            await admin.note(
                connection,
                {
                    "id": uuid7(self._clock),
                    "client_id": row["client_id"],
                    "at": self._clock.now(),
                    "who": row["login"],
                    "action": action,
                    "details": {"address": address},
                },
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
                    "require": ["exp", "sub", "client", "role", "jti", "gen"],
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
                generation=int(claims["gen"]),
            )
        except (jwt.InvalidTokenError, ValueError, TypeError):
            raise Unauthenticated("the token is not valid") from None

    async def authenticate(self, token: str) -> Caller:
        """Like `verify`, and the account still exists, is enabled, and has not signed out."""
        who = self.verify(token)
        async with self._db.engine.connect() as connection:
            row = await access.standing(connection, who.account_id, who.token_id)
        if (
            row is None
            or row["disabled"]
            or row["revoked"]
            or row["generation"] != who.generation  # the password was changed
        ):
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
        await self._note({"client_id": who.client_id, "login": who.login}, "sign_out", "")

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

    def sign_address(
        self, client_id: UUID, call_id: UUID, *, account_id: UUID, seconds: int
    ) -> str:
        """A signature that opens one recording for a short while, and nothing else."""
        expires = int(self._clock.now().timestamp()) + seconds
        claims = _ADDRESS.pack(expires, client_id.bytes, account_id.bytes)
        return urlsafe_b64encode(claims + self._sign(call_id, claims)).decode()

    def open_address(self, signature: str, call_id: UUID) -> tuple[UUID, UUID]:
        """(client, account) of a signed address for this recording; raises Unauthenticated."""
        refused = Unauthenticated("this address is not valid any more")
        try:
            given = b64decode(signature.encode("ascii"), altchars=b"-_", validate=True)
        except ValueError:
            raise refused from None
        claims, code = given[: _ADDRESS.size], given[_ADDRESS.size :]
        if len(claims) != _ADDRESS.size or not compare_digest(code, self._sign(call_id, claims)):
            raise refused
        expires, client, account = _ADDRESS.unpack(claims)
        if expires <= self._clock.now().timestamp():
            raise refused
        return UUID(bytes=client), UUID(bytes=account)

    async def hearer(self, account_id: UUID) -> str:
        """The login an address was given to, while it may still hear recordings."""
        async with self._db.engine.connect() as connection:
            row = await access.standing(connection, account_id, "")
        if row is None or row["disabled"] or "recordings" not in SCOPES.get(row["role"], ()):
            raise Unauthenticated("this address is not valid any more")
        return str(row["login"])

    def _sign(self, call_id: UUID, claims: bytes) -> bytes:
        # A key of its own: no signature of one kind is ever one of the other.
        key = hmac.digest(self._key, b"addresses of recordings", "sha256")
        return hmac.digest(key, call_id.bytes + claims, "sha256")
