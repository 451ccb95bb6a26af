"""What a bench prints: one JSON object a line, and the process figures behind it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from math import ceil
from pathlib import Path

from tests.lab.public import PublicCall
from tests.lab.verdict import Record, same_story

_TICK = os.sysconf("SC_CLK_TCK")


def line(
    bench: str,
    metric: str,
    value: float,
    unit: str,
    *,
    goal: str = "",
    baseline: float | None = None,
    ok: bool | None = None,
) -> bool:
    """Print one figure. `goal` is words; `ok` says whether it is met, None where nothing is asked.
    Returns whether nothing was missed."""
    print(
        json.dumps(
            {
                "bench": bench,
                "metric": metric,
                "value": round(value, 4),
                "unit": unit,
                "goal": goal or None,
                "baseline": None if baseline is None else round(baseline, 4),
                "ok": ok,
                "load": round(os.getloadavg()[0], 2),
            }
        ),
        flush=True,
    )
    return ok is not False


def agree(bench: str, records: Iterable[Record], truth: Iterable[PublicCall]) -> bool:
    """Print whether the records tell what SIPp's log tells, and where they first differ."""
    try:
        same_story(records, truth)
    except AssertionError as error:
        say(f"records and SIPp's log differ: {error}")
        return line(bench, "records agree with SIPp's log", 0, "", goal="1", ok=False)
    return line(bench, "records agree with SIPp's log", 1, "", goal="1", ok=True)


def say(text: str) -> None:
    """Progress, beside the figures."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed (nearest rank); raises ValueError."""
    if not values or not 0 < share <= 1:
        raise ValueError(f"expected values and a share in (0, 1], got {len(values)}, {share}")
    ordered = sorted(values)
    return ordered[max(ceil(len(ordered) * share), 1) - 1]


def bucket_percentile(buckets: Iterable[tuple[float, float]], share: float) -> float:
    """The upper bound of the percentile's bucket. `buckets`: (upper bound, cumulative count)."""
    ordered = sorted(buckets)
    total = ordered[-1][1] if ordered else 0.0
    if total <= 0:
        raise ValueError("no values")
    return next(bound for bound, count in ordered if count >= share * total)


def processor_seconds(pid: int, *, children: bool = False) -> float:
    """User and system time of a process so far; `children`: with those it has and had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = sum(int(fields[i]) for i in ((11, 12, 13, 14) if children else (11, 12)))
    total = own / _TICK
    if children:
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            try:
                total += processor_seconds(int(child))
            except FileNotFoundError:
                continue  # it has just ended: the parent has its time now
    return total
