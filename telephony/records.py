"""What Asterisk itself wrote down about calls (CEL), for reconciliation after a crash.

The events of a call are complete once its CHAN_END is there; cells are read as untrusted text.
"""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from telephony.events import CallEnd
from telephony.outcomes import classify

#: Read at most this much from the end of a file: crashes concern the last minutes.
_MOST = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call as Asterisk's records tell it."""

    answered_at: datetime | None
    ended_at: datetime | None
    end: CallEnd | None
    cause: int
    tech_cause: str
    bridged: bool
    message_played: bool
    opted_out: bool
    stages: tuple[str, ...]


class CallRecords(Protocol):
    """Finds ended calls by their ids; calls still alive or never seen are not in the answer."""

    async def find(self, ids: Sequence[str], *, since: datetime) -> Mapping[str, CallRecord]: ...


@dataclass(slots=True)
class _Seen:
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    cause: int = 0
    source: str = ""
    bridged: bool = False
    stages: list[str] = field(default_factory=list)
    ended: bool = False


class CelFiles:
    """Reads `cel-custom/dialer.csv` of each node, as written by our templates."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._files = tuple(files)

    async def find(self, ids: Sequence[str], *, since: datetime) -> Mapping[str, CallRecord]:
        return await asyncio.to_thread(self._find, frozenset(ids))

    def _find(self, ids: frozenset[str]) -> dict[str, CallRecord]:
        seen: dict[str, _Seen] = {}
        for path in self._files:
            if not path.exists():
                continue
            with path.open("rb") as raw:
                size = raw.seek(0, 2)
                raw.seek(max(size - _MOST, 0))
                text = raw.read().decode("utf-8", "replace")
            for row in csv.reader(text.splitlines()):
                if len(row) >= 4 and row[2] in ids:
                    _note(seen.setdefault(row[2], _Seen()), row)
        return {key: _record(value) for key, value in seen.items() if value.ended}


def _note(call: _Seen, row: Sequence[str]) -> None:
    try:
        at = datetime.fromtimestamp(float(row[0]), UTC)
    except (ValueError, OverflowError, OSError):
        return
    kind = row[1]
    try:
        extra = json.loads(row[3]) if row[3] else {}
    except ValueError:
        extra = {}
    if not isinstance(extra, dict):
        extra = {}
    if kind == "ANSWER":
        call.answered_at = call.answered_at or at
    elif kind == "BRIDGE_ENTER":
        call.bridged = call.bridged or extra.get("bridge_technology") != "holding_bridge"
    elif kind == "DialerStage":
        call.stages.append(str(extra.get("extra", ""))[:20])
    elif kind == "HANGUP":
        cause = extra.get("hangupcause")
        call.cause = cause if isinstance(cause, int) else 0
        call.source = str(extra.get("hangupsource", ""))
    elif kind == "CHAN_END":
        call.ended, call.ended_at = True, at


def _record(call: _Seen) -> CallRecord:
    answered = call.answered_at is not None
    end = classify(
        answered=answered,
        hung_up_by_us=not call.source,
        cancelled=not answered and call.cause in (0, 16),
        cause=call.cause,
        tech_cause="",
        reason="",
    )
    return CallRecord(
        answered_at=call.answered_at,
        ended_at=call.ended_at,
        end=end,
        cause=call.cause,
        tech_cause="",
        bridged=call.bridged,
        message_played="message" in call.stages,
        opted_out="optout" in call.stages,
        stages=tuple(call.stages),
    )
