"""Answers to come and agents still busy, on a grid of moments ahead, for all rows at once.

At each moment h: A(h), who will have answered by then; B(h), which of the busy agents will still be
busy a connect window later. Person number A(h) meets nobody when A(h) + B(h) exceeds the agents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pacing.learning.analysis import Analysis
from pacing.learning.grid import AGES, HORIZONS, MIDDLES
from pacing.learning.ring import PHASE_OF, RingModel
from pacing.learning.service import TALK_BINS, ServiceModel
from pacing.state import Floats, Ints, PacingInput


@dataclass(frozen=True, slots=True)
class Outlook:
    """Chances by trial and by row. Calls first by row, as in `given.ringing`."""

    call_row: Ints
    answer: Floats  # (calls, horizons): this ringing call is answered by then
    agent_row: Ints
    busy: Floats  # (busy agents, horizons): this agent is still busy a window later
    fresh: Floats  # (rows, horizons): a call placed now is answered by then
    lands: Floats  # (rows, horizons): in which stretch it is, given that it is
    agents: Ints  # free and busy
    sure: Ints  # persons who wait already


def look(given: PacingInput, ring: RingModel, service: ServiceModel, analysis: Analysis) -> Outlook:
    """What lies ahead, from the tables as they are."""
    slot = given.slot
    ringing = given.ringing
    share, delay = analysis.share, analysis.delay
    ages = np.clip(ringing.seconds, 0, AGES - 1).astype(np.int64)
    of = slot[ringing.row]
    answer = ring.within[of, PHASE_OF[given.ringing_signal], ages].astype(np.float64)
    fresh = ring.within[slot, 0, 0].astype(np.float64)
    if delay.any():
        answer, fresh = _later(answer, delay[of]), _later(fresh, delay[slot])
    answer *= share[of][:, None]
    fresh *= share[slot][:, None]
    analysing = given.analysing_since
    if len(analysing.row):
        of = slot[analysing.row]
        left = np.maximum(delay[of] - analysing.seconds, 0.0)
        soon = (share[of])[:, None] * (MIDDLES[None, :] >= left[:, None])
        answer = np.vstack([answer, soon])
    call_row = np.concatenate([ringing.row, analysing.row])
    talk = service.talk.bins(given.talking.seconds)
    wrap = service.wrap.bins(given.wrapping.seconds) + TALK_BINS
    agent_row = np.concatenate([given.talking.row, given.wrapping.row])
    stage = np.concatenate([talk, wrap])
    busy = 1.0 - service.free_within[slot[agent_row], stage].astype(np.float64)
    known = np.bincount(agent_row, minlength=given.rows)
    free = np.maximum(given.agents_free, 0)
    mass = np.diff(ring.fresh[slot], axis=1)
    lands = mass / np.maximum(mass.sum(1, keepdims=True), 1e-12)
    return Outlook(
        call_row=call_row,
        answer=answer,
        agent_row=agent_row,
        busy=busy,
        fresh=fresh,
        lands=lands,
        agents=free + known,
        sure=np.maximum(given.waiting, 0),
    )


def _later(chance: Floats, delay: Floats) -> Floats:
    """Distribution functions on MIDDLES, each `delay` s later."""
    at = MIDDLES[None, :] - delay[:, None]
    high = np.clip(np.searchsorted(MIDDLES, at.ravel()).reshape(at.shape), 1, HORIZONS - 1)
    low = high - 1
    part = np.clip((at - MIDDLES[low]) / (MIDDLES[high] - MIDDLES[low]), 0.0, 1.0)
    first = np.take_along_axis(chance, low, axis=1)
    second = np.take_along_axis(chance, high, axis=1)
    moved = first * (1 - part) + second * part
    return np.where(at < MIDDLES[0], chance[:, :1] * np.clip(at / MIDDLES[0], 0.0, 1.0), moved)
