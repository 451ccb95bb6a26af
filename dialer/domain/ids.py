"""Identifiers: UUID version 7, so that they sort by time and partitions can be pruned by them."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from uuid import UUID

from telephony.clock import Clock

NewId = Callable[[], UUID]


def uuid7(clock: Clock, random_bits: Callable[[int], int] = secrets.randbits) -> UUID:
    """RFC 9562 version 7: 48 bits of Unix milliseconds, the rest random."""
    millis = int(clock.now().timestamp() * 1000) & ((1 << 48) - 1)
    value = (millis << 80) | (0x7 << 76) | (random_bits(12) << 64) | (0b10 << 62) | random_bits(62)
    return UUID(int=value)


def id_source(clock: Clock) -> NewId:
    """A source of new ids bound to one clock."""
    return lambda: uuid7(clock)
