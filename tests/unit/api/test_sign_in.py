"""Guessing passwords does not pay, from many sides and on many nodes; nor locks anybody out."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from datetime import timedelta

import pytest

from api.auth import Auth, network
from dialer.domain.errors import TooMany, Unauthenticated
from dialer.store.guesses import Limit, count, subject
from tests.unit.api.house import PASSWORD, House

pytestmark = pytest.mark.unit

HERE, THERE = "192.0.2.1", "198.51.100.7"


async def guess(auth: Auth, login: str, *, address: str = HERE, password: str = "wrong") -> str:
    try:
        await auth.sign_in(login, password, address=address)
    except (Unauthenticated, TooMany) as error:
        return type(error).__name__
    return "in"


def node(house: House) -> Auth:
    """Another node of the same installation: only the database is shared."""
    return Auth(house.deps.database, key=b"k" * 32, token_seconds=60, clock=house.clock)


async def test_two_nodes_count_together_and_guesses_at_the_same_time_are_all_counted(
    house: House,
) -> None:
    nodes = [node(house), node(house)]
    answers = await asyncio.gather(*(guess(nodes[n % 2], "admin") for n in range(12)))
    assert Counter(answers) == {"Unauthenticated": 5, "TooMany": 7}
    for auth in nodes:
        assert await guess(auth, "admin", password=PASSWORD) == "TooMany"
    house.clock.advance(301)
    assert await guess(nodes[1], "admin", password=PASSWORD) == "in"


async def test_a_right_password_takes_its_counts_back(house: House) -> None:
    auth = node(house)
    for _ in range(3):
        assert [await guess(auth, "admin") for _ in range(4)] == ["Unauthenticated"] * 4
        assert await guess(auth, "admin", password=PASSWORD) == "in"
        house.clock.advance(30)


async def test_unknown_logins_rest_like_known_ones(house: House) -> None:
    for login in ("admin", "nobody-here"):
        answers = [await guess(house.deps.auth, login) for _ in range(7)]
        assert answers == ["Unauthenticated"] * 5 + ["TooMany"] * 2, login


async def test_one_address_cannot_try_many_logins(house: House) -> None:
    auth = house.deps.auth
    answers = Counter([await guess(auth, f"u{n}") for n in range(32)])
    assert answers == {"Unauthenticated": 30, "TooMany": 2}
    assert await guess(auth, "u99", address=THERE) == "Unauthenticated"
    house.clock.advance(61)
    assert await guess(auth, "u98") == "Unauthenticated"


async def test_nobody_is_locked_out_by_others(house: House) -> None:
    """Neither by somebody at another address, nor by a hundred addresses at once."""
    auth = node(house)
    assert await guess(auth, "admin", password=PASSWORD, address=HERE) == "in"
    assert [await guess(auth, "admin", address=THERE) for _ in range(6)][-1] == "TooMany"
    assert await guess(auth, "admin", password=PASSWORD, address=HERE) == "in"
    # A hundred addresses: the login rests everywhere, but where it has signed in before.
    limit = Limit("login", subject("admin"), 100, timedelta(minutes=15))
    async with house.deps.database.begin() as connection:
        for _ in range(110):  # without the hashes, which take their time
            await count(connection, [limit], now=house.clock.now())
    assert await guess(auth, "admin", password=PASSWORD, address="203.0.113.250") == "TooMany"
    assert await guess(auth, "admin", password=PASSWORD, address=HERE) == "in"
    house.clock.advance(901)
    assert await guess(auth, "admin", password=PASSWORD, address="203.0.113.250") == "in"


def test_one_machines_ipv6_addresses_are_one() -> None:
    assert network("2001:db8::1") == network("2001:db8::ffff:1") != network("2001:db8:0:1::1")
    assert network(HERE) == HERE and network("") == "" and network("testclient") == "testclient"


async def test_unknown_logins_take_as_long_as_known_ones(house: House) -> None:
    """The hash is what takes time, and it is made for both: medians within each other's spread."""
    auth, took = house.deps.auth, {"admin": [], "nobody-here": []}  # type: ignore[var-annotated]
    for n in range(5):
        for login, times in took.items():
            begun = time.perf_counter()
            await guess(auth, login, address=f"203.0.113.{n}")
            times.append(time.perf_counter() - begun)
    known, unknown = map(statistics.median, took.values())
    assert 0.4 < known / unknown < 2.5


async def test_a_new_password_ends_the_tokens_and_the_rest_of_the_lock(house: House) -> None:
    auth = house.deps.auth
    token = await house.token("quality")
    assert (await house.call("GET", "/me", login="quality")).status_code == 200
    for _ in range(6):
        await guess(auth, "quality")
    accounts = (await house.call("GET", "/accounts")).json()["items"]
    mine = next(a["id"] for a in accounts if a["login"] == "quality")
    new = "quite another password"
    changed = await house.call("PATCH", f"/accounts/{mine}", json={"password": new})
    assert changed.status_code == 200
    with pytest.raises(Unauthenticated):
        await auth.authenticate(token)
    assert await guess(auth, "quality", password=PASSWORD) == "Unauthenticated"
    assert await guess(auth, "quality", password=new) == "in"


async def test_who_comes_in_and_who_is_turned_away_is_in_the_audit_log(house: House) -> None:
    await guess(house.deps.auth, "quality", address=THERE)
    await guess(house.deps.auth, "quality", address=THERE, password=PASSWORD)
    await guess(house.deps.auth, PASSWORD, address=THERE)  # typed into the wrong field
    found = (await house.call("GET", "/audit")).json()["items"]
    noted = {(e["who"], e["action"], e["details"]["address"]) for e in found}
    assert {("quality", "sign_in", THERE), ("quality", "sign_in.refused", THERE)} <= noted
    assert PASSWORD not in str(found)
