"""Who meets whom: people who answer, agents who get free, and the moments between the ticks.

The only part that takes events one by one, because each depends on the one before: plain lists, one
run beside the other. The longest-idle agent gets the call; the longest-waiting person the agent.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Sequence
from enum import IntEnum

from pacing.state import Flags


class Moment(IntEnum):
    """What an event of the floor is; its tuple is (time, moment, who, talk, wrap, patience)."""

    FREE = 0  # who: agent
    PERSON = 1  # who: slot, which is row * lists + list
    EXPIRES = 2  # who: number of the waiting person
    COMES = 3  # who: agent
    LEAVES = 4  # who: agent


Event = tuple[float, int, int, float, float, float]
_FREE, _PERSON, _EXPIRES, _COMES = (
    int(m) for m in (Moment.FREE, Moment.PERSON, Moment.EXPIRES, Moment.COMES)
)  # plain numbers are quicker to compare


class Floor:
    """Agents are numbered run * agents + agent, rows run * campaigns + campaign."""

    def __init__(
        self,
        runs: int,
        here: Flags,
        *,
        windows: Sequence[float],
        lists: int,
        skills: Sequence[frozenset[int]],
        pace: Sequence[float],
    ) -> None:
        self.agents = len(here)
        self.campaigns = len(windows)
        self._windows = windows
        self._lists = lists  # slots of a row
        self._pace = pace  # by agent of all runs
        everything = frozenset(range(self.campaigns))
        self.skills = None if all(s == everything for s in skills) else list(skills)
        numbers = [a for a in range(self.agents) if here[a]]
        self.free: list[deque[int]] = [
            deque(run * self.agents + a for a in numbers) for run in range(runs)
        ]
        self.free_since = [0.0] * (runs * self.agents)
        self.staying = [bool(here[a]) for a in range(self.agents)] * runs
        self._idle_or_away = [True] * (runs * self.agents)
        self._queues: list[deque[int]] = [deque() for _ in range(runs)]
        self._people: dict[int, tuple[int, float, float, float]] = {}  # waiting, by number
        self._number = 0
        self.expiries: list[Event] = []
        self.waiting = [0] * (runs * self.campaigns)
        # What happened in the tick, as flat records.
        self.met: list[
            float
        ] = []  # slot, agent, time, waited, talk ends, wrap-up ends, ready since
        self.lost: list[float] = []  # slot, waited, 1 when they hung up themselves
        self.left: list[float] = []  # agent, ready since, time

    def advance(self, events: list[Event], until: float) -> None:
        """Take the events of a tick that ends at `until`, and those that follow from them in it."""
        self.met, self.lost, self.left = [], [], []
        if self.expiries:
            events += [e for e in self.expiries if e[0] < until]
            self.expiries = [e for e in self.expiries if e[0] >= until]
        events.sort()
        free, queues, campaigns, agents = self.free, self._queues, self.campaigns, self.agents
        lists = self._lists
        for i, (time, moment, who, talk, wrap, patience) in enumerate(events):
            if moment == _PERSON:
                row = who // lists
                run = row // campaigns
                ready = free[run]
                if ready and (agent := self._agent_for(row, ready)) is not None:
                    ends = self._meet(who, agent, time, 0.0, talk, wrap)
                    if ends < until:
                        insort(events, (ends, _FREE, agent, 0.0, 0.0, 0.0), lo=i + 1)
                    continue
                self._number += 1
                self._people[self._number] = (who, time, talk, wrap)
                queues[run].append(self._number)
                self.waiting[row] += 1
                window = self._windows[row % campaigns]
                gone = time + min(window, patience)
                quits = 1.0 if patience < window else 0.0
                expiry = (gone, _EXPIRES, self._number, quits, 0.0, 0.0)
                if gone < until:
                    insort(events, expiry, lo=i + 1)
                else:
                    self.expiries.append(expiry)
            elif moment in (_FREE, _COMES):
                if moment == _COMES:
                    self.staying[who] = True
                    if not self._idle_or_away[who]:
                        continue  # still in the call they were to leave after
                elif not self.staying[who]:
                    self._idle_or_away[who] = True
                    continue
                number = self._person_for(who, queues[who // agents])
                self.free_since[who] = time
                if number is None:
                    self._idle_or_away[who] = True
                    free[who // agents].append(who)
                    continue
                slot, since, talk, wrap = self._people.pop(number)
                self.waiting[slot // lists] -= 1
                ends = self._meet(slot, who, time, time - since, talk, wrap)
                if ends < until:
                    insort(events, (ends, _FREE, who, 0.0, 0.0, 0.0), lo=i + 1)
            elif moment == _EXPIRES:
                person = self._people.pop(who, None)
                if person is not None:
                    self.waiting[person[0] // lists] -= 1
                    self.lost += (person[0], time - person[1], talk)
            else:
                self.staying[who] = False
                if self._idle_or_away[who] and who in free[who // agents]:
                    free[who // agents].remove(who)
                    self.left += (who, self.free_since[who], time)

    def occupy(self, agents: Sequence[int]) -> None:
        """These agents are at work, and in nobody's queue."""
        for agent in agents:
            self._idle_or_away[agent] = False

    def _meet(
        self, slot: int, agent: int, time: float, waited: float, talk: float, wrap: float
    ) -> float:
        """They talk; returns when the agent is free again."""
        factor = self._pace[agent]
        talk_ends = time + talk * factor
        wrap_ends = talk_ends + wrap * factor
        self._idle_or_away[agent] = False
        self.met += (slot, agent, time, waited, talk_ends, wrap_ends, self.free_since[agent])
        return wrap_ends

    def _agent_for(self, row: int, ready: deque[int]) -> int | None:
        """Takes the longest-idle agent who serves the row's campaign out of `ready`."""
        if self.skills is None:
            return ready.popleft()
        campaign = row % self.campaigns
        for agent in ready:
            if campaign in self.skills[agent % self.agents]:
                ready.remove(agent)
                return agent
        return None

    def _person_for(self, agent: int, queue: deque[int]) -> int | None:
        """Takes the longest-waiting person whom the agent serves; forgets those who have gone."""
        people = self._people
        while queue and queue[0] not in people:
            queue.popleft()
        if not queue:
            return None
        if self.skills is None:
            return queue.popleft()
        mine = self.skills[agent % self.agents]
        for number in queue:
            if number in people and people[number][0] // self._lists % self.campaigns in mine:
                queue.remove(number)
                return number
        return None
