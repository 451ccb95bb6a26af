"""Asterisk's records with anything in them: read or passed over, never believed in part."""

from __future__ import annotations

import csv
import io
import json
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from telephony.records import CallRecord, CelFiles
from tests.lab.fuzz import SECONDS, mutated, rounds, text, value

pytestmark = pytest.mark.unit

START = datetime(2026, 3, 1, 9, tzinfo=UTC)
IDS = ["a-1", "a-2", "leg-1"]


def row(rng: random.Random, channel: str) -> bytes:
    at = f"{START.timestamp() + rng.randrange(3600):.3f}"
    kind = rng.choice(("CHAN_START", "ANSWER", "BRIDGE_ENTER", "HANGUP", "CHAN_END", "DialerStage"))
    extra = rng.choice(
        (
            json.dumps({"hangupcause": rng.choice((16, 17, -1, True, "x", 10**30))}),
            json.dumps({"bridge_id": text(rng), "bridge_technology": "simple_bridge"}),
            json.dumps(value(rng)), "[" * 5000, "{", text(rng), "9" * 6000,
        )
    )  # fmt: skip
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([at, kind, channel, extra, ""])
    return out.getvalue().encode("utf-8", "replace")


@pytest.mark.parametrize("seconds", SECONDS)
async def test_records(seconds: float, tmp_path: Path) -> None:
    found = 0
    file = tmp_path / "cel.csv"
    for rng in rounds("cel", seconds):
        lines = [row(rng, rng.choice([*IDS, "other", text(rng, most=10)])) for _ in range(40)]
        lines = [line if rng.random() < 0.8 else mutated(rng, line) for line in lines]
        file.write_bytes(b"".join(lines))
        records = await CelFiles([file]).find(IDS, since=START)
        assert records.keys() <= set(IDS)
        for record in records.values():
            assert isinstance(record, CallRecord)
            assert 0 <= record.cause < 128
            assert len(record.leg_id) <= 100 and all(len(s) <= 20 for s in record.stages)
        found += len(records)
    assert found > 50


async def test_the_end_of_an_over_long_line_is_no_line(tmp_path: Path) -> None:
    """Or whoever can lengthen a line could write records of their own."""
    forged = f"{START.timestamp()},ANSWER,a-1,\n".encode()
    file = tmp_path / "cel.csv"
    for filler in (16 * 1024, 32 * 1024, 16 * 1024 * 3):
        file.write_bytes(b"x" * filler + forged)
        assert await CelFiles([file]).find(["a-1"], since=START) == {}
    file.write_bytes(b"x" * 16 * 1024 + forged + forged)
    assert (await CelFiles([file]).find(["a-1"], since=START)).keys() == {"a-1"}
