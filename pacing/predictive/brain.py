"""The predictive part of the engine: what it has learnt, and a plan for every row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pacing.budget import Budget
from pacing.decision import AHEAD, Forecast
from pacing.learning.analysis import Analysis
from pacing.learning.counts import PHASE_OF
from pacing.learning.grid import AGES, MIDDLES
from pacing.learning.pace import Pace
from pacing.learning.ring import RingModel
from pacing.learning.service import ServiceModel
from pacing.limits import room
from pacing.numbers import between
from pacing.predictive.choose import choose
from pacing.predictive.giving_up import give_up
from pacing.predictive.joint import Joint, choose_jointly
from pacing.predictive.outlook import Outlook
from pacing.predictive.pools import Pooling, Pools, agents_of
from pacing.predictive.sane import sane, sane_seen
from pacing.seen import Kind, Seen
from pacing.state import Array, Flags, Floats, Ints, Mode, PacingInput, Ragged

_PART = 200  # events learnt at once from the past
_TURNS = 10  # decisions after which a slot's tables are computed anew
_FIRST_TURNS, _SOONER = 300, 4  # ... while little is known
_AT_ONCE = 40  # slots
_ROUND = 60  # decisions after which it is looked how much cells, slots and agents differ
_SLOW_CYCLE = 600.0  # s from one answer to the next of an agent, at most
_SOON = int(np.searchsorted(MIDDLES, AHEAD)) - 1


@dataclass(frozen=True, slots=True)
class Plan:
    """Per row; `cancel` per ringing call."""

    calls: Ints
    cancel: Flags
    frozen: Flags
    agents: Ints
    forecast: Forecast
    joint: Joint | None = None  # rows that share agents


class Brain:
    """Learns from what was seen, then plans. Arrays by slot; see `PacingInput`. `site`: all slots
    are campaigns of one site, from which new ones start."""

    def __init__(self, *, site: bool = False) -> None:
        self._site = site
        self.pace = Pace()
        self.ring, self.service = RingModel(), ServiceModel()
        self.analysis, self.budget = Analysis(), Budget()
        self._pooling = Pooling()
        self._turn, self._slots = 0, 0
        #: Slot, place, phase, age of the calls that rang.
        self._before: tuple[Ints, Ints, Ints, Ints] | None = None
        self._risk = np.zeros(0)  # abandoned calls expected of what is under way, by slot
        self._due = np.zeros((2, 0))  # answers, abandoned calls expected until the next decision

    @property
    def started(self) -> bool:
        """Whether it was ever asked."""
        return self._turn > 0

    def plan(self, given: PacingInput, seen: Seen) -> Plan:
        """Learn what was seen, then decide for all rows (those that are not predictive too)."""
        given, seen = sane(given), sane_seen(seen)
        self._grow(
            _most(given.slot, seen.slot), _most(given.ringing_cell, given.coming.cell, seen.cell)
        )
        pools = self._pooling.find(given.sharing)
        self._learn(given, seen, pools)
        ahead = Outlook(given, self.ring, self.service, self.analysis, self.pace)
        answers = ahead.answers[:, 0, -1] + given.leads * ahead.fresh[:, 0, -1]
        allowance = self.budget.allow(given, self._risk[given.slot], answers)
        predictive = given.mode == Mode.PREDICTIVE
        can = np.minimum(given.leads, room(given.trunks, given.rows)[1].astype(np.int64))
        most = np.where(predictive & ~allowance.frozen, can, 0)
        choice = choose(ahead, allowance.theta, most if pools is None else pools.alone(most))
        theta, agents, free = allowance.theta, ahead.agents, ahead.agents - ahead.busy[:, 0, _SOON]
        joint = None
        if pools is not None:
            joint = choose_jointly(
                ahead, given, pools, theta=theta, most=most, frozen=allowance.frozen
            )
            choice = joint.settle(choice)
            theta = joint.onto(theta, joint.theta)
            agents = joint.onto(agents, joint.agents.astype(np.int64))
            free = joint.onto(free, joint.agents - joint.busy[:, _SOON])
        cancel = give_up(given, ahead, choice, theta)
        if joint is not None:
            cancel &= ~joint.keeps(given.ringing.row)
        self._risk[given.slot] = choice.lost
        soon = ahead.answers[:, 0, 0] * min(given.tick, MIDDLES[2]) / MIDDLES[0]
        risk = soon * choice.full[:, 0]
        if joint is not None:
            # Who may not go as far as they could learns nothing from risking too little.
            held = joint.onto(np.zeros(given.rows, dtype=np.bool_), joint.held)
            spare = risk / np.maximum(allowance.goal, 1e-6)
            soon = np.where(held, np.minimum(soon, spare), soon)
        self._due[:, given.slot] = soon, risk
        self._turn += 1
        return Plan(
            calls=choice.calls, cancel=cancel, frozen=allowance.frozen, agents=agents, joint=joint,
            forecast=Forecast(
                theta=theta, price=choice.price, goal=allowance.goal,
                budget_left=allowance.left,
                answers=ahead.answers[:, 0, _SOON] + ahead.sure,
                free=free,
                answer_share=ahead.fresh[:, 0, -1],
            ),
        )  # fmt: skip

    def remember(self, seen: Seen) -> None:
        """Learn what was seen some time ago; nothing is decided, and no change is looked for."""
        seen = sane_seen(seen)
        if not len(seen.kind):
            return
        self._grow(_most(seen.slot), _most(seen.cell))
        self._settle(seen)
        size = _PART * len(np.unique(seen.slot))
        for first in range(0, len(seen.kind), size):  # in parts, so that the past fades
            part = slice(first, first + size)
            some = seen.part(part)
            self.ring.counts.forget(self._note(some))
            talk, wrap = _of(some, Kind.TALK_ENDED), _of(some, Kind.WRAP_ENDED)
            self.service.talk.note(some.slot[talk], some.seconds[talk])
            self.service.wrap.note(some.slot[wrap], some.seconds[wrap])
            self.analysis.note(some)
        self.ring.look_around(site=self._site)
        nothing = Ragged()
        slots = np.unique(seen.slot)
        self._refresh_ring(
            np.union1d(slots, seen.of_cells.slot), nothing, np.zeros(0, dtype=np.int64)
        )
        self.service.refresh(slots, nothing, nothing)
        self._note_pace(seen)

    def _grow(self, slots: int, places: int) -> None:
        """Room for this many `slots`, and cells among them up to `places`."""
        need = max(slots, places)
        if need <= self._slots:
            return
        if places:  # cells come one after the other
            need += need // 4
        for part in (self.ring, self.service, self.analysis, self.budget):
            part.grow(need)
        self._risk = np.concatenate([self._risk, np.zeros(need - self._slots)])
        self._due = np.hstack([self._due, np.zeros((2, need - self._slots))])
        self._slots = need

    def _settle(self, seen: Seen, given: PacingInput | None = None) -> Ints:
        """Learn which cells there are; returns the new ones."""
        pairs = [(seen.cell, seen.slot)] if len(seen.cell) else []
        if given is not None:
            for row, cell in (
                (given.ringing.row, given.ringing_cell), (given.coming.row, given.coming.cell),
            ):  # fmt: skip
                if len(cell):
                    pairs.append((cell, given.slot[row]))
        new = [self.ring.settle(cell[cell >= 0], slot[cell >= 0]) for cell, slot in pairs]
        return np.concatenate(new) if new else np.zeros(0, dtype=np.int64)

    def _note(self, seen: Seen) -> Floats:
        """Answers by place; those of a cell count for its slot too."""
        answers = self.ring.counts.note(seen)
        if len(seen.cell):
            answers += self.ring.counts.note(seen.of_cells)
        return answers

    def _changes(self, answers: Floats, given: PacingInput) -> Flags:
        """Places whose answer rate has changed, and were told so."""
        due = np.zeros(self._slots)
        if self._before is not None:
            of, place, phase, age = self._before
            rate = given.tick * self.ring.rate[place, phase, age]
            due = _by_row(of, rate, self._slots)
            if len(own := np.flatnonzero(place != of)):
                due += _by_row(place[own], rate[own], self._slots)
        changed, ratio = self.ring.notice(answers, due)
        some = np.flatnonzero(changed)
        if len(some):
            row, place = given.slot[given.ringing.row], given.ringing_places
            under_way = np.bincount(row, minlength=self._slots)
            under_way += np.bincount(place[place != row], minlength=self._slots)
            self.ring.counts.change(some, ratio[some], under_way[some].astype(np.float64))
        return changed

    def _learn(self, given: PacingInput, seen: Seen, pools: Pools | None) -> None:
        slots, slot = self._slots, given.slot
        new = self._settle(seen, given)
        answers = self._note(seen)
        changed = self._changes(answers, given)
        changed[new] = True
        if (given.turn != 1.0).any():
            changed |= self.ring.expect(slot, given.turn)
        self.ring.counts.forget(answers)
        talk, wrap = _of(seen, Kind.TALK_ENDED), _of(seen, Kind.WRAP_ENDED)
        talking = Ragged(slot[given.talking.row], given.talking.seconds)
        wrapping = Ragged(slot[given.wrapping.row], given.wrapping.seconds)
        self.service.talk.watch(seen.slot[talk], talking.row, talking.seconds, given.tick)
        self.service.talk.note(seen.slot[talk], seen.seconds[talk])
        self.service.wrap.note(seen.slot[wrap], seen.seconds[wrap])
        if len(given.talking_agent) or len(given.wrapping_agent):
            self.service.tell_agents_apart()
        self._note_pace(seen)
        self.analysis.note(seen)
        abandoned = _count(seen, Kind.ABANDONED, slots)
        live = _count(seen, Kind.CONNECTED, slots) + abandoned
        agents = np.bincount(given.talking.row, minlength=given.rows) + given.agents_free
        agents = agents + np.bincount(given.wrapping.row, minlength=given.rows)
        fair = np.zeros(given.rows)
        if pools is not None:
            fair[pools.rows] = pools.fair(agents_of(given.sharing))
            agents = np.where(fair > 0, np.rint(fair).astype(np.int64), agents)
        self.budget.note(slot, live[slot], abandoned[slot], agents, given.tick, self._due[:, slot])
        # Who shares agents and got none of late may still have its part of them.
        least = np.where(given.leads > 0, fair, 0.0) / _SLOW_CYCLE
        self.budget.pace[slot] = np.maximum(self.budget.pace[slot], least)
        self.ring.timeout[slot] = given.ring_timeout
        self.service.window[slot] = given.connect_window
        self._refresh(given, changed, talking, wrapping)
        ages = between(given.ringing.seconds + given.tick / 2, 0, AGES - 1).astype(np.int64)
        phases = PHASE_OF[given.ringing_signal]
        self._before = slot[given.ringing.row], given.ringing_places, phases, ages

    def _note_pace(self, seen: Seen) -> None:
        """What ended against what the rates as they are would have had end by then."""
        if not len(seen.agent):
            return
        self.service.tell_agents_apart()
        for kind, hazard in (
            (Kind.TALK_ENDED, self.service.talk), (Kind.WRAP_ENDED, self.service.wrap),
        ):  # fmt: skip
            at = _of(seen, kind)
            self.pace.note(seen.agent[at], hazard.passed(seen.slot[at], seen.seconds[at]))

    def _refresh(
        self, given: PacingInput, changed: Flags, talking: Ragged, wrapping: Ragged
    ) -> None:
        """Each place every few decisions, in turns; those that changed, or seem to, at once."""
        slot = given.slot
        row, place = slot[given.ringing.row], given.ringing_places
        signal, seconds = given.ringing_signal, given.ringing.seconds
        mine = np.zeros(self._slots, dtype=bool)
        mine[slot] = True
        own = mine.copy()
        if len(given.ringing_cell) or len(given.coming.row):
            cells = np.concatenate([place, given.coming_places])
            own[cells] = True
            self.ring.timeout[cells] = self.ring.timeout[self.ring.owner[cells]]
            at = np.flatnonzero(place != row)  # these are seen twice: at their slot and their cell
            row = np.concatenate([row, place[at]])
            signal, seconds = (np.concatenate([a, a[at]]) for a in (signal, seconds))
        # Groups of some size, each in its own turn: many small ones would cost more.
        turns = max(_SOONER if self._turn < _FIRST_TURNS else _TURNS, -(-self._slots // _AT_ONCE))
        group = np.arange(self._slots) // max(_AT_ONCE, -(-self._slots // turns))
        due = group == self._turn % turns
        if self._turn == 0:
            due[:] = True
        if self._turn % _ROUND == 0:
            self.ring.look_around(site=self._site)
            self.pace.look_around()
        slots = np.flatnonzero(own & (due | changed | (self.ring.changes.rising() > 1.35)))
        self._refresh_ring(slots, Ragged(row, seconds), signal)
        if self._slots > _AT_ONCE and self._turn:
            # Where classes of pace cost as many tables each, a part of a group each round.
            part = np.arange(self._slots) + self._turn // turns
            due = due & (part % self.service.classes == 0)
        self.service.refresh(np.flatnonzero(mine & due), talking, wrapping)

    def _refresh_ring(self, places: Ints, ringing: Ragged, signal: Ints) -> None:
        of = self.ring.owner[places]
        share, delay = self.analysis.share[of], self.analysis.delay[of]
        self.ring.refresh(places, ringing, signal, share=share, delay=delay)


def _most(*numbers: Ints) -> int:
    """How many places there must be for these."""
    return int(max(n.max(initial=-1) for n in numbers)) + 1


def _of(seen: Seen, kind: Kind) -> Ints:
    return np.flatnonzero(seen.kind == kind)


def _count(seen: Seen, kind: Kind, slots: int) -> Floats:
    return np.bincount(seen.slot[_of(seen, kind)], minlength=slots).astype(np.float64)


def _by_row(row: Ints, values: Array, rows: int) -> Floats:
    return np.bincount(row, weights=values, minlength=rows).astype(np.float64)
