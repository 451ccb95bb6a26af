"""The same centre, simulated a second time in the plainest way: one run, one queue of events."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from math import floor

import numpy as np
import pytest

from pacing.simulator import Campaign, PerFreeAgent, Scenario, Spread, run
from pacing.simulator.fates import Fate, Fates

pytestmark = pytest.mark.unit


@dataclass
class Plain:
    """Event by event. `ratio` calls per free agent, less those under way."""

    scenario: Scenario
    ratio: float
    seed: int
    talk: float = 0.0
    wrap: float = 0.0
    ready: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.campaign = self.scenario.campaigns[0]
        self.fates = Fates([self.seed], [self.campaign])
        self.free = [(0.0, number) for number in range(self.scenario.agents)]
        self.people: list[list[float]] = []  # answered at, talk, wrap-up; waiting
        self.under_way = 0
        self.events: list[tuple[float, int, str, list[float]]] = []
        self.number = 0
        for name in ("placed", "answered", "failed", "rang_out", "connected", "abandoned"):
            self.counts[name] = 0

    def put(self, time: float, what: str, who: list[float]) -> None:
        self.number += 1
        heapq.heappush(self.events, (time, self.number, what, who))

    def run(self) -> Plain:
        for tick in range(round(self.scenario.end / self.scenario.tick) + 1):
            now = tick * self.scenario.tick
            while self.events and self.events[0][0] <= now:
                time, _, what, who = heapq.heappop(self.events)
                getattr(self, what)(time, who)
            if now < self.scenario.end:
                wanted = floor(len(self.free) * self.ratio + 1e-9)
                for _ in range(wanted - self.under_way - len(self.people)):
                    self.dial(now)
        self.ready += sum(self.scenario.end - since for since, _ in self.free)
        return self

    def dial(self, now: float) -> None:
        fate = self.fates.take(np.array([1]))[1][0]
        self.counts["placed"] += 1
        self.under_way += 1
        campaign, luck = self.campaign, fate[Fate.ANSWER]
        talk, wrap = 120.0 * fate[Fate.TALK], fate[Fate.WRAP]
        if luck < 0.3:
            self.put(now + fate[Fate.RING], "answered", [talk, wrap])
        elif luck > 1 - campaign.busy:
            self.put(now + fate[Fate.FAIL], "failed", [])
        else:
            self.put(now + campaign.timeout, "rang_out", [])

    def failed(self, time: float, who: list[float]) -> None:
        self.under_way -= 1
        self.counts["failed"] += 1

    def rang_out(self, time: float, who: list[float]) -> None:
        self.under_way -= 1
        self.counts["rang_out"] += 1

    def answered(self, time: float, who: list[float]) -> None:
        self.under_way -= 1
        self.counts["answered"] += 1
        person = [time, *who]
        self.people.append(person)
        self.put(time + self.campaign.window, "expires", person)
        self.match(time)

    def expires(self, time: float, who: list[float]) -> None:
        if any(person is who for person in self.people):
            self.people = [person for person in self.people if person is not who]
            self.counts["abandoned"] += 1

    def finished(self, time: float, who: list[float]) -> None:
        self.free.append((time, int(who[0])))
        self.match(time)

    def match(self, time: float) -> None:
        end = self.scenario.end
        while self.free and self.people:
            since, agent = self.free.pop(0)
            _, talk, wrap = self.people.pop(0)
            self.counts["connected"] += 1
            self.ready += time - since
            self.talk += min(time + talk, end) - time
            self.wrap += max(min(time + talk + wrap, end) - (time + talk), 0.0)
            self.put(time + talk + wrap, "finished", [float(agent)])


@pytest.mark.parametrize("tick", [1.0, 0.5, 3.0])
@pytest.mark.parametrize("ratio", [1.0, 2.5, 5.0])
def test_the_plainest_simulation_finds_the_same(tick: float, ratio: float) -> None:
    campaign = Campaign(wrap=Spread(3.0, 2.0), talk_cv=2.0)  # some are over within a tick
    scenario = Scenario(agents=7, campaigns=(campaign,), tick=tick, warm_up=0.0, duration=1800.0)
    done = run(scenario, PerFreeAgent(ratio), seeds=[3, 4])
    for number, seed in enumerate((3, 4)):
        plain = Plain(scenario, ratio, seed).run()
        for name, count in plain.counts.items():
            assert getattr(done, name)[number, 0] == count, name
        for name in ("talk", "wrap", "ready"):
            assert getattr(done, name)[number] == pytest.approx(getattr(plain, name)), name
    assert done.connected.sum() > 100
