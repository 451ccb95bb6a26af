"""A world that does not begin in an empty room: agents in the middle of their work, calls ringing.

What is not known of them (who will answer, when a conversation ends) is drawn from the campaign's
distributions, given how long it has lasted already; the same for equal seeds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from pacing.simulator.fates import generator
from pacing.simulator.network import ANSWERED, FAILED, RANG_OUT
from pacing.simulator.scenario import Campaign, Spread
from pacing.simulator.world import World
from pacing.state import Floats, Ints

_STREAM = (1 << 20) + 2
_TRIES = 64  # draws, of which the first that lasts long enough counts


@dataclass(frozen=True, slots=True)
class Start:
    """A campaign at one moment. Ages in s; `live` and `abandoned` count in its abandon window,
    `windows`: (live, abandoned, cap) of each that applies."""

    free: int = 0
    talking: tuple[float, ...] = ()
    wrapping: tuple[float, ...] = ()
    ringing: tuple[float, ...] = ()
    live: int = 0
    abandoned: int = 0
    windows: tuple[tuple[float, float, float], ...] = ()

    @property
    def agents(self) -> int:
        return self.free + len(self.talking) + len(self.wrapping)


def begin(world: World, start: Start) -> None:
    """Put a new world of one campaign into this state, in all its runs."""
    (campaign,) = world.scenario.campaigns
    for run, seed in enumerate(world.seeds):
        draw = generator(seed, _STREAM, 0)
        _seat(world, run, start, campaign, draw)
        _ring(world, run, np.array(start.ringing, dtype=np.float64), campaign, draw)


def _seat(
    world: World, run: int, start: Start, campaign: Campaign, draw: np.random.Generator
) -> None:
    """Busy agents first; whoever the centre has beside those at work is free."""
    agents, floor = world.scenario.agents, world.floor
    talked = np.array(start.talking, dtype=np.float64)
    wrapped = np.array(start.wrapping, dtype=np.float64)
    first = run * agents
    t, w = len(talked), len(wrapped)
    floor.free[run] = deque(first + a for a in range(t + w, agents))
    talk = Spread(campaign.talk_now, campaign.talk_cv)
    whole = _longer(draw, talk, talked)
    after = np.exp(campaign.wrap.log[0] + campaign.wrap.log[1] * draw.standard_normal(t))
    rest = _longer(draw, campaign.wrap, wrapped)
    who = np.arange(first, first + t + w)
    world.row[who], world.slot[who] = run, world.dialing.slot[run]
    world.state[who] = np.repeat([1, 2], [t, w])
    world.began[who[:t]] = -talked
    world.talk_ends[who] = np.concatenate([whole - talked, -wrapped])
    world.wrap_ends[who] = np.concatenate([whole - talked + after, rest - wrapped])
    world.resume(who)


def _ring(
    world: World, run: int, ages: Floats, campaign: Campaign, draw: np.random.Generator
) -> None:
    """Calls that ring, with fates that fit how long they have."""
    calls, n = world.calls, len(ages)
    if not n:
        return
    counts = np.zeros(world.runs, dtype=np.int64)
    counts[run] = n
    _, at = world.dialing.dial(counts, calls, world.network, 0.0)
    world.dialing.placed_before(counts)
    p, busy, timeout = campaign.p_now, campaign.busy, campaign.timeout
    luck = draw.random((n, _TRIES))
    outcome = np.where(luck < p, ANSWERED, np.where(luck > 1.0 - busy, FAILED, RANG_OUT))
    normal = draw.standard_normal((2, n, _TRIES))
    answer = np.exp(campaign.ring.log[0] + campaign.ring.log[1] * normal[0])
    fail = np.exp(campaign.failing.log[0] + campaign.failing.log[1] * normal[1])
    seconds = np.where(outcome == ANSWERED, answer, np.where(outcome == FAILED, fail, timeout))
    fits = (seconds > ages[:, None]) & ((seconds <= timeout) | (outcome == RANG_OUT))
    which = np.where(fits.any(1), fits.argmax(1), 0)
    pick: Ints = np.arange(n)
    found = fits[pick, which]
    for said in (calls.rings, calls.media):  # when the network spoke, as long after the dialing
        said[at] -= ages
    calls.placed[at] = -ages
    calls.outcome[at] = np.where(found, outcome[pick, which], RANG_OUT)
    left = np.where(found, seconds[pick, which], np.maximum(timeout, ages + 1.0)) - ages
    calls.ends[at] = left


def _longer(draw: np.random.Generator, spread: Spread, least: Floats) -> Floats:
    """Times that last longer than `least`, one for each."""
    mean, sd = spread.log
    drawn = np.exp(mean + sd * draw.standard_normal((len(least), _TRIES)))
    fits = drawn > least[:, None]
    which = fits.argmax(1)
    at = np.arange(len(least))
    return np.where(fits.any(1), drawn[at, which], least + spread.mean) if len(least) else least
