"""The pool as pacing sees it: rows and arrays built from the engine's state once a tick."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np

from dialer.domain.agent import AgentState
from dialer.domain.call import CallState
from dialer.domain.campaign import DialMode
from dialer.engine.agents import AgentDesk
from dialer.engine.calls import CallDesk
from dialer.engine.lines import Lines
from dialer.engine.state import Agent, Campaign
from pacing.state import Mode, PacingInput, Ragged, Signal, Trunks
from telephony.events import Progress

_MODES = {
    DialMode.PREVIEW: Mode.PREVIEW,
    DialMode.MANUAL: Mode.MANUAL,
    DialMode.PROGRESSIVE: Mode.PROGRESSIVE,
    DialMode.RATIO: Mode.RATIO,
}
_SIGNALS = {
    None: Signal.NONE,
    Progress.TRYING: Signal.TRYING,
    Progress.RINGING: Signal.RINGING,
    Progress.EARLY_MEDIA: Signal.EARLY_MEDIA,
}
_FLIGHT = frozenset({CallState.INTENDED, CallState.SENT, CallState.RINGING})
_WAITING = frozenset({CallState.ANSWERED, CallState.WAITING})


@dataclass(frozen=True, slots=True)
class Row:
    """One campaign on one node, with the leads it may use this tick."""

    campaign: Campaign
    node: str
    leads: int


def pacing_input(
    rows: Sequence[Row],
    *,
    desk: AgentDesk,
    calls: CallDesk,
    lines: Lines,
    tick: float,
    now: float,
) -> PacingInput:
    """Arrays for `pace`. An agent of several campaigns is lent to the first of them that has leads,
    so that one free agent never earns two calls."""
    index = {(row.campaign.id, row.node): i for i, row in enumerate(rows)}
    n = len(rows)
    free, busy = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    talking: list[tuple[int, float]] = []
    wrapping: list[tuple[int, float]] = []
    for agent in desk.agents.values():
        i = _home(agent, rows, index)
        if i is None:
            continue
        if agent.available:
            free[i] += 1
        elif agent.call is not None or agent.state is AgentState.WRAP_UP:
            busy[i] += 1
            (wrapping if agent.state is AgentState.WRAP_UP else talking).append(
                (i, now - agent.since)
            )
    states: Counter[tuple[int, str]] = Counter()
    ringing: list[tuple[int, float, int]] = []
    for call in calls.calls.values():
        at = index.get((call.campaign_id, call.node))
        if at is None or call.agent_id is not None:
            continue
        if call.state in _FLIGHT:
            states[at, "flight"] += 1
            ringing.append((at, now - (call.sent or now), int(_SIGNALS[call.progress])))
        elif call.state is CallState.ANALYSING:
            states[at, "analysing"] += 1
        elif call.state in _WAITING:
            states[at, "waiting"] += 1

    def per_row(
        values: list[float] | list[int], kind: type
    ) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
        return np.array(values, dtype=kind)

    settings = [row.campaign.view.settings for row in rows]
    return PacingInput(
        mode=per_row([int(_MODES[s.mode]) for s in settings], np.int64),
        ratio=per_row([s.dial_ratio for s in settings], np.float64),
        ratio_cap=per_row([s.ratio_cap for s in settings], np.float64),
        target_abandon=per_row([s.target_abandon for s in settings], np.float64),
        connect_window=per_row([s.connect_window for s in settings], np.float64),
        agents_free=free,
        agents_busy=busy,
        in_flight=per_row([states[i, "flight"] for i in range(n)], np.int64),
        analysing=per_row([states[i, "analysing"] for i in range(n)], np.int64),
        waiting=per_row([states[i, "waiting"] for i in range(n)], np.int64),
        live_answers=per_row([row.campaign.ledger.live_answers for row in rows], np.int64),
        abandoned=per_row([row.campaign.ledger.abandoned for row in rows], np.int64),
        leads=per_row([row.leads for row in rows], np.int64),
        trunks=_trunks(rows, lines, now),
        ringing=_ragged([(i, age) for i, age, _ in ringing]),
        ringing_signal=per_row([signal for _, _, signal in ringing], np.int64),
        talking=_ragged(talking),
        wrapping=_ragged(wrapping),
        tick=tick,
    )


def _home(agent: Agent, rows: Sequence[Row], index: dict[tuple[UUID, str], int]) -> int | None:
    """The row an agent counts for: the one whose call they have, else the first with leads."""
    if not agent.leg_id:
        return None
    if agent.call is not None:
        return index.get((agent.call.campaign_id, agent.leg_node))
    mine = [
        i
        for (campaign_id, node), i in index.items()
        if node == agent.leg_node and campaign_id in agent.view.campaigns
    ]
    return next((i for i in mine if rows[i].leads), mine[0] if mine else None)


def _ragged(pairs: list[tuple[int, float]]) -> Ragged:
    return Ragged(
        row=np.array([i for i, _ in pairs], dtype=np.int64),
        seconds=np.array([age for _, age in pairs], dtype=np.float64),
    )


def _trunks(rows: Sequence[Row], lines: Lines, now: float) -> Trunks:
    names = {name: i for i, name in enumerate(lines.trunks)}
    pairs = [
        (i, names[trunk.settings.name])
        for i, row in enumerate(rows)
        for trunk in lines.usable(row.campaign.view.settings, row.node)
    ]
    return Trunks(
        lines=np.array([t.free_lines(now) for t in lines.trunks.values()], dtype=np.float64),
        tokens=np.array([t.tokens(now) for t in lines.trunks.values()], dtype=np.float64),
        row=np.array([i for i, _ in pairs], dtype=np.int64),
        trunk=np.array([t for _, t in pairs], dtype=np.int64),
    )
