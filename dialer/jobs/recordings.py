"""Recordings move from the nodes' disks to storage, whatever crashes in between.

Each one: copy under a name that depends only on the call, read it back and compare, write *copied*,
delete the node's file, write *stored*. Every step may be repeated; a crash between two of them
repeats one. A failure (disk full, storage away) leaves the recording where it is, and it is tried
again later, less and less often, without holding up the others; once the storage takes one again,
all that it would not take before are tried at once. What the node itself could not
write whole (its own disk was full) ends as *damaged* instead of stored: kept, and said to be no
recording of all of the conversation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog

from dialer.jobs.storage import RecordingStorage
from dialer.store import outbox
from dialer.store import recordings as rows
from dialer.store.database import Database
from telephony.clock import Clock

log = structlog.get_logger(__name__)

_BATCH = 100
_SETTLED = timedelta(seconds=2)  # Asterisk may still write a file that changed since
_MISSING = timedelta(minutes=10)  # a file that is not there by then will not come
_LONGEST_REST = 120.0
_EDGE = 2.0  # s of a conversation that may be missing: recording begins after, and ends before it

WAV_HEAD = 44  # bytes of the header that Asterisk writes


def wav_seconds(head: bytes, size: int) -> float | None:
    """How long the sound of a WAV file of `size` bytes is; None when this is none."""
    if len(head) < WAV_HEAD or (head[:4], head[8:12]) != (b"RIFF", b"WAVE"):
        return None
    bytes_per_second = int.from_bytes(head[28:32], "little")
    return (size - WAV_HEAD) / bytes_per_second if bytes_per_second else None


class StorageInTrouble(Exception):
    """The storage is full, away, or not to be trusted; nothing is wrong with the recording."""


@dataclass(slots=True)
class _Rest:
    """How long a recording that could not be moved is left alone, and whose fault it was."""

    until: float  # monotonic
    following: float  # s
    storage: bool


class RecordingMover:
    """Moves what waits. `folders`: each node's recording folder as seen from here."""

    def __init__(
        self,
        database: Database,
        storage: RecordingStorage,
        *,
        folders: Mapping[str, Path],
        clock: Clock,
        poll: float = 2.0,
    ) -> None:
        self._db, self._storage, self._clock, self._poll = database, storage, clock, poll
        self._folders = {node: folder.resolve() for node, folder in folders.items()}
        self._resting: dict[UUID, _Rest] = {}
        self._wake = asyncio.Event()
        #: What was left at the last look, and how old the oldest of it was (seconds).
        self.waiting, self.oldest = 0, 0.0
        self.failed = 0  # tries
        self._why = ""

    @property
    def state(self) -> str:
        """`ok`, or how many recordings could not be moved when last tried, and why the last one."""
        return f"{len(self._resting)} not moved: {self._why}" if self._resting else "ok"

    def wake(self) -> None:
        """Look now: a recording has ended."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.move_all()
            except Exception as error:  # the database is away: the next look comes
                log.warning("recordings not read", action="recordings_failed", error=repr(error))
            self._wake.clear()
            try:
                async with asyncio.timeout(self._poll):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def move_all(self) -> int:
        """One look at everything that waits; returns how many were moved."""
        moved, after = 0, None
        left: list[datetime] = []
        while self._folders:
            async with self._db.begin() as connection:
                batch = await rows.to_move(
                    connection, nodes=list(self._folders), after=after, limit=_BATCH
                )
            for row in batch:
                done = await self._try(row)
                moved += done
                if not done:
                    left.append(row["at"])
            if len(batch) < _BATCH:
                break
            after = (batch[-1]["at"], batch[-1]["attempt_id"])
        self.waiting = len(left)
        self.oldest = (self._clock.now() - min(left)).total_seconds() if left else 0.0
        return moved

    async def _try(self, row: Mapping[str, Any]) -> bool:
        key: UUID = row["attempt_id"]
        now, rest = self._clock.monotonic(), self._resting.get(key)
        if rest is not None and now < rest.until:
            return False
        try:
            done = await self._move(row)
        except Exception as error:
            self.failed += 1
            seconds = rest.following if rest is not None else self._poll
            self._resting[key] = _Rest(
                now + seconds, min(seconds * 2, _LONGEST_REST), isinstance(error, StorageInTrouble)
            )
            self._why = type(error.__cause__ or error).__name__
            log.warning(
                "recording not moved",
                action="recording_not_moved",
                call=str(key),
                node=row["node"],
                error=repr(error.__cause__ or error),
            )
            return False
        self._resting.pop(key, None)
        if done:
            for other in self._resting.values():
                if other.storage:
                    other.until = now
        return done

    async def _move(self, row: Mapping[str, Any]) -> bool:
        source = self._source(row)
        if row["state"] == "on_node":
            copied = await self._copy(row, source)
            if copied is None:
                return False
            async with self._db.begin() as connection:
                if not await rows.move_on(
                    connection, row["attempt_id"], before="on_node", values=copied
                ):
                    return False  # erased meanwhile, or another mover was faster
        else:
            copied = {"stored_as": row["stored_as"], "size": row["size"]}
        whole = await self._is_whole(row["attempt_id"], copied["stored_as"], copied["size"])
        await asyncio.to_thread(source.unlink, True)
        async with self._db.begin() as connection:
            now = await rows.move_on(
                connection,
                row["attempt_id"],
                before="copied",
                values={"state": "stored" if whole else "damaged"},
            )
            if now and whole:
                stored = await rows.one(connection, row["attempt_id"])
                await outbox.recording_stored(connection, stored, now=self._clock.now())
        call = str(row["attempt_id"])
        if whole:
            log.info("recording stored", action="recording_stored", call=call)
        else:
            log.error(
                "the node did not write all of the recording",
                action="recording_damaged",
                call=call,
                node=row["node"],
                size=copied["size"],
            )
        return True

    async def _is_whole(self, attempt_id: UUID, name: str, size: int) -> bool:
        """Whether what was stored is a sound as long as the conversation."""
        async with self._db.begin() as connection:
            lasted = await rows.conversation_seconds(connection, attempt_id)
        head = await asyncio.to_thread(self._storage.head, name, min(WAV_HEAD, size), size)
        heard = wav_seconds(head, size)
        return heard is not None and heard >= lasted - _EDGE

    async def _copy(self, row: Mapping[str, Any], source: Path) -> dict[str, Any] | None:
        """Store and verify; the row's new values, or None when the file is not ready."""
        now = self._clock.now()
        try:
            before = await asyncio.to_thread(source.stat)
        except FileNotFoundError:
            if now - row["at"] < _MISSING:
                return None
            log.error("recording missing", action="recording_missing", call=str(row["attempt_id"]))
            async with self._db.begin() as connection:
                await rows.move_on(
                    connection, row["attempt_id"], before="on_node", values={"state": "missing"}
                )
            return None
        if now.timestamp() - before.st_mtime < _SETTLED.total_seconds():
            return None
        name = (
            f"{row['client_id']}/{row['at']:%Y-%m-%d}/{row['attempt_id']}"
            f"{source.suffix}{self._storage.suffix}"
        )
        try:
            size, sha256 = await asyncio.to_thread(self._storage.put, source, name)
            digest = await asyncio.to_thread(self._storage.digest, name, size)
        except Exception as error:
            raise StorageInTrouble from error
        if size != before.st_size:
            raise OSError("the file changed while it was copied")
        if digest != sha256:
            raise OSError("what was stored is not what was read")
        return {"state": "copied", "stored_as": name, "size": size, "sha256": sha256}

    def _source(self, row: Mapping[str, Any]) -> Path:
        """The file inside the node's folder; a path that leads out of it is refused."""
        folder = self._folders[row["node"]]
        source = (folder / str(row["path"])).resolve()
        if not source.is_relative_to(folder) or source == folder:
            raise OSError("the path leads out of the recordings folder")
        return source
