"""Files and uploads with anything in them: each row is taken as it is or named with a reason."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest

from api.cli.work import rows_of
from tests.lab.fuzz import SECONDS, mutated, rounds, text, value
from tests.unit.api.house import House, open_house

pytestmark = pytest.mark.unit

_FIELDS = ["number", "name", "external_key", "zone", "consent", "attributes", "surprise"]
_REFUSALS = (ValueError, csv.Error)


def some_row(rng: random.Random, count: int) -> Any:
    if rng.random() < 0.1:
        return value(rng)
    row: dict[str, Any] = {"number": f"+1212555{count % 10_000:04d}", "name": text(rng)}
    for name in rng.sample(_FIELDS, rng.randrange(4)):
        row[name] = rng.choice((text(rng), value(rng), {text(rng, most=70): value(rng)}))
    return row


def deep(rng: random.Random) -> bytes:
    depth = rng.choice((200, 5000, 60_000))
    return b'{"name": "l", "leads": ' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize("seconds", SECONDS)
async def test_uploads(seconds: float, tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        made = await house.call("POST", "/campaigns", json={"name": "a"})
        path = f"/campaigns/{made.json()['id']}/leads"
        accepted = count = 0
        for rng in rounds("upload", seconds, least=8):
            rows = [some_row(rng, count + n) for n in range(rng.randrange(12))]
            count += len(rows)
            body = whole = json.dumps({"name": "l", "leads": rows}).encode()
            if rng.random() < 0.2:
                body = deep(rng) if rng.random() < 0.3 else mutated(rng, body)
            answer = await send(house, path, body)
            if answer.status_code == 201:
                done = answer.json()
                if body == whole:
                    assert done["accepted"] + len(done["rejected"]) == len(rows)
                accepted += done["accepted"]
                assert len(answer.content) < 20 * len(body) + 2000, (
                    "an answer that outgrows its question"
                )
        assert accepted > 2
        await as_they_came(house)


async def send(house: House, path: str, body: bytes) -> Any:
    answer = await house.call(
        "POST", path, content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (201, 400, 413, 422), (answer.status_code, answer.text[:300])
    return answer


async def as_they_came(house: House) -> None:
    """What looks like a formula is text like any other, here and in the answer; nothing that could
    be more than text was taken."""
    cursor = ""
    while True:
        page = (await house.call("GET", f"/customers?limit=100{cursor}")).json()
        for person in page["items"]:
            assert not any(ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 for c in person["name"])
            assert len(person["name"]) <= 200
        if page["next"] is None:
            return
        cursor = f"&cursor={page['next']}"


@pytest.mark.parametrize("seconds", SECONDS)
def test_files(seconds: float, tmp_path: Path) -> None:
    read = 0
    for rng in rounds("file", seconds):
        kind = rng.choice(("csv", "json"))
        file = tmp_path / f"people.{kind}"
        plain = rng.random() < 0.5  # else no round would get as far as its second line
        words = [f"{rng.choice('=+@-')}SUM(A{n})" if plain else text(rng) for n in range(8)]
        if kind == "json":
            rows = [{"number": f"+1212555{n:04d}", "name": word} for n, word in enumerate(words)]
            data = json.dumps(rows if plain else [some_row(rng, n) for n in range(8)]).encode()
        else:
            lines = [f'+1212555{n:04d},{word},"{word}"' for n, word in enumerate(words)]
            data = "\n".join(["number,name,plan", *lines]).encode("utf-8", "surrogatepass")
        file.write_bytes(data if rng.random() < 0.5 else mutated(rng, data))
        try:
            read += len(rows_of(file))
        except _REFUSALS:
            continue
    assert read > 20
