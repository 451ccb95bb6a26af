"""`dialer doctor`: is everything there that a call needs, and if not, what to do about it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass

import sqlalchemy as sa
from alembic.script import ScriptDirectory

from api.settings import NodeSettings, Settings
from dialer.jobs.storage import RecordingStorage
from dialer.store.database import Database, alembic_config

_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was looked at, whether it is good, and an explanation."""

    check: str
    good: bool
    explanation: str


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """All checks, one after the other; nothing is left changed."""
    async for finding in _database(settings):
        yield finding
    yield await asyncio.to_thread(_recordings, settings)
    if not settings.nodes:
        yield Finding(
            "nodes", False, "no Asterisk node is set: the API runs, but nothing is dialed"
        )
    for node in settings.nodes:
        yield await _ami(node)
        if node.recordings is not None:
            good = os.access(node.recordings, os.R_OK | os.W_OK | os.X_OK)
            yield Finding(
                f"recordings of {node.name}",
                good,
                f"{node.recordings} can be read and emptied"
                if good
                else f"{node.recordings} cannot be read and written by this user",
            )
    if settings.nodes and not settings.trunks:
        yield Finding("trunks", False, "no trunk is set: agents can sign in, nobody can be called")


async def _database(settings: Settings) -> AsyncIterator[Finding]:
    url = sa.make_url(settings.database_url)
    shown = url.render_as_string(hide_password=True)
    newest = ScriptDirectory.from_config(alembic_config("")).get_current_head()
    database = Database(settings.database_url)
    try:
        async with asyncio.timeout(_SECONDS):
            await database.check()
            yield Finding("database", True, f"{shown} answers")
            async with database.engine.connect() as connection:
                there = await connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        yield Finding(
            "migrations",
            there == newest,
            f"at {there}" if there == newest else f"at {there}, not {newest}: run `dialer migrate`",
        )
    except sa.exc.DatabaseError as error:
        missing = "alembic_version" in str(error)
        yield Finding(
            "migrations" if missing else "database",
            False,
            "the database is empty: run `dialer migrate`"
            if missing
            else f"{shown}: {type(error.orig).__name__}",
        )
    except (OSError, TimeoutError) as error:
        yield Finding("database", False, f"{shown} does not answer: {type(error).__name__}")
    finally:
        await database.close()


def _recordings(settings: Settings) -> Finding:
    try:
        key = bytes.fromhex(settings.recordings.key.get_secret_value())
        RecordingStorage(settings.recordings_url, key=key).check()
    except Exception as error:  # each kind of storage has its own errors
        return Finding("recordings", False, f"cannot be written: {type(error).__name__}")
    how = "encrypted" if key else "not encrypted: set DIALER_RECORDINGS__KEY to encrypt at rest"
    return Finding("recordings", True, f"can be written, {how}")


async def _ami(node: NodeSettings) -> Finding:
    """Sign in and out again, by hand: the real link would keep trying."""
    name = f"node {node.name}"
    where = f"{node.host}:{node.port}"
    secret = node.secret.get_secret_value()
    if any(c in secret + node.user for c in "\r\n\0"):
        return Finding(name, False, "the account has a line end in it")
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_connection(node.host, node.port)
            try:
                await reader.readline()
                writer.write(
                    f"Action: Login\r\nUsername: {node.user}\r\nSecret: {secret}\r\n"
                    "Events: off\r\n\r\n".encode()
                )
                await writer.drain()
                answer = await reader.readuntil(b"\r\n\r\n")
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        return Finding(name, False, f"no AMI at {where}: {type(error).__name__}")
    if b"Response: Success" in answer:
        return Finding(name, True, f"AMI at {where} lets {node.user} in")
    return Finding(name, False, f"AMI at {where} refuses {node.user}: check user, secret and acl")


def report(settings: Settings, *, as_json: bool) -> bool:
    """Print each finding; whether all are good."""

    async def inside() -> bool:
        good = True
        async for finding in examine(settings):
            good = good and finding.good
            mark = "ok     " if finding.good else "PROBLEM"
            line = f"{mark} {finding.check}: {finding.explanation}"
            print(json.dumps(asdict(finding)) if as_json else line)
        return good

    return asyncio.run(inside())
