"""Recordings reach the storage once, whole, whatever fails on the way."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import wave
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from dialer.jobs.recordings import RecordingMover
from dialer.jobs.storage import CHUNK, Damaged, RecordingStorage
from dialer.store import schema as t
from dialer.store.database import Database, upgrade
from telephony.clock import ManualClock

pytestmark = pytest.mark.unit
KEY = bytes(range(32))
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def wav(sound: bytes) -> bytes:
    """A file as Asterisk writes it: 8,000 samples of 16 bits a second."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(sound)
    return file.getvalue()


SOUND = wav(b"sound!" * 1000)


@pytest.mark.parametrize("key", [b"", KEY], ids=["plain", "encrypted"])
@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7])
async def test_any_range_of_any_size_comes_back(tmp_path: Path, key: bytes, size: int) -> None:
    storage = RecordingStorage((tmp_path / "store").as_uri(), key=key)
    data = os.urandom(size)
    source = tmp_path / "a.wav"
    source.write_bytes(data)
    name = f"x/a.wav{storage.suffix}"
    assert storage.put(source, name) == (size, hashlib.sha256(data).hexdigest())
    assert storage.digest(name, size) == hashlib.sha256(data).hexdigest()
    for start, end in [(0, size), (size // 3, size // 2), (max(size - 5, 0), size)]:
        assert b"".join(storage.read(name, start, end, size=size)) == data[start:end]
    if key and size > 16:
        assert data[:16] not in (tmp_path / "store" / name).read_bytes()


@pytest.mark.parametrize("harm", ["flip", "cut", "swap", "other key"])
async def test_a_harmed_recording_is_noticed(tmp_path: Path, harm: str) -> None:
    storage = RecordingStorage((tmp_path / "store").as_uri(), key=KEY)
    source = tmp_path / "a.wav"
    source.write_bytes(os.urandom(3 * CHUNK))
    storage.put(source, "a.enc")
    path, sealed = tmp_path / "store" / "a.enc", CHUNK + 16
    raw = bytearray(path.read_bytes())
    size = 3 * CHUNK
    if harm == "flip":
        raw[100] ^= 1
    elif harm == "cut":
        raw, size = raw[:-sealed], 2 * CHUNK
    elif harm == "swap":
        first, second = raw[21 : 21 + sealed], raw[21 + sealed : 21 + 2 * sealed]
        raw[21 : 21 + 2 * sealed] = second + first
    else:
        storage = RecordingStorage((tmp_path / "store").as_uri(), key=b"k" * 32)
    path.write_bytes(bytes(raw))
    with pytest.raises(Damaged):
        storage.digest("a.enc", size)


@dataclass
class Place:
    database: Database
    folder: Path
    storage: RecordingStorage
    clock: ManualClock
    mover: RecordingMover = field(init=False)

    def __post_init__(self) -> None:
        self.mover = RecordingMover(
            self.database, self.storage, folders={"ast": self.folder}, clock=self.clock
        )

    async def add(self, path: str, data: bytes | None = SOUND) -> UUID:
        if data is not None:
            (self.folder / path).write_bytes(data)
            os.utime(self.folder / path, (NOW.timestamp() - 60,) * 2)
        key = uuid4()
        async with self.database.begin() as connection:
            await connection.execute(
                sa.insert(t.recording).values(
                    attempt_id=key, client_id=uuid4(), campaign_id=uuid4(), node="ast", path=path,
                    state="on_node", stored_as="", size=0, sha256="", at=NOW,
                )
            )  # fmt: skip
        return key

    async def row(self, key: UUID) -> Any:
        async with self.database.begin() as connection:
            query = sa.select(t.recording).where(t.recording.c.attempt_id == key)
            return (await connection.execute(query)).one()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'd.sqlite'}"
    await asyncio.to_thread(upgrade, url)
    (tmp_path / "node").mkdir()
    database = Database(url)
    storage = RecordingStorage((tmp_path / "store").as_uri(), key=KEY)
    yield Place(database, tmp_path / "node", storage, ManualClock(NOW))
    await database.close()


async def test_a_recording_moves_and_its_source_goes(place: Place) -> None:
    key = await place.add("a.wav")
    assert await place.mover.move_all() == 1
    row = await place.row(key)
    assert row.state == "stored"
    assert not (place.folder / "a.wav").exists()
    assert b"".join(place.storage.read(row.stored_as, 0, row.size, size=row.size)) == SOUND
    assert await place.mover.move_all() == 0


async def test_a_full_disk_loses_nothing_and_does_not_hold_up_others(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = await place.add("bad.wav"), await place.add("good.wav")
    put = RecordingStorage.put

    def full(self: RecordingStorage, source: Path, name: str) -> tuple[int, str]:
        if source.name == "bad.wav":
            raise OSError(28, "No space left on device")
        return put(self, source, name)

    monkeypatch.setattr(RecordingStorage, "put", full)
    assert place.mover.state == "ok"
    assert await place.mover.move_all() == 1
    assert place.mover.state == "1 not moved: OSError"
    assert (await place.row(bad)).state == "on_node"
    assert (place.folder / "bad.wav").exists()
    assert (await place.row(good)).state == "stored"
    monkeypatch.undo()
    place.clock.advance(5)
    assert await place.mover.move_all() == 1
    assert place.mover.state == "ok"


async def test_once_the_storage_takes_one_again_all_that_it_would_not_take_are_tried(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await place.add("old.wav")
    await place.add("../outside.wav", None)  # its own fault, and it stays so
    tried = 0

    def full(self: RecordingStorage, source: Path, name: str) -> tuple[int, str]:
        nonlocal tried
        tried += 1
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(RecordingStorage, "put", full)
        for _ in range(8):  # hours
            await place.mover.move_all()
            place.clock.advance(1000)
        await place.mover.move_all()
        assert await place.mover.move_all() == 0
        assert tried == 9, "one that failed just now rests"
    await place.add("new.wav")
    assert await place.mover.move_all() + await place.mover.move_all() == 2
    assert (await place.row(old)).state == "stored"
    assert place.mover.state == "1 not moved: OSError"


async def test_what_was_stored_wrongly_keeps_its_source(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await place.add("a.wav")
    monkeypatch.setattr(RecordingStorage, "digest", lambda self, name, size: "0" * 64)
    assert await place.mover.move_all() == 0
    assert (place.folder / "a.wav").exists()
    assert (await place.row(key)).state == "on_node"


@pytest.mark.parametrize("written", [b"", b"\x00" * 5000, SOUND[:30], wav(b"s!" * 8000)])
async def test_what_the_node_could_not_write_whole_is_kept_and_not_called_stored(
    place: Place, written: bytes
) -> None:
    """As its full disk leaves it: empty, without a beginning, or one second out of ten."""
    key = await place.add("a.wav", written)
    talk = {"attempt_id": key, "agent_id": uuid4(), "client_id": uuid4(), "campaign_id": uuid4(),
            "customer_id": uuid4(), "lead_id": uuid4(), "connected_at": NOW,
            "ended_at": NOW + timedelta(seconds=10), "ended_by": "agent"}  # fmt: skip
    async with place.database.begin() as connection:
        await connection.execute(sa.insert(t.conversation).values(talk))
    assert await place.mover.move_all() == 1
    row = await place.row(key)
    assert (row.state, row.size) == ("damaged", len(written))
    kept = place.storage.read(row.stored_as, 0, row.size, size=row.size) if row.size else []
    assert b"".join(kept) == written
    assert not (place.folder / "a.wav").exists()


@pytest.mark.parametrize("step", ["unlink", "stored"])
async def test_a_crash_between_two_steps_is_finished_later(
    place: Place, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    key = await place.add("a.wav")
    with monkeypatch.context() as patch:
        if step == "unlink":

            def dies(self: Path, missing_ok: bool = False) -> None:
                raise OSError("crash")

            patch.setattr(Path, "unlink", dies)
        await place.mover.move_all()
    if step == "stored":
        async with place.database.begin() as connection:
            await connection.execute(sa.update(t.recording).values(state="copied"))
    again = RecordingMover(
        place.database, place.storage, folders={"ast": place.folder}, clock=place.clock
    )
    assert await again.move_all() == 1
    assert (await place.row(key)).state == "stored"
    assert not (place.folder / "a.wav").exists()


async def test_a_file_still_being_written_waits(place: Place) -> None:
    await place.add("a.wav")
    os.utime(place.folder / "a.wav", (NOW.timestamp(),) * 2)
    assert await place.mover.move_all() == 0
    place.clock.advance(3)
    assert await place.mover.move_all() == 1


async def test_a_missing_file_is_given_up_after_a_while(place: Place) -> None:
    key = await place.add("never.wav", None)
    await place.mover.move_all()
    assert (await place.row(key)).state == "on_node"
    place.clock.advance(601)
    await place.mover.move_all()
    assert (await place.row(key)).state == "missing"


async def test_a_path_out_of_the_folder_is_never_touched(place: Place) -> None:
    outside = place.folder.parent / "secret"
    outside.write_text("x")
    os.utime(outside, (NOW.timestamp() - 60,) * 2)
    key = await place.add("../secret", None)
    assert await place.mover.move_all() == 0
    assert outside.exists()
    assert (await place.row(key)).state == "on_node"
