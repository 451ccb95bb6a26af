"""Recorded calls gone through again under other settings: who answered then answers again.

What is known of a call stays with it: whether it was answered and when, how long the conversation
and the wrap-up took. What is not (a call that was given up, a person who met nobody) is drawn from
the rest of the records, the same for every setting. The first run takes the calls in the order in
which they were placed; the others take them in blocks, shuffled, so that chance shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from pacing.engine import Engine
from pacing.seen import Kind, Seen
from pacing.simulator.fates import Fate, generator
from pacing.simulator.fit import fit
from pacing.simulator.forecast import Planned, Setting, figures_of
from pacing.simulator.scenario import Campaign, Scenario
from pacing.simulator.start import Start
from pacing.simulator.view import View
from pacing.simulator.world import World
from pacing.state import Floats, Ints

_STREAM = (1 << 20) + 3
_BLOCK = 50  # calls that stay together
_BASE = 5  # columns of a call's fate
_LONGEST = 12 * 3600.0  # s simulated at most
_TRIES = 64


@dataclass(frozen=True, slots=True)
class Recorded:
    """Calls in the order in which they were placed, equally long arrays. `kind`: `Kind.ANSWERED`,
    FAILED, RANG_OUT or CANCELLED (given up, or nobody knows); `seconds` after dial. `talk`, `wrap`:
    s, NaN where they are not known."""

    kind: Ints
    seconds: Floats
    talk: Floats
    wrap: Floats

    @property
    def seen(self) -> Seen:
        """What an engine would have learnt of them."""
        talked, wrapped = ~np.isnan(self.talk), ~np.isnan(self.wrap)
        parts = [
            (self.kind, self.seconds),
            (np.full(int(talked.sum()), int(Kind.TALK_ENDED)), self.talk[talked]),
            (np.full(int(wrapped.sum()), int(Kind.WRAP_ENDED)), self.wrap[wrapped]),
        ]
        kind = np.concatenate([k for k, _ in parts]).astype(np.int64)
        seconds = np.concatenate([s for _, s in parts])
        return Seen(kind=kind, slot=np.zeros(len(kind), dtype=np.int64), seconds=seconds)


class RecordedFates:
    """Hands out recorded calls as `Fates` hands out drawn ones."""

    def __init__(self, recorded: Recorded, campaign: Campaign, seeds: Sequence[int]) -> None:
        self._at: Ints = np.zeros(len(seeds), dtype=np.int64)
        self._fates = np.stack([_fates(recorded, campaign, seed) for seed in seeds])

    def take(self, counts: Ints) -> tuple[Ints, Floats]:
        """The next `counts` calls of each row."""
        rows = np.repeat(np.arange(len(counts)), counts)
        begin = np.cumsum(counts) - counts
        index = np.arange(len(rows)) + np.repeat(self._at - begin, counts)
        self._at += counts
        return rows, self._fates[rows, np.minimum(index, self._fates.shape[1] - 1)]

    def peek(self, row: int, count: int) -> Floats:
        """The next `count` calls of a row without taking them."""
        start = int(self._at[row])
        return self._fates[row, start : start + count]


def replay(
    recorded: Recorded,
    settings: Sequence[Setting],
    *,
    agents: int,
    timeout: float = 25.0,
    window: float = 2.0,
    cancel_after: float = inf,
    runs: int = 8,
    tick: float = 1.0,
) -> list[dict[str, Floats]]:
    """Each figure of `forecast.FIGURES` in each run, for each of `settings`, until the last call
    is placed. Raises ValueError without calls or agents."""
    n = len(recorded.kind)
    if not n or agents < 1:
        raise ValueError(f"expected calls and agents, got {n} and {agents}")
    campaign = fit(
        recorded.seen, timeout=timeout, window=window, cancel_after=cancel_after, leads=float(n)
    )
    busy = n * (campaign.talk_now + campaign.wrap.mean + 4 * timeout) / agents
    scenario = Scenario(
        name="replay", agents=agents, campaigns=(campaign,), warm_up=0.0, tick=tick, endless=True,
        duration=float(np.ceil(min(busy + 600.0, _LONGEST) / tick) * tick),
    )  # fmt: skip
    seeds = list(range(runs)) * len(settings)
    world = World(scenario, seeds)
    world.dialing.fates = RecordedFates(recorded, campaign, seeds)
    view, seen = View(world), Seen()
    start = Start(windows=((0.0, 0.0, 0.5),))
    policy = Planned([s for s in settings for _ in range(runs)], start, Engine())
    for _ in range(round(scenario.end / tick)):
        given, places = view.now()
        if not given.leads.any() and not len(places) and not (world.state > 0).any():
            break
        world.act(policy.decide(given, seen), places)
        seen = world.advance()
    figures = figures_of(world.results(), scenario.duration, campaign.leads)
    return [
        {name: values[i * runs : (i + 1) * runs] for name, values in figures.items()}
        for i in range(len(settings))
    ]


def _fates(recorded: Recorded, campaign: Campaign, seed: int) -> Floats:
    """Columns by `Fate` that make `Network.dial` end each call as it was recorded."""
    n, draw = len(recorded.kind), generator(seed, _STREAM, 0)
    kind, seconds = _completed(recorded, campaign, draw)
    talks, wraps = (t[~np.isnan(t)] for t in (recorded.talk, recorded.wrap))
    talk = _filled(recorded.talk, talks, campaign.talk_now, draw)
    wrap = _filled(recorded.wrap, wraps, campaign.wrap.mean, draw)
    fates = np.zeros((n, _BASE))
    out = 1.0 - campaign.busy - 0.0005  # above p, and not busy
    fates[:, Fate.ANSWER] = np.select(
        [kind == int(Kind.ANSWERED), kind == int(Kind.FAILED)], [0.0, 1.0], out
    )
    fates[:, Fate.RING] = fates[:, Fate.FAIL] = np.maximum(seconds, 0.01)
    fates[:, Fate.TALK] = talk / campaign.talk_now
    fates[:, Fate.WRAP] = wrap
    return fates[_order(n, seed, draw)]


def _completed(
    recorded: Recorded, campaign: Campaign, draw: np.random.Generator
) -> tuple[Ints, Floats]:
    """Given-up calls go on as calls of their age do that were not given up."""
    kind, seconds = recorded.kind.copy(), recorded.seconds.copy()
    open_ = np.flatnonzero(kind == int(Kind.CANCELLED))
    whole = np.flatnonzero(kind != int(Kind.CANCELLED))
    if not len(open_):
        return kind, seconds
    if not len(whole):
        kind[open_], seconds[open_] = int(Kind.RANG_OUT), campaign.timeout
        return kind, seconds
    tried = whole[draw.integers(0, len(whole), (len(open_), _TRIES))]
    fits = recorded.seconds[tried] > recorded.seconds[open_][:, None]
    pick = tried[np.arange(len(open_)), fits.argmax(1)]
    found = fits.any(1)
    kind[open_] = np.where(found, recorded.kind[pick], int(Kind.RANG_OUT))
    seconds[open_] = np.where(found, recorded.seconds[pick], campaign.timeout)
    return kind, seconds


def _filled(values: Floats, known: Floats, usual: float, draw: np.random.Generator) -> Floats:
    others = draw.choice(known, len(values)) if len(known) else np.full(len(values), usual)
    return np.where(np.isnan(values), others, values)


def _order(n: int, seed: int, draw: np.random.Generator) -> Ints:
    if seed == 0:
        return np.arange(n)
    blocks = [np.arange(first, min(first + _BLOCK, n)) for first in range(0, n, _BLOCK)]
    return np.concatenate([blocks[i] for i in draw.permutation(len(blocks))])
