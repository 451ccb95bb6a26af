"""Tables for the marginal policy: what a call or an agent of a given age does within the next
seconds, as characteristic functions, so that whole pools add up in one matrix product.

A pool at landing time h needs X(h) agents: those still busy at h + connect window, those whom
earlier answers took. X is a sum of independent yes-or-no's, so the logarithm of its characteristic
function is a sum over ages: (how many of each age) @ (logarithm at that age). That is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from pacing.simulator.scenario import Campaign, Spread
from pacing.state import Floats

Waves = NDArray[np.float32]  # of a transform: real and imaginary parts side by side

_QUANTILES = [NormalDist().inv_cdf((i + 0.5) / 24) for i in range(24)]
_erf = np.frompyfunc(erf, 1, 1)


def below(spread: Spread, times: Floats) -> Floats:
    """P(time <= each of `times`)."""
    mean, sd = spread.log
    z = (np.log(np.maximum(times, 1e-12)) - mean) / (max(sd, 1e-9) * sqrt(2.0))
    return np.asarray((1.0 + np.asarray(_erf(z), dtype=np.float64)) / 2.0)


@dataclass(frozen=True, slots=True)
class Grid:
    """Landing times: cells between `edges` (s from now); `size` points of the transform."""

    edges: Floats
    size: int

    @property
    def middles(self) -> Floats:
        return np.asarray((self.edges[1:] + self.edges[:-1]) / 2.0)

    @property
    def steps(self) -> NDArray[np.complex128]:
        """e^(i w) - 1 at each frequency of a real transform."""
        return np.asarray(np.exp(-2j * np.pi * np.arange(self.size // 2 + 1) / self.size) - 1.0)

    @property
    def width(self) -> int:
        """Numbers per row: cells times frequencies times two."""
        return (len(self.edges) - 1) * (self.size // 2 + 1) * 2


def grid(agents: int, longest: float) -> Grid:
    """For pools of at most `agents` and answers within `longest` s."""
    shares = np.array([0.0, 0.08, 0.16, 0.25, 0.36, 0.48, 0.62, 0.8, 1.0])
    size = agents + 8 + int(5 * sqrt(agents))
    return Grid(shares * longest, size + size % 2)


def flat(waves: NDArray[np.complex128]) -> Waves:
    """(ages, cells, frequencies) as (ages, numbers)."""
    parts = np.stack((waves.real, waves.imag), axis=-1).astype(np.float32)
    return parts.reshape(len(waves), -1)


class Ringing:
    """Calls by age (whole s): `logs` of the transform of "lands by h", and `landing`, for the calls
    of each age: density of landing at h over the transform, which takes a call out of the sum of
    the others when it is the one that lands."""

    def __init__(self, campaign: Campaign, p: float, places: Grid, delay: float, people: float):
        """`p`: share of calls that land (people, after analysis of mean `delay` s); `people`:
        share of answers that do."""
        timeout, ages = campaign.timeout, np.arange(0.0, campaign.timeout + 1.0)
        whole = below(campaign.ring, np.array([timeout]))[0]

        def lands(times: Floats) -> Floats:
            inside = np.clip(times - delay, 0.0, timeout)
            return np.asarray(below(campaign.ring, inside) / whole * (inside > 0))

        answered = below(campaign.ring, ages) / whole * min(p / people, 1.0)
        failed = below(campaign.failing, ages) * min(campaign.busy, 1.0 - p)
        alive = np.maximum(1.0 - answered - failed, 1e-6)

        def chance(after: Floats) -> Floats:
            """P(landed within `after`), by age and time."""
            gone = lands(ages)[:, None]
            later = lands(ages[:, None] + after[None, :]) - gone
            return np.asarray(np.clip(p * later / alive[:, None], 0.0, 0.999))

        by = chance(places.middles)
        waves = 1.0 + by[:, :, None] * places.steps
        self.within = np.diff(chance(places.edges), axis=1)
        self.by = by
        self.logs = flat(np.log(waves))
        self.landing = flat(self.within[:, :, None] / waves)


def analysing(share: float, places: Grid) -> tuple[Waves, Waves]:
    """`logs` and `landing` of calls in analysis, `share` of which are people."""
    by = np.full((1, len(places.edges) - 1), share)
    within = np.zeros_like(by)
    within[:, 0] = share
    waves = 1.0 + by[:, :, None] * places.steps
    return flat(np.log(waves)), flat(within[:, :, None] / waves)


def talking(campaign: Campaign, mean: float, ages: Floats, places: Grid) -> Waves:
    """Agents by age of the talk: logs of the transform of "still busy at h + window"."""
    talk = Spread(mean, campaign.talk_cv)
    log_mean, log_sd = campaign.wrap.log
    until = places.middles + campaign.window
    alive = np.maximum(1.0 - below(talk, ages), 1e-9)[:, None]
    busy = np.zeros((len(ages), len(until)))
    for z in _QUANTILES:
        left = np.maximum(until - float(np.exp(log_mean + log_sd * z)), 0.0)
        later = ages[:, None] + left[None, :]
        tail = 1.0 - below(talk, later.ravel()).reshape(later.shape)
        busy += np.clip(tail / alive, 0.0, 1.0) / len(_QUANTILES)
    return _busy(busy, places)


def wrapping(campaign: Campaign, ages: Floats, places: Grid) -> Waves:
    """The same by age of the wrap-up."""
    until = places.middles + campaign.window
    alive = np.maximum(1.0 - below(campaign.wrap, ages), 1e-9)[:, None]
    later = ages[:, None] + until[None, :]
    tail = 1.0 - below(campaign.wrap, later.ravel()).reshape(later.shape)
    return _busy(np.clip(tail / alive, 0.0, 1.0), places)


def _busy(chance: Floats, places: Grid) -> Waves:
    # Not quite certain: the logarithm of 1 + (-1 - 1) x 1/2 would not exist.
    waves = 1.0 + np.clip(chance, 0.0, 0.99999)[:, :, None] * places.steps
    waves = np.where(np.abs(waves) < 1e-6, 1e-6, waves)
    return flat(np.log(waves))


def choices(ringing: Ringing, most: int, answers: int) -> tuple[Waves, Waves]:
    """What k = 0..`most` new calls do: (cells * answers, k) weights of the tails of X with the
    landing calls left out, and of X for the new calls themselves."""
    by, within = ringing.by[0], ringing.within[0]
    cells = len(by)
    others, own = (np.zeros((cells, answers, most + 1)) for _ in range(2))
    taken = np.zeros((cells, answers))  # how many of k new calls have landed by h
    taken[:, 0] = 1.0
    for k in range(most + 1):
        others[:, :, k] = taken
        if k < most:
            own[:, :, k + 1] = (k + 1) * within[:, None] * taken
        more = np.roll(taken, 1, axis=1)
        more[:, 0] = 0.0
        more[:, -1] += taken[:, -1]
        taken = taken * (1.0 - by[:, None]) + more * by[:, None]
    shape = (cells * answers, most + 1)
    return others.reshape(shape).astype(np.float32), own.reshape(shape).astype(np.float32)
