"""What a stretch of the real campaign came to, by the dialer's records, SIPp's log, the screens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dialer.domain.agent import BUSY, AgentState
from dialer.domain.call import Outcome
from tests.bench.predictive_report.people import Person
from tests.lab.drawn import index_of, seconds_of
from tests.lab.public import PublicCall

Row = Mapping[str, Any]
_BUSY = frozenset(state.value for state in BUSY)
_READY = AgentState.READY.value


@dataclass(frozen=True, slots=True)
class Stretch:
    """From and to, by the calendar and by the monotonic clock of this machine, s."""

    start: datetime
    end: datetime
    begun: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.begun


@dataclass(frozen=True, slots=True)
class Figures:
    """Of a stretch. Shares, and counts of people whom agents met or nobody met."""

    occupancy: float
    idle: float  # ready s per connected person
    answers: int
    abandoned: int
    calls: int
    waited: float  # mean s from answer to agent, of those who met one
    agents: float  # at work or ready, on average

    @property
    def abandon_rate(self) -> float:
        return self.abandoned / max(self.answers, 1)


def recorded(attempts: Iterable[Row], intervals: Iterable[Row], of: Stretch) -> Figures:
    """By the dialer's own records."""
    busy, ready = occupied(
        ((r["started_at"], r["ended_at"], r["state"]) for r in intervals), of.start, of.end
    )
    connected = gone = calls = 0
    waited = 0.0
    for row in attempts:
        calls += _within(row["sent_at"], of)
        if _within(row["connected_at"], of):
            connected += 1
            waited += (row["connected_at"] - row["answered_at"]).total_seconds()
        gone += row["outcome"] == Outcome.ABANDONED.value and _within(row["answered_at"], of)
    return Figures(
        occupancy=busy / max(busy + ready, 1e-9), idle=ready / max(connected, 1),
        answers=connected + gone, abandoned=gone, calls=calls, waited=waited / max(connected, 1),
        agents=(busy + ready) / of.seconds,
    )  # fmt: skip


def occupied(
    stretches: Iterable[tuple[Any, Any, str]], start: datetime, end: datetime
) -> tuple[float, float]:
    """Agent-seconds at work and ready between `start` and `end`."""
    busy = ready = 0.0
    for began, over, state in stretches:
        seconds = (min(over, end) - max(began, start)).total_seconds()
        if seconds > 0:
            busy += seconds if state in _BUSY else 0.0
            ready += seconds if state == _READY else 0.0
    return busy, ready


def on_screens(states: Iterable[Sequence[tuple[float, str]]], of: Stretch) -> float:
    """Occupancy as the agents' screens were told it; `states` of each agent, in order."""
    busy = ready = 0.0
    for mine in states:
        ends = [at for at, _ in mine[1:]] + [of.ended]
        for (began, state), over in zip(mine, ends, strict=True):
            seconds = max(min(over, of.ended) - max(began, of.begun), 0.0)
            busy += seconds if state in _BUSY else 0.0
            ready += seconds if state == _READY else 0.0
    return busy / max(busy + ready, 1e-9)


def heard(
    truth: Iterable[PublicCall], met: frozenset[str], *, within: frozenset[str]
) -> tuple[int, int]:
    """By SIPp's log: how many of the numbers `within` picked up, and how many of those no agent's
    screen said to be connected (`met`)."""
    picked = {call.number for call in truth if call.answered} & within
    return len(picked), len(picked - met)


def numbers_in(attempts: Iterable[Row], of: Stretch) -> frozenset[str]:
    """Who answered in the stretch, or met nobody in it."""
    return frozenset(r["number"] for r in attempts if _within(r["answered_at"], of))


def delays(attempts: Iterable[Row], people: Sequence[Person], wraps: Mapping[Any, float],
           of: Stretch) -> dict[str, float]:  # fmt: skip
    """Mean s that the real system needs beyond what was drawn, by what it needs it for. `wraps`:
    wrap-up as recorded, by attempt."""
    sums: dict[str, list[float]] = {}
    for row in attempts:
        if not _within(row["sent_at"], of):
            continue
        person = people[index_of(row["number"])]
        _add(sums, "decided to sent", row["intended_at"], row["sent_at"], 0.0)
        _add(sums, "sent to ringing", row["sent_at"], row["ringing_at"], 0.0)
        asked = seconds_of(row["number"])
        _add(sums, "sent to answered", row["sent_at"], row["answered_at"], asked)
        if row["outcome"] == Outcome.BUSY.value:
            _add(sums, "sent to busy", row["sent_at"], row["ended_at"], asked)
        if row["outcome"] == Outcome.ENDED_BY_AGENT.value:
            _add(sums, "talk", row["connected_at"], row["ended_at"], person.talk)
        if (wrap := wraps.get(row["id"])) is not None:
            sums.setdefault("wrap-up", []).append(wrap - person.wrap)
    return {what: sum(values) / len(values) for what, values in sums.items()}


def _add(sums: dict[str, list[float]], what: str, start: Any, end: Any, asked: float) -> None:
    if start is not None and end is not None:
        sums.setdefault(what, []).append((end - start).total_seconds() - asked)


def _within(at: datetime | None, of: Stretch) -> bool:
    return at is not None and of.start <= at < of.end
