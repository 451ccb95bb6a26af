"""What Asterisk itself wrote down about calls (CEL), for reconciliation after a crash.

The events of a call are complete once its CHAN_END is there; cells are read as untrusted text. The
files only grow and are in the order of time, so reading begins where the time asked for begins.
Where a call's beginning is not found from there on, somebody stepped a clock (theirs or ours), and
the newest part of the file is read whatever times it tells.
"""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Protocol

from telephony.events import CallEnd
from telephony.outcomes import classify

_MOST_LINE = 16 * 1024  # bytes; an honest line has a few hundred
_SLACK = timedelta(minutes=2)  # lines of one moment are not quite in order, clocks get stepped
_MOST_ID = 100  # characters of an id that are kept
_NEWEST = 8 * 1024 * 1024  # bytes read whatever the times in it: some 15,000 calls
_NEAR = 64 * 1024  # bytes; closer than this the search stops and reading begins


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call as Asterisk's records tell it.

    `ended_at` and `end` are None while it lives, and for ever where Asterisk died with it.
    """

    answered_at: datetime | None
    ended_at: datetime | None
    end: CallEnd | None
    cause: int
    tech_cause: str
    bridged: bool  # with an agent's leg or another channel, at any time
    leg_id: str  # the last leg it was in one bridge with, '' = none
    message_played: bool
    opted_out: bool
    stages: tuple[str, ...]


class CallRecords(Protocol):
    """Finds calls by their ids; those never seen are not in the answer. `since` tells where to
    look first: by a clock that may be another one, so nothing is left out because of it."""

    async def find(self, ids: Sequence[str], *, since: datetime) -> Mapping[str, CallRecord]: ...


@dataclass(slots=True)
class _Seen:
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    cause: int = 0
    source: str = ""
    bridges: list[str] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    begun: bool = False  # its first line was read


class CelFiles:
    """Reads `cel-custom/dialer.csv` of each node, as written by our templates, in a thread."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._files = tuple(files)

    async def find(self, ids: Sequence[str], *, since: datetime) -> Mapping[str, CallRecord]:
        return await asyncio.to_thread(self._find, frozenset(ids), (since - _SLACK).timestamp())

    def _find(self, ids: frozenset[str], since: float) -> dict[str, CallRecord]:
        found, begun = self._read_all(ids, lambda file: _start(file, since))
        if lacking := ids - begun:
            newest, _ = self._read_all(lacking, lambda f: min(_start(f, since), _newest(f)))
            found |= newest
        return found

    def _read_all(
        self, ids: frozenset[str], start: Callable[[BinaryIO], int]
    ) -> tuple[dict[str, CallRecord], frozenset[str]]:
        """The calls found, each file read from where `start` says, and those with a beginning."""
        found: dict[str, CallRecord] = {}
        begun: set[str] = set()
        for path in self._files:
            try:
                with path.open("rb") as file:
                    seen, legs = _read(file, start(file), ids)
            except FileNotFoundError:
                continue  # nothing was written yet
            found |= {key: _record(value, legs) for key, value in seen.items()}
            begun.update(key for key, value in seen.items() if value.begun)
        return found, frozenset(begun)


def _read(
    file: BinaryIO, start: int, ids: frozenset[str]
) -> tuple[dict[str, _Seen], dict[str, str]]:
    """What stands in the file from `start` on of these calls, and the leg of each bridge."""
    seen: dict[str, _Seen] = {}
    legs: dict[str, str] = {}
    for row in _rows(file, start):
        if row[2] in ids:
            _note(seen.setdefault(row[2], _Seen()), row)
        if row[1] == "BRIDGE_ENTER" and row[2].startswith("leg-"):
            legs[_bridge(row)] = row[2][:_MOST_ID]
    return seen, legs


def _newest(file: BinaryIO) -> int:
    """Where the newest part of the file begins, at a line's beginning."""
    place = max(file.seek(0, 2) - _NEWEST, 0)
    if place:
        file.seek(place)
        file.readline(_MOST_LINE)
        place = file.tell()
    return place


def _rows(file: BinaryIO, start: int) -> Iterator[list[str]]:
    """The well-formed rows from this place on, where a line begins."""
    file.seek(start)
    whole = True  # the last line was read to its end: the rest of an over-long one is no line
    while line := file.readline(_MOST_LINE):
        row = _parse(line) if whole else None
        whole = line.endswith(b"\n")
        if row is not None:
            yield row


def _start(file: BinaryIO, since: float) -> int:
    """A place in the file before which all lines are older than `since`."""
    low, high = 0, file.seek(0, 2)
    while high - low > _NEAR:
        middle = (low + high) // 2
        at = _time_after(file, middle, high)
        if at is not None and at < since:
            low = middle
        else:
            high = middle
    if low:
        file.seek(low)
        file.readline(_MOST_LINE)  # the rest of a line
        return file.tell()
    return 0


def _time_after(file: BinaryIO, place: int, limit: int) -> float | None:
    """The time of the first well-formed line that begins between `place` and `limit`."""
    file.seek(place)
    file.readline(_MOST_LINE)
    while file.tell() < limit and (line := file.readline(_MOST_LINE)):
        row = _parse(line)
        if row is not None:
            return float(row[0])
    return None


def _parse(line: bytes) -> list[str] | None:
    """One line's cells: (time, event, id, extra, ...), or None for what Asterisk did not write."""
    if not line.endswith(b"\n"):
        return None  # over-long, or still being written
    try:
        row = next(csv.reader([line.decode("utf-8", "replace")]), [])
        if len(row) < 4 or not 0 < float(row[0]) < 1e11:
            return None
    except (csv.Error, ValueError):
        return None
    return row


def _extra(row: Sequence[str]) -> dict[str, object]:
    try:
        extra = json.loads(row[3]) if row[3] else {}
    except (ValueError, RecursionError):
        return {}
    return extra if isinstance(extra, dict) else {}


def _bridge(row: Sequence[str]) -> str:
    """The bridge entered, '' for one in which legs park."""
    extra = _extra(row)
    holding = extra.get("bridge_technology") == "holding_bridge"
    return "" if holding else str(extra.get("bridge_id", "?"))[:_MOST_ID]


def _far_end(row: Sequence[str], source: str) -> str:
    """Who hung up, if it was this channel's far end. The source may be the other channel in its
    bridge: an agent's phone that hung up is our side. (Lines written before the channel's own name
    was part of them do not say.)"""
    own = row[5] if len(row) > 5 else source
    return source if source == own else ""


def _note(call: _Seen, row: Sequence[str]) -> None:
    at = datetime.fromtimestamp(float(row[0]), UTC)
    kind, extra = row[1], _extra(row)
    if kind == "CHAN_START":
        call.begun = True
    elif kind == "ANSWER":
        call.answered_at = call.answered_at or at
    elif kind == "BRIDGE_ENTER":
        if bridge := _bridge(row):
            call.bridges.append(bridge)
    elif kind == "DialerStage":
        call.stages.append(str(extra.get("extra", ""))[:20])
    elif kind == "HANGUP":
        cause = extra.get("hangupcause")
        call.cause = cause if isinstance(cause, int) and 0 <= cause < 128 else 0
        call.source = _far_end(row, str(extra.get("hangupsource", "")))
    elif kind == "CHAN_END":
        call.ended_at = at


def _record(call: _Seen, legs: Mapping[str, str]) -> CallRecord:
    answered = call.answered_at is not None
    end = classify(
        answered=answered,
        hung_up_by_us=not call.source,
        cancelled=not answered and call.cause in (0, 16),
        cause=call.cause,
        tech_cause="",
        reason="",
    )
    met = [legs[bridge] for bridge in call.bridges if bridge in legs]
    return CallRecord(
        answered_at=call.answered_at,
        ended_at=call.ended_at,
        end=end if call.ended_at is not None else None,
        cause=call.cause,
        tech_cause="",
        bridged=bool(call.bridges),
        leg_id=met[-1] if met else "",
        message_played="message" in call.stages,
        opted_out="optout" in call.stages,
        stages=tuple(call.stages),
    )
