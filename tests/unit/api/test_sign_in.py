"""Guessing passwords does not pay, from many sides at once neither."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from api.auth import Auth
from dialer.domain.errors import TooMany, Unauthenticated
from tests.unit.api.house import PASSWORD, House

pytestmark = pytest.mark.unit


async def guess(auth: Auth, login: str, *, address: str = "") -> str:
    try:
        await auth.sign_in(login, "wrong", address=address)
    except (Unauthenticated, TooMany) as error:
        return type(error).__name__
    return "in"


async def test_guesses_at_the_same_time_are_all_counted(house: House) -> None:
    """Each process has its own memory; the database counts for all of them."""
    auths = [
        Auth(house.deps.database, key=b"k" * 32, token_seconds=60, clock=house.clock)
        for _ in range(5)
    ]
    await asyncio.gather(*(guess(auth, "admin") for auth in auths))
    with pytest.raises(TooMany):
        await house.deps.auth.sign_in("admin", PASSWORD)
    house.clock.advance(301)
    assert (await house.deps.auth.sign_in("admin", PASSWORD))[1] == 3600


async def test_unknown_logins_rest_like_known_ones(house: House) -> None:
    for login in ("admin", "nobody-here"):
        answers = [await guess(house.deps.auth, login) for _ in range(7)]
        assert answers == ["Unauthenticated"] * 5 + ["TooMany"] * 2, login


async def test_one_address_cannot_try_many_logins(house: House) -> None:
    auth = house.deps.auth
    answers = Counter([await guess(auth, f"u{n}", address="192.0.2.1") for n in range(32)])
    assert answers == {"Unauthenticated": 30, "TooMany": 2}
    assert await guess(auth, "u99", address="192.0.2.2") == "Unauthenticated"
    house.clock.advance(61)
    assert await guess(auth, "u98", address="192.0.2.1") == "Unauthenticated"
