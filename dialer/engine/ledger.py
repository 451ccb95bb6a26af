"""A campaign's abandon ledger: counts by hour over the window that the rules look at.

Filled from the call records when an engine takes over and kept up from there, so that it equals
what the records say, and a restart forgives nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from dialer.domain.call import CONNECTED_OUTCOMES, FREE_OUTCOMES, Outcome
from dialer.domain.work import HourCount


@dataclass(slots=True)
class _Counts:
    outcomes: Counter[str] = field(default_factory=Counter)
    live: int = 0
    abandoned: int = 0

    def add(self, outcome: str, *, attempts: int, live: int, abandoned: int) -> None:
        self.outcomes[outcome] += attempts
        self.live += live
        self.abandoned += abandoned


class Ledger:
    """Counts of one campaign. An hour that leaves the window is forgotten as a whole, once all of
    it has: the window is never shorter than the rule says."""

    def __init__(self) -> None:
        self._hours: dict[datetime, _Counts] = {}
        self._total = _Counts()

    def load(self, counts: Iterable[HourCount]) -> None:
        """Add what the records say."""
        for count in counts:
            for part in (self._hours.setdefault(count.hour, _Counts()), self._total):
                part.add(
                    count.outcome,
                    attempts=count.attempts,
                    live=count.live,
                    abandoned=count.abandoned,
                )

    def count(self, outcome: Outcome, *, abandoned: bool, at: datetime) -> None:
        """One attempt more, intended at `at`."""
        live = abandoned or outcome in CONNECTED_OUTCOMES
        hour = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        for part in (self._hours.setdefault(hour, _Counts()), self._total):
            part.add(outcome.value, attempts=1, live=int(live), abandoned=int(abandoned))

    def roll(self, since: datetime) -> None:
        """Forget the hours that ended before `since`."""
        for hour in [h for h in self._hours if h + timedelta(hours=1) <= since]:
            gone = self._hours.pop(hour)
            self._total.outcomes.subtract(gone.outcomes)
            self._total.live -= gone.live
            self._total.abandoned -= gone.abandoned

    def since(self, at: datetime) -> tuple[int, int]:
        """Live answers and abandoned calls of the hours that end after `at`."""
        hours = [c for h, c in self._hours.items() if h + timedelta(hours=1) > at]
        return sum(c.live for c in hours), sum(c.abandoned for c in hours)

    @property
    def outcomes(self) -> dict[str, int]:
        """Attempts in the window by outcome."""
        return {outcome: n for outcome, n in self._total.outcomes.items() if n}

    @property
    def attempts(self) -> int:
        """Attempts in the window that cost their lead one."""
        free = {outcome.value for outcome in FREE_OUTCOMES}
        return sum(n for outcome, n in self.outcomes.items() if outcome not in free)

    @property
    def live_answers(self) -> int:
        """Persons who answered: connected and abandoned ones."""
        return self._total.live

    @property
    def abandoned(self) -> int:
        return self._total.abandoned
