"""The pool as pacing sees it: rows and arrays built from the engine's state once a tick."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from typing import Any
from uuid import UUID

import numpy as np

from dialer.domain.agent import AgentState
from dialer.domain.call import CallState
from dialer.domain.campaign import DialMode
from dialer.engine.agents import AgentDesk
from dialer.engine.budgets import Centre, give_up_after, windows
from dialer.engine.calls import CallDesk
from dialer.engine.lines import Lines
from dialer.engine.observing import SIGNALS, Observer
from dialer.engine.skills import Skills
from dialer.engine.state import Agent, Call, Campaign
from pacing.state import Coming, Mode, PacingInput, Ragged, Trunks

MODES = {
    DialMode.PREVIEW: Mode.PREVIEW,
    DialMode.MANUAL: Mode.MANUAL,
    DialMode.PROGRESSIVE: Mode.PROGRESSIVE,
    DialMode.RATIO: Mode.RATIO,
    DialMode.PREDICTIVE: Mode.PREDICTIVE,
}
_ANSWER_SHARE = 0.4  # of calls under way, before the pacing engine has said what it expects

_FLIGHT = frozenset({CallState.INTENDED, CallState.SENT, CallState.RINGING})
_WAITING = frozenset({CallState.ANSWERED, CallState.WAITING})


@dataclass(frozen=True, slots=True)
class Row:
    """One campaign on one node, with the leads it may use this tick."""

    campaign: Campaign
    node: str
    leads: int
    lists: Mapping[UUID, int] = field(default_factory=dict)  # of the leads that come next


@dataclass(frozen=True, slots=True)
class View:
    """What pacing is asked, and which call each of `given.ringing` is."""

    given: PacingInput
    ringing: Sequence[Call]


@dataclass(frozen=True, slots=True)
class Lending:
    """Free agents by the row they count for this tick, and who must stay free for calls that are
    under way."""

    homes: Mapping[UUID, int]
    needed: frozenset[UUID]


def lend(
    rows: Sequence[Row],
    *,
    desk: AgentDesk,
    calls: CallDesk,
    campaigns: Mapping[UUID, Campaign],
) -> Lending:
    """Each free agent to one row, so that one free agent never earns two calls.

    Calls under way come first, those of campaigns that are pausing too: as many agents as they were
    placed for stay with them, those with the fewest campaigns first. The others are lent to the
    first of their rows that has leads."""
    needs = _needs(calls, campaigns)
    free = sorted(
        (a for a in desk.agents.values() if a.available),
        key=lambda a: (len(a.view.campaigns), a.since),
    )
    homes: dict[UUID, int] = {}
    needed: set[UUID] = set()
    index = {(row.campaign.id, row.node): i for i, row in enumerate(rows)}
    for agent in free:
        mine = [key for key in needs if key[1] == agent.leg_node and key[0] in agent.view.campaigns]
        wanted = next((key for key in mine if needs[key] > 0), None)
        if wanted is not None:
            needs[wanted] -= 1
            needed.add(agent.id)
            home = index.get(wanted)
        else:
            home = _first(agent, rows)
        if home is not None:
            homes[agent.id] = home
    return Lending(homes, frozenset(needed))


def _needs(calls: CallDesk, campaigns: Mapping[UUID, Campaign]) -> dict[tuple[UUID, str], int]:
    """Agents that calls without one were placed for, by campaign and node."""
    count: Counter[tuple[UUID, str]] = Counter()
    for call in calls.calls.values():
        alone = call.agent_id is None
        if alone and call.state in (*_FLIGHT, *_WAITING, CallState.ANALYSING):
            count[call.campaign_id, call.node] += 1
    needs: dict[tuple[UUID, str], int] = {}
    for key, number in count.items():
        campaign = campaigns.get(key[0])
        each = 1.0
        if campaign is not None and campaign.view.settings.mode is DialMode.RATIO:
            settings = campaign.view.settings
            each = max(min(settings.dial_ratio, settings.ratio_cap), 1.0)
        elif campaign is not None and campaign.view.settings.mode is DialMode.PREDICTIVE:
            each = 1.0 / max(campaign.answer_share or _ANSWER_SHARE, 0.01)
        needs[key] = ceil(number / each)
    return needs


def _first(agent: Agent, rows: Sequence[Row]) -> int | None:
    mine = [
        i
        for i, row in enumerate(rows)
        if row.node == agent.leg_node and row.campaign.id in agent.view.campaigns
    ]
    return next((i for i in mine if rows[i].leads), mine[0] if mine else None)


def pacing_view(
    rows: Sequence[Row],
    *,
    homes: Mapping[UUID, int],
    desk: AgentDesk,
    calls: CallDesk,
    lines: Lines,
    observer: Observer,
    campaigns: Mapping[UUID, Campaign],
    centre: Centre,
    tick: float,
    now: float,
    at: datetime,
    turns: Mapping[UUID, float] | None = None,
) -> View:
    """Arrays for the pacing engine. `homes`: see `lend`; an agent in a call counts where the call
    is, and comes back to all the rows they serve. `tick`: s since the last decision; `now`:
    monotonic, `at`: the calendar's time. `turns`: by what ratio answer rates are expected to change
    now, by campaign, where an hour begins."""
    index = {(row.campaign.id, row.node): i for i, row in enumerate(rows)}
    n, skills = len(rows), Skills([(row.campaign.id, row.node) for row in rows])
    free, busy = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    talking: list[tuple[int, float, int]] = []
    wrapping: list[tuple[int, float, int]] = []
    serve: tuple[list[tuple[int, ...]], ...] = ([], [], [])  # who is free, talks, wraps up
    for agent in desk.agents.values():
        if agent.available:
            if (home := homes.get(agent.id)) is not None:
                free[home] += 1
                serve[0].append(skills.of(agent))
            continue
        i = _busy_at(agent, rows, index)
        if i is None:
            continue
        if agent.call is not None or agent.state is AgentState.WRAP_UP:
            busy[i] += 1
            if agent.pending is None:  # who leaves after this call takes no other one
                wraps = agent.state is AgentState.WRAP_UP
                (wrapping if wraps else talking).append(
                    (i, now - agent.since, observer.agent(agent.id))
                )
                serve[1 + wraps].append(skills.of(agent))
    states: Counter[tuple[int, str]] = Counter()
    ringing: list[tuple[int, float, Call]] = []
    analysing: list[tuple[int, float]] = []
    for call in calls.calls.values():
        i = index.get((call.campaign_id, call.node))
        if i is None or call.agent_id is not None or call.given_up:
            continue
        if call.state in _FLIGHT:
            states[i, "flight"] += 1
            ringing.append((i, now - (call.sent or now), call))
        elif call.state is CallState.ANALYSING:
            states[i, "analysing"] += 1
            if not call.machine:
                analysing.append((i, now - call.answered))
        elif call.state in _WAITING:
            states[i, "waiting"] += 1

    def per_row(
        values: list[float] | list[int], kind: type
    ) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
        return np.array(values, dtype=kind)

    turns = turns or {}
    settings = [row.campaign.view.settings for row in rows]
    given = PacingInput(
        mode=per_row([int(MODES[s.mode]) for s in settings], np.int64),
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
        ringing_signal=per_row([int(SIGNALS[c.progress]) for _, _, c in ringing], np.int64),
        analysing_since=_ragged(analysing),
        talking=_ragged([(i, age) for i, age, _ in talking]),
        wrapping=_ragged([(i, age) for i, age, _ in wrapping]),
        turn=per_row([turns.get(row.campaign.id, 1.0) for row in rows], np.float64),
        ringing_cell=per_row([observer.cell_of(c) for _, _, c in ringing], np.int64),
        coming=_coming(rows, lines, observer, now),
        talking_agent=per_row([who for _, _, who in talking], np.int64),
        wrapping_agent=per_row([who for _, _, who in wrapping], np.int64),
        windows=windows([row.campaign for row in rows], campaigns=campaigns, centre=centre, at=at),
        slot=per_row([observer.slot(row.campaign.id, row.node) for row in rows], np.int64),
        ring_timeout=per_row([s.ring_timeout for s in settings], np.float64),
        cancel_after=per_row([give_up_after(s) for s in settings], np.float64),
        tick=tick,
        sharing=skills.sharing(*serve),
    )
    return View(given, [call for _, _, call in ringing])


def _busy_at(agent: Agent, rows: Sequence[Row], index: dict[tuple[UUID, str], int]) -> int | None:
    """The row an agent at work counts for: the one whose call they have or describe."""
    if not agent.leg_id:
        return None
    call = agent.call or agent.last_call
    if call is not None:
        return index.get((call.campaign_id, agent.leg_node))
    return _first(agent, rows)


def _ragged(pairs: list[tuple[int, float]]) -> Ragged:
    return Ragged(
        row=np.array([i for i, _ in pairs], dtype=np.int64),
        seconds=np.array([age for _, age in pairs], dtype=np.float64),
    )


def _coming(rows: Sequence[Row], lines: Lines, observer: Observer, now: float) -> Coming:
    """Lists of the next leads, over the trunk they will take: the first that has a line."""
    row, cell, share = [], [], []
    for i, each in enumerate(rows):
        settings = each.campaign.view.settings
        if settings.mode is not DialMode.PREDICTIVE or not each.lists:
            continue
        usable = lines.usable(settings, each.node)
        trunk = next((t for t in usable if t.free_lines(now) > 0), usable[0] if usable else None)
        if trunk is None:
            continue
        whole = sum(each.lists.values())
        for list_id, count in each.lists.items():
            row.append(i)
            cell.append(
                observer.cell(
                    each.campaign.id, each.node, list_id=list_id, trunk=trunk.settings.name
                )
            )
            share.append(count / whole)
    return Coming(
        np.array(row, dtype=np.int64),
        np.array(cell, dtype=np.int64),
        np.array(share, dtype=np.float64),
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
