"""From answers and failures per second of ringing to the chance of an answer by then."""

from __future__ import annotations

import numpy as np

from pacing.learning.grid import HORIZONS, MIDDLES
from pacing.state import Array, Floats

#: Tables are computed in half the digits: twice as fast, and far finer than what is known.
SHORT = np.float32
_LOW = np.floor(MIDDLES).astype(np.int64)  # whole seconds around each of MIDDLES
_PART = (MIDDLES - _LOW).astype(SHORT)[:, None, None, None]
_STEPS = int(_LOW[-1]) + 2  # s looked ahead, from 0


def smooth(values: Array) -> Array:
    """A triangle of three neighbours along the last axis; sums are kept but at the ends."""
    out: Array = values * SHORT(0.5)
    quarter = values * SHORT(0.25)
    out[..., 1:] += quarter[..., :-1]
    out[..., :-1] += quarter[..., 1:]
    out[..., 0] += quarter[..., 0]
    out[..., -1] += quarter[..., -1]
    return out


def within(timeout: Floats, answer: Array, fail: Array, ring: Array, media: Array) -> Array:
    """P(answered within MIDDLES), backwards from the ring timeout, each second competing risks:
    (slots, phases, ages) per second, `timeout` (slots) s, to (slots, phases, ages, horizons)."""
    _, phases, ages = answer.shape
    alive = (np.arange(ages)[None, :] < np.floor(timeout)[:, None])[:, None, :]
    # A call stands in the middle of its bin: the next second is half this bin, half the next.
    hit, miss, to_ring, to_media = (_between(rate) for rate in (answer, fail, ring, media))
    total = hit + miss + to_ring + to_media
    stay = np.exp(-total)
    some = (1 - stay) / np.maximum(total, SHORT(1e-9)) * alive
    stay *= alive
    hit, to_ring, to_media = hit * some, to_ring * some, to_media * some
    reached = np.zeros((_STEPS, len(timeout), phases, ages), dtype=SHORT)
    for j in range(1, _STEPS):
        step, before = reached[j], reached[j - 1]
        np.multiply(stay[..., :-1], before[..., 1:], out=step[..., :-1])
        step += hit
        if phases > 1:
            step[:, 0, :-1] += to_ring[:, 0, :-1] * before[:, 1, 1:]
            step[:, 0, :-1] += to_media[:, 0, :-1] * before[:, 2, 1:]
            step[:, 1, :-1] += to_media[:, 1, :-1] * before[:, 2, 1:]
    first, second = reached[_LOW], reached[_LOW + 1]
    second -= first
    second *= _PART
    first += second
    return np.ascontiguousarray(np.moveaxis(first, 0, -1))


def moments(chance: Array) -> Array:
    """(..., horizons) chances to (..., 3, horizons): mean, variance, third central moment."""
    out = np.empty((*chance.shape[:-1], 3, chance.shape[-1]), dtype=chance.dtype)
    out[..., 0, :] = chance
    spread = chance * (1 - chance)
    out[..., 1, :] = spread
    np.multiply(spread, 1 - 2 * chance, out=out[..., 2, :])
    return out


def later(chance: Array, delay: Floats) -> Array:
    """Distribution functions on MIDDLES (slots, ..., horizons), each `delay` s later."""
    at = MIDDLES[None, :] - delay[:, None]
    high = np.clip(np.searchsorted(MIDDLES, at.ravel()).reshape(at.shape), 1, HORIZONS - 1)
    low = high - 1
    part = np.clip((at - MIDDLES[low]) / (MIDDLES[high] - MIDDLES[low]), 0.0, 1.0).astype(SHORT)
    wide = (len(delay), 1, 1, HORIZONS)
    first = np.take_along_axis(chance, low.reshape(wide), axis=-1)
    second = np.take_along_axis(chance, high.reshape(wide), axis=-1)
    moved = first * (1 - part.reshape(wide)) + second * part.reshape(wide)
    early = chance[..., :1] * np.clip(at / MIDDLES[0], 0.0, 1.0).astype(SHORT).reshape(wide)
    shifted: Array = np.where(at.reshape(wide) < MIDDLES[0], early, moved)
    return shifted


def _between(rate: Array) -> Array:
    out = rate.copy()
    out[..., :-1] += rate[..., 1:]
    out[..., :-1] /= 2
    return out
