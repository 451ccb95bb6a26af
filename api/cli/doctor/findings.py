"""What the doctor says: values, and how they are shown."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any


class State(Enum):
    OK = "ok"
    NOTE = "note"  # worth knowing; nothing has to be done
    PROBLEM = "problem"
    REPAIRED = "repaired"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was looked at, how it is, and what to do about it."""

    check: str
    state: State
    explanation: str
    advice: str = ""

    @property
    def good(self) -> bool:
        return self.state is not State.PROBLEM

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "state": self.state.value, "good": self.good}

    def lines(self) -> str:
        """For people."""
        mark = self.state.value.upper() if self.state is State.PROBLEM else self.state.value
        text = f"{mark:<8} {self.check}: {self.explanation}"
        return f"{text}\n{'':<8} - {self.advice}" if self.advice else text


def ok(check: str, explanation: str) -> Finding:
    return Finding(check, State.OK, explanation)


def note(check: str, explanation: str, advice: str = "") -> Finding:
    return Finding(check, State.NOTE, explanation, advice)


def problem(check: str, explanation: str, advice: str) -> Finding:
    return Finding(check, State.PROBLEM, explanation, advice)


def repaired(check: str, explanation: str) -> Finding:
    return Finding(check, State.REPAIRED, explanation)
