"""Disks fill up while a campaign is dialed, and empty again: nobody is called without a committed
attempt, nothing is lost, and all goes on by itself. Each disk is a real one, a few megabytes big.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import wave
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.faults.shift import STUCK, Shift
from tests.lab.callcentre import CallCentre
from tests.lab.disk import SmallDisk
from tests.lab.faults import injected
from tests.lab.process import until

pytestmark = [pytest.mark.e2e, pytest.mark.full]

#: A disk of a few megabytes is no reason to call nobody.
SMALL = {"DIALER_DISK_FREE": "0"}


def said(centre: CallCentre, action: str = "", *, containing: str = "") -> int:
    """How many lines of the dialer's log say this."""
    assert centre.dialer is not None
    lines = centre.dialer.log.read_text(errors="replace").splitlines()
    return sum((not action or f'"{action}"' in line) and containing in line for line in lines)


async def test_the_databases_disk_is_full_again_and_again(tmp_path: Path) -> None:
    """For longer than the lease, and for less: what was on the line is written when there is
    room."""
    rng = random.Random()
    with SmallDisk(megabytes=16) as disk:
        database = f"sqlite+aiosqlite:///{disk.folder}/dialer.db"
        async with CallCentre(
            agents=6, database=database, folder=tmp_path, environment=SMALL
        ) as centre:
            shift = Shift(centre, rng=rng)
            await shift.begin(80)
            for full in (1.0, 8.0, 2.0, 10.0):
                await shift.supplied()
                before = said(centre, containing="disk is full")
                disk.fill()
                injected("SQLite: disk full")
                await until(
                    lambda before=before: (  # type: ignore[misc]
                        said(centre, containing="disk is full") > before
                    ),
                    timeout=STUCK,
                    what="the log to say that the disk is full",
                )
                called = len(centre.public.truth())
                await asyncio.sleep(full)
                # One whose attempt was committed just before may have left.
                assert len(centre.public.truth()) - called <= 12
                if full > 5.0:
                    assert not await shift.ready()
                disk.free()
                await asyncio.sleep(rng.uniform(0.0, 2.0))
            await shift.end()
            assert said(centre, "write_refused") == 0


async def recordings(centre: CallCentre) -> list[dict[str, Any]]:
    return [dict(row) for row in await centre.rows("recording")]


def seconds(path: Path) -> float:
    """How long a recording is, by the sound in it."""
    with wave.open(str(path)) as sound:
        return sound.getnframes() / sound.getframerate()


async def every_conversation_is_stored_whole(
    centre: CallCentre, calls: list[dict[str, Any]], folder: Path
) -> None:
    """Somebody who hung up in the moment of the bridge left nothing to record."""
    found = {str(row["attempt_id"]): row for row in await recordings(centre)}
    rows = {key: row for key, row in found.items() if row["state"] == "stored"}
    lasted = {call["id"]: _lasted(call) for call in calls if call["connected_at"]}
    talked = {key for key, seconds in lasted.items() if seconds > 0.5}
    assert talked and talked <= rows.keys(), [found.get(key, key) for key in talked - rows.keys()]
    for row in rows.values():
        path = folder / row["stored_as"]
        data = path.read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (row["size"], row["sha256"]), row
    for key in talked:
        assert seconds(folder / rows[key]["stored_as"]) >= lasted[key] - 1.0, rows[key]
    left = [path for path in centre.asterisk.recordings.rglob("*") if path.is_file()]
    assert left == []
    there = {path for path in folder.rglob("*") if path.is_file()}
    kept = {folder / row["stored_as"] for row in found.values() if row["stored_as"]}
    assert there == kept, "halves of recordings"


def _lasted(call: dict[str, Any]) -> float:
    ended, connected = (datetime.fromisoformat(call[key]) for key in ("ended_at", "connected_at"))
    return (ended - connected).total_seconds()


async def test_the_recordings_storage_is_full_again_and_again() -> None:
    """It is in the state folder, all of which is on the full disk."""
    rng = random.Random()
    with SmallDisk(megabytes=32) as disk:
        state = disk.folder / "state"
        async with CallCentre(
            agents=6, environment={**SMALL, "DIALER_FOLDER": str(state)}
        ) as centre:
            shift = Shift(centre, rng=rng)
            await shift.begin(60, record=True)
            for _ in range(3):
                await shift.supplied()
                before = said(centre, "recording_not_moved")
                disk.fill()
                injected("state folder: disk full")
                await until(
                    lambda before=before: said(centre, "recording_not_moved") > before,  # type: ignore[misc]
                    timeout=STUCK,
                    what="a recording that does not fit",
                )
                checks = (await centre.http.get("/readyz")).json()["checks"]
                assert checks["recordings"].startswith("degraded"), checks
                assert await shift.ready()  # calls go on
                stored = [r for r in await recordings(centre) if r["state"] == "stored"]
                for row in stored:
                    assert (state / "recordings" / row["stored_as"]).stat().st_size == row["size"]
                disk.free()
            calls = await shift.end()

            await until(
                lambda: _none_waits(centre), timeout=STUCK, what="what is there to be moved"
            )
            assert (await centre.http.get("/readyz")).json()["checks"]["recordings"] == "ok"
            await every_conversation_is_stored_whole(centre, calls, state / "recordings")


async def test_asterisks_spool_is_full_again_and_again(tmp_path: Path) -> None:
    """What Asterisk cannot write is not there; calls go on, and what is stored is what was there,
    and said to be no more than that."""
    rng = random.Random()
    with SmallDisk(megabytes=16) as disk:
        (tmp_path / "ast1").mkdir()
        (tmp_path / "ast1/spool").symlink_to(disk.folder)
        async with CallCentre(agents=6, folder=tmp_path, environment=SMALL) as centre:
            shift = Shift(centre, rng=rng)
            await shift.begin(60, record=True)
            for full in (4.0, 8.0):
                await shift.supplied()
                disk.fill()
                injected("Asterisk: spool full")
                await asyncio.sleep(full)
                disk.free()
                await asyncio.sleep(2.0)
            calls = await shift.end()
            await until(
                lambda: _none_waits(centre), timeout=STUCK, what="what is there to be moved"
            )
            rows = {str(row["attempt_id"]): row for row in await recordings(centre)}
            folder = tmp_path / "state/recordings"
            for call in calls:
                row = rows.get(call["id"])
                if row is not None and row["state"] == "stored" and call["connected_at"]:
                    assert seconds(folder / row["stored_as"]) >= _lasted(call) - 2.0, (call, row)
            states = Counter(row["state"] for row in rows.values())
            print(states)
            assert states["damaged"] and states["stored"]
            assert said(centre, "recording_damaged") == states["damaged"]


async def _none_waits(centre: CallCentre) -> bool:
    """Nothing that there is a file for; what Asterisk could not begin to write has none."""
    waiting = {row["path"] for row in await recordings(centre) if row["state"] == "on_node"}
    return not any((centre.asterisk.recordings / path).exists() for path in waiting)
