"""Hostile input by the thousand, the same in every run: seeded, and for as long as one says.

A failure names its round; `DIALER_FUZZ_ROUND=<name>` runs that one alone.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator

import pytest

#: Seconds of each fuzzer: a moment in `make test`, longer in `make test-full`.
SECONDS = [pytest.param(0.8, id="short"), pytest.param(40.0, id="long", marks=pytest.mark.full)]


def rounds(name: str, seconds: float, *, least: int = 20) -> Iterator[random.Random]:
    """Generators of chance, one for each round, until the time is over."""
    if only := os.environ.get("DIALER_FUZZ_ROUND"):
        if only.startswith(f"{name}-"):
            yield random.Random(only)
        return
    begun, number = time.monotonic(), 0
    while number < least or time.monotonic() - begun < seconds:
        label = f"{name}-{number}"
        try:
            yield random.Random(label)
        except GeneratorExit:
            print(f"fuzz: failed in round {label}")
            raise
        number += 1


_BAD = [
    "\x00", "\r\n", "\n", "\t", "\x1b[2J", "\ud800", "\udfff", "\u2028", "\u202e", "é", "中", "🙂",
    "=cmd|' /C calc'!A0", "+1+1", "-2", "@SUM(1)", '"', "'", ",", ";", "\\", "${SHELL(id)}", "%00",
    "<script>", "../../etc/passwd", "NaN", "1e999", "-1", "٣٤٥", "\uff14\uff18\uff16",
]  # fmt: skip


def text(rng: random.Random, *, most: int = 60) -> str:
    """Anything that may be called text, and some that may not."""
    kind = rng.random()
    if kind < 0.4:
        return "".join(rng.choice("abcXYZ 0123456789+-_.@:/") for _ in range(rng.randrange(most)))
    if kind < 0.5:
        return rng.choice(_BAD) * rng.choice((1, 2, 50, 3000))
    return "".join(
        rng.choice(_BAD) if rng.random() < 0.3 else chr(rng.randrange(0x20, 0x2FFF))
        for _ in range(rng.randrange(most))
    )


def value(rng: random.Random, depth: int = 0) -> object:
    """Anything JSON may hold."""
    kind = rng.randrange(9 if depth < 4 else 7)
    if kind == 7:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 8:
        return {text(rng, most=12): value(rng, depth + 1) for _ in range(rng.randrange(4))}
    return [
        None, True, rng.choice((0, -1, 2**31, 2**53, 2**63, -(2**64), 10**40)),
        rng.choice((0.5, -1e308, 1e-320)), text(rng), text(rng, most=400), "",
    ][kind]  # fmt: skip


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Bytes with some of them changed, lost, doubled, moved or foreign."""
    out = bytearray(data)
    for _ in range(rng.randrange(6)):
        at = rng.randrange(len(out) + 1)
        kind = rng.randrange(6)
        if kind == 0 and out:
            out[at % len(out)] = rng.randrange(256)
        elif kind == 1:
            del out[at : at + rng.randrange(40)]
        elif kind == 2:
            out[at:at] = out[at : at + rng.randrange(200)]
        elif kind == 3:
            out[at:at] = rng.randbytes(rng.randrange(30))
        elif kind == 4:
            meaning = (b"\r\n", b"\r\n\r\n", b"\n", b"\x00", b": ", b"\xff\xfe", b'"')
            out[at:at] = rng.choice(meaning)
        else:
            out[at:at] = b"x" * rng.choice((10, 5000, 300_000))
    return bytes(out)
