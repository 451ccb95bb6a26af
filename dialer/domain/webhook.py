"""What other systems are told: events, how often a failed delivery is tried again, and when a
receiver is left alone. Values and rules only.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any
from uuid import UUID, uuid5


class EventType(Enum):
    CALL_CONCLUDED = "call.concluded"  # an attempt has its outcome
    DISPOSITION_SET = "disposition.set"  # what the agent said of it
    CALLBACK_MADE = "callback.made"  # a time was agreed with the person, or by the API
    CAMPAIGN_STATE_CHANGED = "campaign.state_changed"
    RECORDING_STORED = "recording.stored"
    TEST = "webhook.test"  # asked for by somebody who sets a receiver up


#: Those that an endpoint may ask for; a test comes when it is asked for.
CHOICES = tuple(kind for kind in EventType if kind is not EventType.TEST)


class DeliveryState(Enum):
    PENDING = "pending"  # waits for its first try, or the next one
    DELIVERED = "delivered"
    FAILED = "failed"  # given up after a day; may be redelivered


_EVENTS = UUID("5d7cf2b1-6b3e-5f0a-9d53-0a1f5b6f2c11")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `key` tells it from all others of its type: the same one has the
    same id, however often it is written. Events of one `subject` (a lead, or a campaign) are
    delivered in order. `data`: ids, states, times; no names, numbers or notes of people.
    """

    type: EventType
    subject: UUID
    key: str
    at: datetime
    data: Mapping[str, Any]

    @property
    def id(self) -> UUID:
        return uuid5(_EVENTS, f"{self.type.value}:{self.key}")


@dataclass(frozen=True, slots=True)
class Attempted:
    """How one try went. `status`: what the receiver answered, None when it did not; `error`: a
    word for people, '' when it was delivered; `retry_after`: seconds it asked for."""

    status: int | None
    error: str = ""
    retry_after: float = 0.0

    @property
    def delivered(self) -> bool:
        return not self.error

    @property
    def gone(self) -> bool:
        """The receiver says that nobody wants these any more."""
        return self.status == 410


_FIRST, _FACTOR, _LONGEST = 5.0, 4.0, 4 * 3600.0  # s
_GIVEN_UP_AFTER = timedelta(hours=24)
_MOST_ASKED = 6 * 3600.0  # s: a receiver that asks for more would have it failed unseen


def try_again(
    tries: int, *, since: datetime, now: datetime, retry_after: float, rng: random.Random
) -> datetime | None:
    """When to try again after the `tries`-th failure, None: given up. About a dozen tries in a
    day, further and further apart, each off by up to a fifth so that they do not come in waves."""
    if now - since >= _GIVEN_UP_AFTER:
        return None
    rest = min(_FIRST * _FACTOR ** min(tries - 1, 20), _LONGEST) * rng.uniform(0.8, 1.2)
    return now + timedelta(seconds=max(rest, min(retry_after, _MOST_ASKED)))


_OPENS_AT = 3  # failures in a row
_SHORTEST_REST, _LONGEST_REST = 10.0, 600.0  # s
_DISABLED_AFTER = timedelta(days=3)
_DISABLED_AT = 10  # failures in a row: a receiver that hears little is not judged by two


@dataclass(frozen=True, slots=True)
class Health:
    """How an endpoint has done lately. It is the circuit: while it rests nothing is sent to it,
    after that one delivery at a time, and all of them when one has arrived."""

    failures: int = 0  # looks in a row in which nothing arrived
    failing_since: datetime | None = None
    rests_until: datetime | None = None

    @property
    def probing(self) -> bool:
        return self.failures >= _OPENS_AT

    def arrived(self) -> Health:
        return Health()

    def failed(self, now: datetime, *, retry_after: float, rng: random.Random) -> Health:
        failures, rest = self.failures + 1, 0.0
        if failures >= _OPENS_AT:
            doubled = 2.0 ** min(failures - _OPENS_AT, 20)
            rest = min(_SHORTEST_REST * doubled, _LONGEST_REST) * rng.uniform(0.8, 1.0)
        rest = max(rest, min(retry_after, _MOST_ASKED))
        until = now + timedelta(seconds=rest) if rest else None
        return Health(failures, self.failing_since or now, until)

    def hopeless(self, now: datetime) -> bool:
        """Nothing has arrived for days: somebody has to look at it."""
        since = self.failing_since
        return (
            since is not None and now - since >= _DISABLED_AFTER and self.failures >= _DISABLED_AT
        )
