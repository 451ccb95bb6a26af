"""The live figures as a board reads them: lenient about what it does not know or does not get.

A board outlives the dialer's restarts and updates, so a missing or a new field must not end it; and
what it shows goes to a terminal, so text is cleaned of everything that a terminal would obey.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_MOST_TEXT = 200


def clean(text: object) -> str:
    """`text` without control characters, line ends, direction marks and unpaired surrogates."""
    found = unicodedata.normalize("NFC", str(text)[: _MOST_TEXT * 4])
    kept = "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in _UNSHOWN else c for c in found
    )
    return kept[:_MOST_TEXT]


_UNSHOWN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def _whole(value: object) -> int:
    if isinstance(value, (int, float)) and value == value and abs(value) < 1e15:
        return max(int(value), 0)
    return 0


def _number(value: object) -> float | None:
    if isinstance(value, (int, float)) and value == value and abs(value) < 1e15:
        return float(value)
    return None


def _some(value: object) -> float:
    return _number(value) or 0.0


def _counts(value: object) -> dict[str, int]:
    if not isinstance(value, dict):
        return {}
    counts: Counter[str] = Counter()
    for key, count in value.items():
        counts[clean(key)] += _whole(count)
    return {key: count for key, count in counts.items() if count}


def _each(value: object) -> list[Any]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _instant(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


Text = Annotated[str, BeforeValidator(clean)]
Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[float | None, BeforeValidator(_number)]
Some = Annotated[float, BeforeValidator(_some)]
Counts = Annotated[dict[str, int], BeforeValidator(_counts)]
Flag = Annotated[bool, BeforeValidator(lambda value: value is True)]
Instant = Annotated[datetime | None, BeforeValidator(_instant)]


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Decision(_Lenient):
    calls: Whole = 0
    reason: Text = ""


class Met(_Lenient):
    """A person who answered."""

    call: Text = ""
    at: Instant = None
    agent: Text = ""
    outcome: Text = ""
    waited: Some = 0.0
    talked: Some = 0.0


class Campaign(_Lenient):
    id: Text = ""
    name: Text = ""
    state: Text = ""
    reason: Text = ""
    mode: Text = ""
    outcomes: Counts = Field(default_factory=dict)
    attempts: Whole = 0
    live_answers: Whole = 0
    abandoned: Whole = 0
    abandon_low: Some = 0.0
    abandon_high: Some = 0.0
    abandon_cap: Some = 0.0
    abandon_hours: Some = 0.0
    leads: Counts = Field(default_factory=dict)
    next_due: Instant = None
    recent: Annotated[tuple[Met, ...], BeforeValidator(_each)] = ()
    calls_per_minute: Whole = 0
    decision: Annotated[Decision, BeforeValidator(_mapping)] = Decision()

    @property
    def rate(self) -> float | None:
        """Abandoned of live answers; None before the first one."""
        return self.abandoned / self.live_answers if self.live_answers else None

    @property
    def done(self) -> tuple[int, int]:
        """(leads nothing follows for, all leads)."""
        leads = self.leads
        return leads.get("done", 0) + leads.get("blocked", 0), leads.get("total", 0)

    @property
    def finished(self) -> bool:
        return self.state == "finished"


class Trunk(_Lenient):
    name: Text = ""
    node: Text = ""
    up: Flag = False
    lines: Whole = 0
    used: Whole = 0
    breaker: Text = ""
    reason: Text = ""


class Node(_Lenient):
    name: Text = ""
    up: Flag = False


class Percentiles(_Lenient):
    p50: Number = None
    p99: Number = None


class Waiting(_Lenient):
    persons: Whole = 0
    longest: Some = 0.0


class Figures(_Lenient):
    """One pool's, or several pools' together."""

    at: Instant = None
    pool: Text = ""
    agents: Counts = Field(default_factory=dict)
    longest: Annotated[dict[str, Some], BeforeValidator(_mapping)] = Field(default_factory=dict)
    calls: Counts = Field(default_factory=dict)
    waiting: Annotated[Waiting, BeforeValidator(_mapping)] = Waiting()
    occupancy: Number = None
    campaigns: Annotated[tuple[Campaign, ...], BeforeValidator(_each)] = ()
    trunks: Annotated[tuple[Trunk, ...], BeforeValidator(_each)] = ()
    nodes: Annotated[tuple[Node, ...], BeforeValidator(_each)] = ()
    calls_per_minute: Whole = 0
    answer_to_bridge_ms: Annotated[Percentiles, BeforeValidator(_mapping)] = Percentiles()


def merged(pools: Iterable[Figures]) -> Figures | None:
    """All pools on one board. Trunks and nodes are those of the process, the same in each; of
    times, the worst one is shown."""
    found = list(pools)
    if len(found) < 2:
        return found[0] if found else None
    newest = max(found, key=lambda f: f.at.timestamp() if f.at else 0.0)
    agents, calls = Counter[str](), Counter[str]()
    longest: dict[str, float] = {}
    for figures in found:
        agents.update(figures.agents)
        calls.update(figures.calls)
        for state, seconds in figures.longest.items():
            longest[state] = max(longest.get(state, 0.0), seconds)
    staffed = [(sum(f.agents.values()), f.occupancy) for f in found if f.occupancy is not None]
    people = sum(count for count, _ in staffed)
    return newest.model_copy(
        update={
            "agents": dict(agents),
            "calls": dict(calls),
            "longest": longest,
            "waiting": Waiting(
                persons=sum(f.waiting.persons for f in found),
                longest=max(f.waiting.longest for f in found),
            ),
            "occupancy": sum(n * share for n, share in staffed) / people if people else None,
            "campaigns": tuple(c for f in found for c in f.campaigns),
            "calls_per_minute": sum(f.calls_per_minute for f in found),
            "answer_to_bridge_ms": Percentiles(
                p50=_worst(f.answer_to_bridge_ms.p50 for f in found),
                p99=_worst(f.answer_to_bridge_ms.p99 for f in found),
            ),
        }
    )


def _worst(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
