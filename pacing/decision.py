"""A pacing decision as a value that can explain itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

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


@dataclass(frozen=True, slots=True)
class Decision:
    """Calls to place now, per row, and ringing calls to give up, with the reasons."""

    calls: Ints
    cancel: Flags  # which of `inputs.ringing`
    binding: Ints
    wanted: Ints  # before lines, rate and leads
    inputs: PacingInput
    forecast: Forecast | None = None

    def explain(self, row: int) -> Explanation:
        """Why this many, in fields and in a sentence."""
        given = self.inputs
        binding = Binding(int(self.binding[row]))
        calls, free = int(self.calls[row]), int(given.agents_free[row])
        live = int(given.live_answers[row])
        rate = int(given.abandoned[row]) / live if live else 0.0
        sentence = (
            f"{calls} call{'s' if calls != 1 else ''} for {free} free agent"
            f"{'s' if free != 1 else ''} ({int(given.in_flight[row])} under way): "
            f"{_SENTENCES[binding]}"
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
        )
