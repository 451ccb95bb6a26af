"""One predictive campaign on the real Asterisk, from its people to its records."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.bench.predictive_report.agents import DrawnAgent
from tests.bench.predictive_report.measured import Row, Stretch
from tests.bench.predictive_report.people import AGENTS, CAMPAIGN, CAP, draw
from tests.bench.report import say
from tests.bench.soak import metrics
from tests.lab.callcentre import CallCentre
from tests.lab.process import until

_LONGEST = 1800.0  # s a measurement may take
_AHEAD = 5.0  # minutes of a forecast, the least there is
_LOADED = 1000  # people in one request
_AT_WORK = ("ready", "reserved", "on_call", "wrap_up")


@dataclass(frozen=True, slots=True)
class Foretold:
    """A forecast and the stretch that it was about."""

    said: Mapping[str, Any]
    of: Stretch


@dataclass(frozen=True, slots=True)
class _Moment:
    """Now, by two clocks."""

    calendar: datetime
    monotonic: float

    @classmethod
    def now(cls) -> _Moment:
        return cls(datetime.now(UTC), time.monotonic())

    def until(self, end: _Moment) -> Stretch:
        return Stretch(self.calendar, end.calendar, self.monotonic, end.monotonic)


class Played:
    """The campaign in a call centre that has Asterisk, SIPp and the dialer running.

    After `play`: `warming` and `counted` are the stretches before and after `warm_up` s, `tick` how
    often pacing looked at the pool (s), `foretold` the forecasts that were asked for."""

    def __init__(self, centre: CallCentre, *, answers: int, warm_up: float, seed: int) -> None:
        """`answers`: people to be met while it counts; `seed`: of the people."""
        self._centre, self._answers, self._warm_up = centre, answers, warm_up
        self._campaign = ""
        # Three calls for an answer, the warm-up's too, and some more.
        count = int((answers + warm_up * AGENTS / 15) / CAMPAIGN.p_now * 1.6) + 500
        self.people = draw(count, seed=seed)
        self.warming: Stretch
        self.counted: Stretch
        self.tick = 0.0
        self.foretold: list[Foretold] = []

    async def play(self) -> None:
        """Warm up, then count until there are answers enough, and let all calls end."""
        centre = self._centre
        self._campaign = await centre.campaign(
            "predictive", mode="predictive", target_abandon=CAP, ring_timeout=CAMPAIGN.timeout,
            connect_window=CAMPAIGN.window, give_up_after=0, wrap_up=120, max_attempts=1,
            retries={}, record=False,
        )  # fmt: skip
        leads = [{"number": p.number, "name": f"P{i}"} for i, p in enumerate(self.people)]
        for first in range(0, len(leads), _LOADED):
            await centre.load(self._campaign, leads[first : first + _LOADED])
        people = {person.number: person for person in self.people}
        await centre.add_agents([self._campaign], kind=DrawnAgent, people=people)
        await asyncio.gather(*(agent.until("ready") for agent in self.agents))
        await centre.post(f"/campaigns/{self._campaign}/start")
        say(f"warming up for {self._warm_up:.0f} s")
        first_moment = _Moment.now()
        await asyncio.sleep(self._warm_up)
        begun, ticks = _Moment.now(), await self._ticks()
        self.warming = first_moment.until(begun)
        forecasts = asyncio.ensure_future(self._forecasts())
        try:
            enough = self._met() + self._answers
            await until(
                lambda: self._met() >= enough, timeout=_LONGEST, what=f"{enough} people to be met"
            )
        finally:
            forecasts.cancel()
            (why,) = await asyncio.gather(forecasts, return_exceptions=True)
            if not isinstance(why, asyncio.CancelledError):
                say(f"no more forecasts: {why!r}")
        self.counted = begun.until(_Moment.now())
        for agent in self.agents:
            if agent.state not in _AT_WORK:
                say(f"{agent.name} is {agent.state} and takes no calls")
        self.tick = self.counted.seconds / max(await self._ticks() - ticks, 1.0)
        await self._close()

    @property
    def agents(self) -> list[DrawnAgent]:
        return [agent for agent in self._centre.agents if isinstance(agent, DrawnAgent)]

    def _met(self) -> int:
        return sum(len(agent.met) for agent in self.agents)

    async def _forecasts(self) -> None:
        """One after the other, each about the minutes until the next."""
        while True:
            begun = _Moment.now()
            said = await self._centre.post(
                f"/campaigns/{self._campaign}/forecast", {"minutes": _AHEAD}
            )
            took = time.monotonic() - begun.monotonic
            say(f"forecast in {took:.1f} s: {said['parameters']}")
            await asyncio.sleep(_AHEAD * 60.0 - took)
            self.foretold.append(Foretold(said["current"], begun.until(_Moment.now())))

    async def _ticks(self) -> float:
        text = metrics((await self._centre.http.get("/metrics")).text)
        return sum(value for name, _, value in text if name == "dialer_pacing_ticks_total")

    async def _close(self) -> None:
        """No new calls; wait until everybody has hung up, so that every call has an outcome."""
        centre = self._centre
        await centre.post(f"/campaigns/{self._campaign}/pause")

        async def drained() -> bool:
            found = await centre.post(f"/campaigns/{self._campaign}", method="GET")
            return bool(found["state"] == "paused")

        await until(drained, timeout=120, what="the last conversations to end")

    async def intervals(self) -> list[Row]:
        """The agents' time as recorded, what lasts still up to now."""
        now = datetime.now(UTC)
        over = await self._centre.rows("agent_interval")
        lasting = await self._centre.rows("agent_now")
        return [
            *over,
            *({**row, "started_at": row["since"], "ended_at": max(now, row["since"])}
              for row in lasting),
        ]  # fmt: skip
