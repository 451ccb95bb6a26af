"""A pacing decision as a value that can explain itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from math import isfinite

from pacing.state import Flags, Floats, Ints, Mode, PacingInput


class Binding(IntEnum):
    """What kept a row from placing more calls."""

    AGENTS = 0  # the free agents have their calls
    NO_AGENTS = 1
    MODE = 2  # agents start the calls themselves
    LEADS = 3
    LINES = 4
    RATE = 5
    BUDGET = 6  # the abandon budget is spent: one call per free agent until it recovers
    RISK = 7  # one call more would make more abandoned calls than the budget pays for


_SENTENCES = {
    Binding.AGENTS: "every free agent has the calls the mode allows",
    Binding.NO_AGENTS: "no agent is free",
    Binding.MODE: "agents start these calls themselves",
    Binding.LEADS: "no more leads are due",
    Binding.LINES: "no more lines are free",
    Binding.RATE: "the trunks' calls per second are used up",
    Binding.BUDGET: "too many calls were abandoned: one call per free agent until it recovers",
    Binding.RISK: "one call more would risk more abandoned calls than the budget allows",
}


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a predictive decision went by, per row; the horizon is `AHEAD` s."""

    theta: Floats  # abandoned calls that one more answer may cost
    price: Floats  # what the next one would have cost
    goal: Floats  # share of the coming answers that may be abandoned
    budget_left: Floats  # abandoned calls left in the tightest window; inf: none counts them
    answers: Floats  # persons expected of the calls under way
    free: Floats  # agents expected to be free
    answer_share: Floats  # of calls placed now


AHEAD = 10.0  # s


@dataclass(frozen=True, slots=True)
class Shared:
    """Who serves a row that shares agents and was decided with the others, per row; 0 for rows
    that stand alone."""

    agents: Ints  # who may serve it
    several: Ints  # ... and other rows too
    free: Ints  # of `agents`, free now
    others: Ints  # rows that were decided with it


@dataclass(frozen=True, slots=True)
class Explanation:
    """One row's decision in full."""

    calls: int
    binding: Binding
    wanted: int
    mode: Mode
    agents_free: int
    in_flight: int
    waiting: int
    leads: int
    abandon_rate: float
    target_abandon: float
    sentence: str
    theta: float | None = None  # this and the rest: see `Forecast`; None: nothing was forecast
    price: float | None = None
    goal: float | None = None
    budget_left: float | None = None
    expected_answers: float | None = None
    expected_free: float | None = None
    answer_share: float | None = None
    agents: int | None = None  # these three: see `Shared`; None: decided alone
    several: int | None = None
    others: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Calls to place now, per row, and ringing calls to give up, with the reasons."""

    calls: Ints
    cancel: Flags  # which of `inputs.ringing`
    binding: Ints
    wanted: Ints  # before lines, rate and leads
    inputs: PacingInput
    forecast: Forecast | None = None
    shared: Shared | None = None

    def explain(self, row: int) -> Explanation:
        """Why this many, in fields and in a sentence."""
        given = self.inputs
        binding = Binding(int(self.binding[row]))
        calls, free = int(self.calls[row]), int(given.agents_free[row])
        served = self._served(row)
        if self.shared is not None and served:
            free = int(self.shared.free[row])
        live = int(given.live_answers[row])
        rate = int(given.abandoned[row]) / live if live else 0.0
        ahead = self._forecast(row)
        sentence = (
            f"{calls} call{'s' if calls != 1 else ''} for {free} free agent"
            f"{'s' if free != 1 else ''} ({int(given.in_flight[row])} under way"
            f"{_with(served)}): {_told(binding, ahead)}"
        )
        return Explanation(
            calls=calls,
            binding=binding,
            wanted=int(self.wanted[row]),
            mode=Mode(int(given.mode[row])),
            agents_free=free,
            in_flight=int(given.in_flight[row]),
            waiting=int(given.waiting[row]),
            leads=int(given.leads[row]),
            abandon_rate=rate,
            target_abandon=float(given.target_abandon[row]),
            sentence=sentence,
            agents=served[0] if served else None,
            several=served[1] if served else None,
            others=served[2] if served else None,
            **ahead,
        )

    def _served(self, row: int) -> tuple[int, int, int] | None:
        """`agents`, `several` and `others` of a row that was decided with others."""
        shared = self.shared
        if shared is None or not shared.others[row]:
            return None
        return int(shared.agents[row]), int(shared.several[row]), int(shared.others[row])

    def _forecast(self, row: int) -> dict[str, float]:
        """The forecast of a predictive row by the names of `Explanation`; empty for others."""
        ahead = self.forecast
        if ahead is None or int(self.inputs.mode[row]) != Mode.PREDICTIVE:
            return {}
        return {
            "theta": float(ahead.theta[row]),
            "price": float(ahead.price[row]),
            "goal": float(ahead.goal[row]),
            "budget_left": float(ahead.budget_left[row]),
            "expected_answers": float(ahead.answers[row]),
            "expected_free": float(ahead.free[row]),
            "answer_share": float(ahead.answer_share[row]),
        }


def _with(served: tuple[int, int, int] | None) -> str:
    if served is None:
        return ""
    agents, several, others = served
    return (
        f"; {several} of {agents} agents serve other campaigns too, "
        f"{others} decided together with this one"
    )


def _told(binding: Binding, ahead: dict[str, float]) -> str:
    """The reason in words, with what was expected where there is a forecast."""
    if not ahead:
        return _SENTENCES[binding]
    why = _SENTENCES[binding]
    if binding is Binding.RISK:
        why = (
            f"one more would cost {ahead['price']:.2f} abandoned calls per answer, and "
            f"{ahead['theta']:.2f} is what the budget pays"
        )
    left = ahead["budget_left"]
    budget = f", {max(left, 0.0):.0f} more may be abandoned" if isfinite(left) else ""
    return (
        f"within {AHEAD:.0f} s {ahead['expected_answers']:.1f} people should answer and "
        f"{max(ahead['expected_free'], 0.0):.1f} agents be free; {why} "
        f"(goal {ahead['goal']:.1%}{budget})"
    )
