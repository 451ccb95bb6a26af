"""How many calls to place now: preview, manual, progressive and fixed ratio, all rows in one call.

Progressive places one call per free agent and counts those already under way. Fixed ratio places
`ratio` calls per free agent, at most `ratio_cap`; when more calls were abandoned than the target
allows it falls back to one per agent until the rate recovers. Shared trunks are divided fairly.
"""

from __future__ import annotations

import numpy as np

from pacing.decision import Binding, Decision
from pacing.state import Floats, Ints, Mode, PacingInput

_KNOWN = (Mode.PREVIEW, Mode.MANUAL, Mode.PROGRESSIVE, Mode.RATIO)
_LEAST_ANSWERS = 20  # below this many live answers a rate says nothing


def pace(given: PacingInput) -> Decision:
    """Decide for every row.

    Raises ValueError for a mode that has no engine. Never places calls without a free agent, nor
    above leads, lines or rate; values that make no sense (negative, not finite) count as zero.
    """
    mode = given.mode
    if not np.isin(mode, np.array(_KNOWN)).all():
        raise ValueError(f"expected modes {[m.name for m in _KNOWN]}, got {mode.tolist()}")
    free = np.maximum(given.agents_free, 0)
    flight = np.maximum(given.in_flight, 0) + np.maximum(given.analysing, 0)
    flight = flight + np.maximum(given.waiting, 0)
    assisted = (mode == Mode.PREVIEW) | (mode == Mode.MANUAL)
    spent = over_budget(given) & (mode == Mode.RATIO)
    ratio = np.where((mode == Mode.RATIO) & ~spent, _ratio(given), 1.0)
    goal = np.floor(free * ratio + 1e-9).astype(np.int64)
    wanted = np.where(assisted | (free == 0), 0, np.maximum(goal - flight, 0))
    binding = np.full(given.rows, int(Binding.AGENTS), dtype=np.int64)
    binding[spent] = Binding.BUDGET
    binding[free == 0] = Binding.NO_AGENTS
    binding[assisted] = Binding.MODE
    calls = np.minimum(wanted, np.maximum(given.leads, 0))
    binding[calls < wanted] = Binding.LEADS
    calls, binding = _trunks(given, calls, binding)
    return Decision(
        calls=calls,
        cancel=np.zeros(len(given.ringing.row), dtype=np.bool_),
        binding=binding,
        wanted=wanted,
        inputs=given,
    )


def over_budget(given: PacingInput) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Rows whose abandon rate is above target, once there are enough answers to tell."""
    live = np.maximum(given.live_answers, 0)
    target = np.clip(np.nan_to_num(given.target_abandon, nan=0.0), 0.0, 1.0)
    return (live >= _LEAST_ANSWERS) & (np.maximum(given.abandoned, 0) > target * live)


def _ratio(given: PacingInput) -> Floats:
    cap = np.nan_to_num(given.ratio_cap, nan=1.0, posinf=10.0, neginf=1.0)
    ratio = np.nan_to_num(given.ratio, nan=1.0, posinf=1.0, neginf=1.0)
    return np.clip(ratio, 1.0, np.clip(cap, 1.0, 10.0))


def _trunks(given: PacingInput, calls: Ints, binding: Ints) -> tuple[Ints, Ints]:
    """Divide free lines and calls-per-second tokens among the rows that share trunks."""
    trunks = given.trunks
    if len(trunks.row) == 0:
        zero = np.zeros_like(calls)
        binding[calls > 0] = Binding.LINES
        return zero, binding
    count = len(trunks.lines)
    lines = np.floor(np.clip(np.nan_to_num(trunks.lines, nan=0.0), 0, 1e9))
    tokens = np.floor(np.clip(np.nan_to_num(trunks.tokens, nan=0.0), 0, 1e9))
    room = np.minimum(lines, tokens)
    # A row that may use several trunks spreads over them in proportion to their room.
    pair_room = room[trunks.trunk]
    row_room = np.bincount(trunks.row, weights=pair_room, minlength=given.rows)
    weight = np.divide(
        pair_room, row_room[trunks.row], out=np.zeros_like(pair_room),
        where=row_room[trunks.row] > 0,
    )  # fmt: skip
    demand = calls[trunks.row] * weight
    asked = np.bincount(trunks.trunk, weights=demand, minlength=count)
    share = np.divide(room, asked, out=np.ones(count), where=asked > room)
    exact = np.bincount(trunks.row, weights=demand * share[trunks.trunk], minlength=given.rows)[
        : given.rows
    ]
    granted = np.minimum(np.floor(exact + 1e-9).astype(np.int64), calls)
    granted = _largest_remainders(granted, exact.astype(np.float64), calls, int(room.sum()))
    short = granted < calls
    no_lines = np.bincount(trunks.row, weights=lines[trunks.trunk], minlength=given.rows)
    no_tokens = np.bincount(trunks.row, weights=tokens[trunks.trunk], minlength=given.rows)
    binding = np.where(
        short, np.where(no_lines <= no_tokens, int(Binding.LINES), int(Binding.RATE)), binding
    )
    return granted, binding


def _largest_remainders(granted: Ints, exact: Floats, calls: Ints, room: int) -> Ints:
    """Hand out what rounding left over, largest remainder first."""
    left = min(round(float(exact.sum())), room) - int(granted.sum())
    if left <= 0:
        return granted
    remainder = np.where(granted < calls, exact - granted, -1.0)
    order = np.argsort(-remainder, kind="stable")[:left]
    granted = granted.copy()
    granted[order] += (remainder[order] > 1e-9).astype(np.int64)
    return granted
