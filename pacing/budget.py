"""The abandon budget: how many of the next answers may be abandoned, and at what price.

Several windows may apply to a row (campaign and centre, day and month); the tightest counts. The
price theta, the abandoned calls that one more answer may cost, is the goal times a factor; each
expected answer moves its logarithm by eta / (answers so far) * (goal - risk) / goal (stochastic
approximation, Robbins and Monro 1951). The risk is the forecast's, corrected by how many abandoned
calls came beside those it had expected: the forecast alone may be wrong, the few abandoned calls
alone are noise. When one abandoned call more would break a window's cap for good, the row is
frozen: one call per free agent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pacing.numbers import between, finite
from pacing.state import Flags, Floats, Ints, PacingInput

_ETA, _FIRST_ANSWERS = 1.5, 150.0  # steps of eta / (answers so far + these) per answer
_MOST_ANSWERS = 4000.0  # ... so many at most: what goes on for days is still followed
_STEP = 0.05  # most in one decision
_MEMORY = 40.0  # abandoned calls after which a share 1/e of the comparison is left
_DOUBTED = 4.0  # abandoned calls for which the forecast is believed
_FIRST, _LEAST, _MOST = 0.6, 0.1, 30.0  # the factor
_ALONE = 1.5  # it begins higher by this for one agent, by less for more
_GIVING_UP = 1.7  # times the price where calls that nobody would be free for may be given up
_BOUNDS = float(np.log(_LEAST)), float(np.log(_MOST))
_THETA_MOST = 0.6
_SPEND = 1.3  # times the cap: what was saved is spent slowly
_SHORT, _SHORT_CAP = 1800.0, 1.4  # s, times the cap: no half hour is to look much worse
_CORRECT = 7200.0, 100.0, 2000.0  # s in whose answers the past is made good; least and most answers
_SMALL = 100.0  # answers: a rolling window with fewer is taken for that many
_CAREFUL = 0.5  # standard deviations by which fewer answers are expected
_CYCLE = 200.0  # s from one answer to an agent's next, before anything is known
_RESERVE, _MORE = 0.3, 0.5  # abandoned calls kept back in a window that closes; by log(1 + agents)
_PART, _KEPT = 0.35, 0.03  # at most this share of the whole; and this share in any case
_FEWER = 0.2  # of the answers to come are lost when a row is frozen
_DUE = 1.5  # times what the calls under way are expected to cost


@dataclass(frozen=True, slots=True)
class Allowance:
    """What each row may do now."""

    theta: Floats  # abandoned calls that one more answer may cost
    goal: Floats  # share of the coming answers that may be abandoned
    left: Floats  # abandoned calls left in the tightest window
    frozen: Flags


class Budget:
    """Factors and rates of live answers, by slot."""

    def __init__(self) -> None:
        self.factor = np.zeros(0)  # log
        self.goal = np.zeros(0)
        self.came, self.expected = np.zeros(0), np.zeros(0)  # abandoned calls
        self.recent = np.zeros((2, 0))  # live answers, abandoned calls of the last half hour
        self.pace = np.zeros(0)  # live answers per second, over some fifteen minutes
        self.answers = np.zeros(0)  # live ones so far
        self._time = np.zeros(0)

    def grow(self, slots: int) -> None:
        more = slots - len(self.factor)
        if more > 0:
            pad = np.zeros(more)
            self.factor = np.concatenate([self.factor, pad + np.log(_FIRST)])
            for name in ("goal", "pace", "came", "expected", "_time", "answers"):
                setattr(self, name, np.concatenate([getattr(self, name), pad]))
            self.recent = np.hstack([self.recent, np.zeros((2, more))])

    def note(
        self, slot: Ints, live: Floats, abandoned: Floats, agents: Ints, elapsed: float,
        due: Floats,
    ) -> None:  # fmt: skip
        """Live answers and abandoned calls of the last `elapsed` s, and agents, of these slots;
        `due` (2, slots): how many of both the forecast had expected."""
        goal, (answers, gone) = self.goal[slot], due
        self.recent *= np.exp(-elapsed / _SHORT)
        self.recent[:, slot] += live, abandoned
        keep = np.exp(-gone / _MEMORY)
        self.came[slot] = self.came[slot] * keep + abandoned
        self.expected[slot] = self.expected[slot] * keep + gone
        truth = (self.came[slot] + _DOUBTED) / (self.expected[slot] + _DOUBTED)
        self.answers[slot] = np.minimum(self.answers[slot] + live, _MOST_ANSWERS)
        eta = _ETA / (self.answers[slot] + _FIRST_ANSWERS)
        step = eta * (goal * answers - truth * gone) / np.maximum(goal, 0.005)
        step = between(step, -_STEP, _STEP)
        self.factor[slot] = between(self.factor[slot] + step, *_BOUNDS)
        new = slot[self._time[slot] == 0]
        if len(new):  # a guess that two minutes outweigh
            theirs = np.maximum(agents[self._time[slot] == 0], 1)
            self.pace[new] = theirs / _CYCLE
            self.factor[new] = np.log(_FIRST + _ALONE * theirs**-0.7)
        self._time[slot] += elapsed
        weight = np.minimum(elapsed / between(self._time[slot] + 120.0, 120.0, 900.0), 1.0)
        self.pace[slot] += (live / max(elapsed, 1e-6) - self.pace[slot]) * weight

    def allow(self, given: PacingInput, due: Floats, answers: Floats) -> Allowance:
        """Per row: `due`, abandoned calls to be expected from what is under way already;
        `answers`, those that the calls under way and all leads can still bring."""
        target = finite(given.target_abandon, 0.0, 0.5, nan=0.0)
        live = np.maximum(given.live_answers, 0).astype(np.float64)
        gone = np.maximum(given.abandoned, 0).astype(np.float64)
        seconds, least, most = _CORRECT
        soon = between(self.pace[given.slot] * seconds, least, most)
        goal = np.maximum(np.minimum(target + (target * live - gone) / soon, _SPEND * target), 0.0)
        left = np.full(given.rows, np.inf)
        windows = given.windows
        if len(windows.row):
            row = windows.row
            cap = finite(windows.cap, 0.0, 0.5, nan=0.0)
            live = finite(windows.live, 0.0, 1e9, nan=0.0)
            gone = finite(windows.abandoned, 0.0, 1e9, nan=1e9)
            rest = finite(windows.seconds_left, 0.0, np.inf, nan=0.0)
            closing = np.isfinite(rest)
            pace = self.pace[given.slot[row]]
            coming = np.minimum(pace * np.where(closing, rest, 0.0), answers[row])
            coming *= np.maximum(1 - _CAREFUL / np.sqrt(coming + 1.0), 0.0)
            whole = cap * (live + coming)
            room = cap * np.where(closing, live + coming, np.maximum(live, _SMALL)) - gone
            # In larger pools several calls may be answered before anything is seen of the first.
            reserve = _RESERVE + _MORE * np.log1p(pace * _CYCLE)
            # Who is frozen has fewer answers: what is sure to be left, not what is hoped for.
            sure = room - cap * np.where(closing, coming, 0.0) * _FEWER
            spend = np.where(
                closing,
                (room - np.minimum(reserve, _PART * whole) - _KEPT * whole)
                / np.maximum(coming, 1.0),
                cap + (cap * live - gone) / soon[row],
            )
            # A window that closes at the target says how to spend it better than the target does.
            served = np.zeros(given.rows, dtype=np.bool_)
            served[row[closing & (cap <= target[row])]] = True
            goal[served] = _SPEND * target[served]
            np.minimum.at(goal, row, np.maximum(np.minimum(spend, _SPEND * cap), 0.0))
            np.minimum.at(left, row, sure)
        slot = given.slot
        recent, lost = self.recent[:, slot]
        short = (_SHORT_CAP * target * (recent + 60.0) - lost) / 60.0
        goal = np.minimum(goal, np.maximum(short, 0.0))
        self.goal[slot] = goal
        price = goal * np.exp(self.factor[slot])
        price[np.isfinite(given.cancel_after)] *= _GIVING_UP
        theta = between(price, 0.0, _THETA_MOST)
        return Allowance(theta, goal, left, frozen=left - _DUE * due < 1.0)
