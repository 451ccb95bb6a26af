"""Disks, folders, storage and Redis."""

from __future__ import annotations

import os
from collections.abc import Iterator

from redis.exceptions import RedisError

from api.cli.doctor.findings import Finding, note, ok, problem
from api.readiness import disk, folders_written
from api.settings import NodeSettings, Settings
from dialer.jobs.storage import RecordingStorage
from dialer.live.redis_link import answer, connect, name_of


def disks(settings: Settings) -> Iterator[Finding]:
    """Room where we write; blocking."""
    folders = folders_written(
        settings.database_url,
        settings.recordings_url,
        [(node.name, node.recordings) for node in settings.nodes],
    )
    for what, folder in folders.items():
        said = disk(folder, settings.disk_free)
        if said == "ok":
            yield ok(f"disk {what}", f"{folder} has room")
        else:
            yield problem(f"disk {what}", said, "make room, or change the folder or its rights")


def storage(settings: Settings) -> Finding:
    """Whether recordings can be stored: one object is written and taken away; blocking."""
    try:
        key = bytes.fromhex(settings.recordings.key.get_secret_value())
        RecordingStorage(settings.recordings_url, key=key).check()
    except Exception as error:  # each kind of storage has its own errors
        return problem(
            "storage",
            f"recordings cannot be written: {type(error).__name__}",
            "check DIALER_RECORDINGS__URL, its rights, and the room there",
        )
    if key:
        return ok("storage", "recordings can be written, encrypted")
    return note(
        "storage",
        "recordings can be written, not encrypted",
        "set DIALER_RECORDINGS__KEY to encrypt them at rest",
    )


def node_files(node: NodeSettings) -> Iterator[Finding]:
    """What the node and we share on disk; blocking."""
    if node.recordings is not None:
        check = f"recordings of {node.name}"
        if os.access(node.recordings, os.R_OK | os.W_OK | os.X_OK):
            yield ok(check, f"{node.recordings} can be read and emptied")
        else:
            yield problem(
                check,
                f"{node.recordings} cannot be read and written by this user",
                "run the dialer in the folder's group, and let the group write",
            )
    if node.phones_file is not None:
        check, folder = f"phones of {node.name}", node.phones_file.parent
        if os.access(folder, os.W_OK | os.X_OK) and (
            not node.phones_file.exists() or os.access(node.phones_file, os.R_OK)
        ):
            yield ok(check, f"{node.phones_file} can be replaced")
        else:
            yield problem(
                check,
                f"{node.phones_file} cannot be written by this user: new phones do not register",
                "let the dialer's user write that folder (the file is replaced as a whole)",
            )
    check = f"call events of {node.name}"
    if node.cel is None:
        yield problem(
            check,
            "`cel` is not set: after a crash, calls that ended meanwhile are unknown",
            "name the node's cel-custom file, as it is seen from here",
        )
    elif node.cel.exists() and os.access(node.cel, os.R_OK):
        yield ok(check, f"{node.cel} can be read")
    elif node.cel.parent.is_dir() and not node.cel.exists():
        yield note(check, f"{node.cel} is not there yet", "Asterisk makes it with the first call")
    else:
        yield problem(
            check, f"{node.cel} cannot be read", "mount Asterisk's log folder here, readable"
        )


async def redis(settings: Settings) -> Finding:
    """The bus between dialer nodes."""
    url = settings.redis.get_secret_value()
    if not url:
        return ok("redis", "not set: the bus stays inside the process, for one dialer node")
    try:
        client = connect(url, connections=1)
    except ValueError:
        return problem("redis", "DIALER_REDIS is no address of a Redis", "redis://host:6379/0")
    try:
        await answer(client.ping())
        memory = await answer(client.info("memory"))
        version = str((await answer(client.info("server")))["redis_version"])
    except (RedisError, OSError, TimeoutError) as error:
        return problem(
            "redis",
            f"does not do it: {name_of(error)}",
            "start it, or correct DIALER_REDIS: address, user, password",
        )
    finally:
        await client.aclose()
    if int(version.partition(".")[0]) < 5:
        return problem("redis", f"version {version} has no streams", "upgrade it to 6 or newer")
    policy = str(memory.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction" and int(memory.get("maxmemory", 0)):
        return problem(
            "redis",
            f"throws keys away when it is full ({policy}): screens would miss messages",
            "set maxmemory-policy noeviction",
        )
    return ok("redis", f"version {version} answers")
