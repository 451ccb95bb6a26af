"""A world: the same centre many times over, one seed each, advanced side by side tick by tick.

At each tick the policy sees all runs at once and decides; then everything that happens until the
next tick happens at its own exact time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pacing.decision import Decision
from pacing.seen import Kind, Seen
from pacing.simulator.dialing import Dialing
from pacing.simulator.fates import generator
from pacing.simulator.floor import Event, Floor, Moment
from pacing.simulator.network import ANSWERED, FAILED, RANG_OUT, Calls, Network
from pacing.simulator.roster import changes, present, skills
from pacing.simulator.scenario import Scenario
from pacing.simulator.tally import Results, Tally
from pacing.state import Floats, Ints, Signal

_PACE = 1 << 20  # stream of agents' own factors


class World:
    """One scenario, one run per seed. `view`s are made by `pacing.simulator.view`."""

    def __init__(self, scenario: Scenario, seeds: Sequence[int]) -> None:
        self.scenario, self.seeds = scenario, tuple(int(s) for s in seeds)
        self.runs, self.per_run = len(self.seeds), len(scenario.campaigns)
        self.rows = self.runs * self.per_run
        self.time = 0.0
        self.calls = Calls(1024)
        self.network = Network(scenario.campaigns, self.runs)
        self.dialing = Dialing(scenario, self.seeds)
        self.tally = Tally(scenario, self.runs)
        n = self.runs * scenario.agents
        # Per agent: 0 ready or away, 1 talking, 2 in wrap-up.
        self.state = np.zeros(n, dtype=np.int8)
        self.row: Ints = np.zeros(n, dtype=np.int64)
        self.slot: Ints = np.zeros(n, dtype=np.int64)
        self.began, self.talk_ends, self.wrap_ends = (np.zeros(n) for _ in range(3))
        self._talk_due, self._wrap_due = np.full(n, np.inf), np.full(n, np.inf)
        self.floor = Floor(
            self.runs,
            present(scenario, 0.0),
            windows=[c.window for c in scenario.campaigns],
            lists=self.dialing.lists,
            skills=skills(scenario),
            pace=self._pace().tolist(),
        )
        self._changes = changes(scenario)[::-1]
        self._no_lines: Ints = np.zeros(self.runs, dtype=np.int64)
        self._tells = set(scenario.tells)
        self._seen: list[tuple[Kind, Ints, Floats, Ints, Ints, Ints, Ints]] = []

    def resume(self, who: Ints) -> None:
        """These agents (of all runs) are at work already, as `state` and the times of its end say:
        for worlds that do not begin empty."""
        self._talk_due[who] = np.where(self.state[who] == 1, self.talk_ends[who], np.inf)
        self._wrap_due[who] = self.wrap_ends[who]
        self.floor.occupy(who.tolist())
        run, tally = who // self.scenario.agents, self.tally
        now = np.full(len(who), self.time)
        talk_ends = np.maximum(self.talk_ends[who], self.time)
        tally.spend(tally.talk, run, now, talk_ends)
        tally.spend(tally.wrap, run, talk_ends, self.wrap_ends[who])

    def act(self, decision: Decision, given_ringing: Ints) -> None:
        """Do what was decided. `given_ringing`: the places the cancel mask speaks of."""
        if decision.cancel.any():
            self._cancel(given_ringing[decision.cancel])
        in_use = self._in_use() if self.dialing.limited else self._no_lines
        granted, short = self.dialing.grant(decision.calls, in_use)
        for name, rows in short.items():
            self.tally.count(name, rows, self.time)
        if granted.any():
            rows, at = self.dialing.dial(granted, self.calls, self.network, self.time)
            self.tally.count("placed", rows, self.time)
            self._note_calls(Kind.PLACED, at, 0.0)
            if self.network.has_signals:
                self._note_calls(Kind.PROGRESS, at, 0.0, became=int(Signal.TRYING))

    def advance(self) -> Seen:
        """To the next tick; what was seen since the last one."""
        until = (round(self.time / self.scenario.tick) + 1) * self.scenario.tick
        people = self._network_until(until)
        events = self._events(people, until)
        self.floor.advance(events, until)
        self._met(until)
        self._lost()
        self.time = until
        self.dialing.tick(until)
        return self._told()

    def results(self) -> Results:
        """What was counted so far; the world is at its end."""
        floor, agents = self.floor, self.scenario.agents
        ready = [(a, floor.free_since[a]) for queue in floor.free for a in queue]
        if ready:
            who = np.array([a for a, _ in ready])
            since = np.array([s for _, s in ready])
            end = np.full(len(who), self.time)
            self.tally.wait(who // agents, since, end, self.dialing.closed)
        alive = np.concatenate((self.calls.ringing, self.calls.analysing))
        left = np.bincount(self.calls.row[alive], minlength=self.rows) + np.array(floor.waiting)
        return self.tally.results(self.seeds, left, self.dialing.finished)

    def _pace(self) -> Floats:
        cv, agents = self.scenario.pace_cv, self.scenario.agents
        if cv == 0:
            return np.ones(self.runs * agents)
        sd = float(np.sqrt(np.log1p(cv**2)))
        drawn = [generator(s, _PACE, 0).standard_normal(agents) for s in self.seeds]
        return np.exp(sd * np.concatenate(drawn) - sd**2 / 2)

    def _in_use(self) -> Ints:
        """Lines in use per run."""
        calls = self.calls
        alive = np.concatenate((calls.ringing, calls.analysing))
        lines = np.bincount(calls.row[alive] // self.per_run, minlength=self.runs)
        talking = np.flatnonzero(self.state == 1) // self.scenario.agents
        waiting = np.array(self.floor.waiting).reshape(self.runs, -1).sum(axis=1)
        return np.asarray(lines + np.bincount(talking, minlength=self.runs) + waiting)

    def _cancel(self, places: Ints) -> None:
        calls = self.calls
        rows, age = calls.row[places], self.time - calls.placed[places]
        least = self.dialing.cancel_after[rows]
        if (age < least - 1e-9).any():
            raise ValueError(f"expected calls that rang {least.min()} s, got {age.min()} s")
        self._note_calls(Kind.CANCELLED, places, age, self._signals(places, self.time))
        self.tally.count("cancelled", rows, self.time)
        self.tally.count("answers_lost", rows[calls.outcome[places] == ANSWERED], self.time)
        calls.ringing = calls.ringing[~np.isin(calls.ringing, places)]
        self.dialing.unreached(calls, places, self.time)
        calls.release(places)

    def _signals(self, places: Ints, times: Floats | float) -> Ints | int:
        return self.calls.signal(places, times) if self.network.has_signals else 0

    def _network_until(self, until: float) -> Ints:
        """Ends what ends by `until`; the places of those who answered and are to get an agent."""
        calls = self.calls
        if self.network.has_signals:
            self._progress(until)
        ends = calls.ends[calls.ringing]
        over = ends <= until + 1e-9  # calls that ring out at a tick are over at it
        if over.any():
            places = calls.ringing[over]
            calls.ringing = calls.ringing[~over]
            outcome, ends = calls.outcome[places], ends[over]
            age = ends - calls.placed[places]
            signal = self._signals(places, ends)
            for kind, code, name in (
                (Kind.RANG_OUT, RANG_OUT, "rang_out"),
                (Kind.FAILED, FAILED, "failed"),
                (Kind.ANSWERED, ANSWERED, "answered"),
            ):
                which = outcome == code
                mine = places[which]
                heard = signal if isinstance(signal, int) else signal[which]
                self._note_calls(kind, mine, age[which], heard)
                self.tally.count(name, calls.row[mine], self.time)
            picked: Ints = places[outcome == ANSWERED]
            others = places[outcome != ANSWERED]
            self.dialing.unreached(calls, others, until)
            calls.release(others)
        else:
            picked = calls.ringing[:0]
        if not self.network.has_analysis:
            self._note(Kind.PERSON, calls.slot[picked], 0.0)
            return picked
        return self._analysed(np.concatenate((calls.analysing, picked)), until)

    def _analysed(self, places: Ints, until: float) -> Ints:
        calls = self.calls
        due = calls.ends[places] + calls.verdict[places] < until
        calls.analysing, places = places[~due], places[due]
        passes = calls.passes[places]
        people, machines = places[passes], places[~passes]
        self._note(Kind.PERSON, calls.slot[people], calls.verdict[people])
        self._note(Kind.MACHINE, calls.slot[machines], calls.verdict[machines])
        self.tally.count("machines", calls.row[machines], self.time)
        missed = machines[~calls.machine[machines]]
        self.tally.count("people_missed", calls.row[missed], self.time)
        calls.ends[people] += calls.verdict[people]
        calls.release(machines)
        return people

    def _progress(self, until: float) -> None:
        calls, at = self.calls, self.calls.ringing
        for column in (calls.rings, calls.media):
            when = column[at]
            which = (when >= self.time) & (when < until) & (when < calls.ends[at])
            if which.any():
                places, when = at[which], when[which]
                before = calls.signal(places, np.nextafter(when, 0.0))
                age, became = when - calls.placed[places], calls.signal(places, when)
                self._note_calls(Kind.PROGRESS, places, age, before, became=became)

    def _events(self, people: Ints, until: float) -> list[Event]:
        """The floor's events of this tick, and the ends of talks noted."""
        calls = self.calls
        ended = np.flatnonzero(self._talk_due < until)
        if len(ended):
            talked = self.talk_ends[ended] - self.began[ended]
            self._note(Kind.TALK_ENDED, self.slot[ended], talked, agent=ended)
            self.state[ended] = 2
            self._talk_due[ended] = np.inf
        freed = np.flatnonzero(self._wrap_due < until)
        events: list[Event] = []
        if len(freed):
            at = self.wrap_ends[freed]
            self._note(Kind.WRAP_ENDED, self.slot[freed], at - self.talk_ends[freed], agent=freed)
            self.state[freed] = 0
            self._wrap_due[freed] = np.inf
            moment = int(Moment.FREE)
            events = [
                (t, moment, a, 0.0, 0.0, 0.0)
                for t, a in zip(at.tolist(), freed.tolist(), strict=True)
            ]
        if len(people):
            if self.network.has_machines:
                heard = people[calls.machine[people]]
                self.tally.count("machines_missed", calls.row[heard], self.time)
            moment = int(Moment.PERSON)
            events += [
                (t, moment, slot, talk, wrap, patience)
                for t, slot, talk, wrap, patience in zip(
                    calls.ends[people].tolist(),
                    calls.slot[people].tolist(),
                    calls.talk[people].tolist(),
                    calls.wrap[people].tolist(),
                    calls.patience[people].tolist(),
                    strict=True,
                )
            ]
            calls.release(people)
        while self._changes and self._changes[-1][0] < until:
            time, agent, comes = self._changes.pop()
            moment = int(Moment.COMES if comes else Moment.LEAVES)
            events += [
                (time, moment, run * self.scenario.agents + agent, 0.0, 0.0, 0.0)
                for run in range(self.runs)
            ]
        return events

    def _met(self, until: float) -> None:
        tally, agents = self.tally, self.scenario.agents
        if self.floor.left:
            left = np.array(self.floor.left).reshape(-1, 3)
            run = left[:, 0].astype(np.int64) // agents
            tally.wait(run, left[:, 1], left[:, 2], self.dialing.closed)
        if not self.floor.met:
            return
        met = np.array(self.floor.met).reshape(-1, 7)
        slot, who = met[:, 0].astype(np.int64), met[:, 1].astype(np.int64)
        time, waited, talk_ends, wrap_ends = met[:, 2], met[:, 3], met[:, 4], met[:, 5]
        row, run = slot // self.dialing.lists, who // agents
        tally.count("connected", row, self.time)
        tally.wait(run, met[:, 6], time, self.dialing.closed)
        tally.spend(tally.talk, run, time, talk_ends)
        tally.spend(tally.wrap, run, talk_ends, wrap_ends)
        if self.time >= self.scenario.warm_up:
            tally.waited += np.bincount(run, weights=waited, minlength=self.runs)
        self._note(Kind.CONNECTED, slot, waited)
        self.row[who], self.slot[who], self.began[who] = row, slot, time
        self.talk_ends[who], self.wrap_ends[who] = talk_ends, wrap_ends
        talked, wrapped = talk_ends < until, wrap_ends < until
        if talked.any():
            for kind, lasted, over in (
                (Kind.TALK_ENDED, talk_ends - time, talked),
                (Kind.WRAP_ENDED, wrap_ends - talk_ends, wrapped),
            ):
                self._note(kind, slot[over], lasted[over], agent=who[over])
        self.state[who] = np.where(wrapped, 0, np.where(talked, 2, 1))
        self._talk_due[who] = np.where(talked, np.inf, talk_ends)
        self._wrap_due[who] = np.where(wrapped, np.inf, wrap_ends)

    def _lost(self) -> None:
        if not self.floor.lost:
            return
        lost = np.array(self.floor.lost).reshape(-1, 3)
        slot, waited, quits = lost[:, 0].astype(np.int64), lost[:, 1], lost[:, 2] > 0
        for kind, which, name in (
            (Kind.ABANDONED, ~quits, "abandoned"),
            (Kind.GAVE_UP, quits, "gave_up"),
        ):
            self._note(kind, slot[which], waited[which])
            self.tally.count(name, slot[which] // self.dialing.lists, self.time)

    def _note(
        self,
        kind: Kind,
        slot: Ints,
        seconds: Floats | float,
        signal: Ints | int = 0,
        *,
        became: Ints | int = 0,
        cell: Ints | int = -1,
        agent: Ints | int = -1,
    ) -> None:
        if len(slot):
            n = len(slot)
            told = np.broadcast_to(seconds, n), np.broadcast_to(signal, n)
            rest = np.broadcast_to(cell, n), np.broadcast_to(agent, n)
            self._seen.append((kind, slot, *told, np.broadcast_to(became, n), *rest))

    def _note_calls(
        self,
        kind: Kind,
        places: Ints,
        seconds: Floats | float,
        signal: Ints | int = 0,
        *,
        became: Ints | int = 0,
    ) -> None:
        slot, cell = self.calls.slot[places], self.calls.cell[places]
        self._note(kind, slot, seconds, signal, became=became, cell=cell)

    def _told(self) -> Seen:
        noted, self._seen = self._seen, []
        if not noted:
            return Seen()
        kinds, slots, seconds, signals, became, cells, agents = zip(*noted, strict=True)
        none = np.zeros(0, dtype=np.int64)
        return Seen(
            kind=np.repeat([int(kind) for kind in kinds], [len(slot) for slot in slots]),
            slot=np.concatenate(slots),
            seconds=np.concatenate(seconds),
            signal=np.concatenate(signals),
            became=np.concatenate(became),
            cell=np.concatenate(cells) if "cells" in self._tells else none,
            agent=np.concatenate(agents) if "agents" in self._tells else none,
        )
