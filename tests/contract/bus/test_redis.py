"""What only Redis can do to a bus: be stopped, emptied, frozen, refuse us, or have two owners."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from dialer.domain.errors import Unavailable
from dialer.live.feed import KEPT, Missed, Seq
from dialer.live.redis_gateway import RedisGateway
from dialer.live.redis_tail import Tail
from tests.contract.bus.rig import TOPIC, Rig, numbers, redis_bus, redis_rig
from tests.lab.faults import injected
from tests.lab.process import until
from tests.lab.servers import LabRedis

pytestmark = pytest.mark.contract

Payload = Mapping[str, Any]


@pytest.fixture
async def two(server: LabRedis) -> AsyncIterator[Rig]:
    async with redis_rig(server.url) as opened:
        yield opened


@pytest.fixture
async def raw(server: LabRedis) -> AsyncIterator[Redis]:
    async with Redis.from_url(server.url) as client:
        yield client


async def down(rig: Rig) -> None:
    await until(
        lambda: "ok" not in (rig.here.state, rig.elsewhere.state), timeout=10, what="the loss"
    )


async def up(rig: Rig) -> None:
    await until(
        lambda: rig.here.state == rig.elsewhere.state == "ok", timeout=15, what="the way back"
    )
    assert await rig.here.settled(5)


async def test_redis_stopped_and_emptied_loses_and_repeats_nothing(
    two: Rig, server: LabRedis
) -> None:
    owner = two.here.feed.own(two.pool, 3)
    await two.tell(owner, 1, 50)
    near = await two.here.feed.subscribe(TOPIC, Seq(3, 50))
    far = await two.elsewhere.feed.subscribe(TOPIC, Seq(3, 40))
    assert await numbers(far, 10) == list(range(41, 51))
    server.stop()
    owner.post(TOPIC, "state", {"i": 51})
    assert await numbers(near, 1) == [51]  # at once, as if nothing had happened
    await down(two)
    for i in range(52, 101):
        owner.post(TOPIC, "state", {"i": i})
    assert await numbers(near, 49) == list(range(52, 101))
    server.start()  # empty
    assert await numbers(far, 50, timeout=15) == list(range(51, 101))
    await up(two)
    await two.tell(owner, 101, 110)
    assert await numbers(far, 10) == list(range(101, 111))
    # It was filled again from the owner's memory, so coming back works as before.
    back = await two.elsewhere.feed.subscribe(TOPIC, Seq(3, 20))
    assert await numbers(back, 90) == list(range(21, 111))


async def test_redis_back_with_old_data_is_brought_up_to_date(
    two: Rig, server: LabRedis, raw: Redis
) -> None:
    owner = two.here.feed.own(two.pool, 3)
    await two.tell(owner, 1, 20)
    await raw.save()
    await two.tell(owner, 21, 40)
    far = await two.elsewhere.feed.subscribe(TOPIC, Seq(3, 40))
    server.stop()
    await down(two)
    server.start()  # as it was at 20
    await up(two)
    await two.tell(owner, 41, 45)
    assert await numbers(far, 5) == [41, 42, 43, 44, 45]
    back = await two.elsewhere.feed.subscribe(TOPIC, Seq(3, 1))
    assert await numbers(back, 44) == list(range(2, 46))


async def test_more_than_is_kept_while_redis_is_away_asks_for_a_snapshot(
    two: Rig, server: LabRedis
) -> None:
    owner = two.here.feed.own(two.pool, 3)
    await two.tell(owner, 1, 10)
    far = await two.elsewhere.feed.subscribe(TOPIC, Seq(3, 10))
    server.stop()
    await down(two)
    for i in range(11, 11 + KEPT * 2):
        owner.post(TOPIC, "state", {"i": i})
    server.start()
    with pytest.raises(Missed):
        await asyncio.wait_for(far.wait(), 15)
    await up(two)
    far.rebase(owner.last(TOPIC))
    await two.tell(owner, 5000, 5001)
    assert await numbers(far, 2) == [5000, 5001]


async def test_subscribed_while_redis_is_away_hears_from_it_when_it_is_back(
    two: Rig, server: LabRedis
) -> None:
    owner = two.here.feed.own(two.pool, 3)
    await two.tell(owner, 1, 10)
    server.stop()
    await down(two)
    far = await two.elsewhere.feed.subscribe(TOPIC, Seq(3, 5))
    assert far.missed
    far.rebase(Seq(3, 10))
    server.start()
    with pytest.raises(Missed):  # what came before its place was found nobody can tell
        await asyncio.wait_for(far.wait(), 8)
    await up(two)
    far.rebase(owner.last(TOPIC))
    await two.tell(owner, 11, 12)
    assert await numbers(far, 2) == [11, 12]


async def test_an_emptied_redis_that_nobody_noticed_asks_for_a_snapshot(
    two: Rig, raw: Redis
) -> None:
    owner = two.here.feed.own(two.pool, 3)
    await two.tell(owner, 1, 10)
    await raw.flushall()
    assert (await two.elsewhere.feed.subscribe(TOPIC, Seq(3, 5))).missed
    far = await two.elsewhere.feed.subscribe(TOPIC, None)
    far.rebase(owner.last(TOPIC))
    await two.tell(owner, 11, 12)
    assert await numbers(far, 2) == [11, 12]
    assert (await two.elsewhere.feed.subscribe(TOPIC, Seq(3, 5))).missed


async def test_who_joins_while_others_read_on_misses_nothing(
    two: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message comes between the look at what was kept and the joining; the others have it."""
    owner = two.here.feed.own(two.pool, 3)
    await two.tell(owner, 1, 5)
    first = await two.elsewhere.feed.subscribe(TOPIC, Seq(3, 5))
    look = Tail._backlog

    async def and_then_one_more(tail: Tail, topic: str, after: Seq | None) -> Any:
        found = await look(tail, topic, after)
        await two.tell(owner, 6, 6)
        assert await numbers(first, 1) == [6]
        return found

    monkeypatch.setattr(Tail, "_backlog", and_then_one_more)
    late = await two.elsewhere.feed.subscribe(TOPIC, Seq(3, 2))
    assert await numbers(late, 4) == [3, 4, 5, 6]


async def test_an_owner_that_was_replaced_writes_nothing_after_its_successor(
    two: Rig, raw: Redis
) -> None:
    old = two.here.feed.own(two.pool, 3)
    await two.tell(old, 1, 5)
    new = two.elsewhere.feed.own(two.pool, 4)
    new.post(TOPIC, "state", {"i": 1})
    assert await two.elsewhere.settled()
    await two.tell(old, 6, 9)  # it has not noticed yet
    new.post(TOPIC, "state", {"i": 2})
    assert await two.elsewhere.settled()
    ids = [number.decode() for number, _ in await raw.xrange(f"dialer:topic:{TOPIC}")]
    assert ids == ["3-1", "3-2", "3-3", "3-4", "3-5", "4-1", "4-2"]


async def test_a_frozen_redis_holds_up_nobody(two: Rig, server: LabRedis) -> None:
    owner = two.here.feed.own(two.pool, 3)
    await two.tell(owner, 1, 1)
    near = await two.here.feed.subscribe(TOPIC, Seq(3, 1))
    far = await two.elsewhere.feed.subscribe(TOPIC, Seq(3, 1))
    server.send(signal.SIGSTOP)
    try:
        owner.post(TOPIC, "state", {"i": 2})
        assert [m.seq for m in near.take()] == [Seq(3, 2)]
        with pytest.raises(Unavailable):
            await asyncio.wait_for(two.elsewhere.gateway.call(uuid4(), "x", {}, timeout=0.5), 9)
        await until(lambda: two.here.state != "ok", timeout=10, what="the silence to be noticed")
    finally:
        server.send(signal.SIGCONT)
    await up(two)
    await two.tell(owner, 3, 3)
    assert await numbers(far, 2) == [2, 3]


async def test_of_two_owners_one_carries_out_a_command(two: Rig, server: LabRedis) -> None:
    done: list[str] = []

    async def here(command: str, payload: Payload) -> Payload:
        done.append("here")
        return {}

    async def elsewhere(command: str, payload: Payload) -> Payload:
        done.append("elsewhere")
        return {}

    await two.here.gateway.serve(two.pool, here)
    await two.elsewhere.gateway.serve(two.pool, elsewhere)
    async with redis_bus(server.url) as third:
        for count in range(1, 21):
            await third.gateway.call(two.pool, "x", {})
            assert len(done) == count


async def test_what_the_caller_gave_up_is_not_carried_out_later(
    two: Rig, server: LabRedis, raw: Redis
) -> None:
    """The owner's process stands still: the request lies in its socket until the caller is gone."""
    done: list[str] = []

    async def handler(command: str, payload: Payload) -> Payload:
        done.append(command)
        return {}

    channel = f"dialer:pool:{two.pool}"
    async with raw.pubsub() as standing_still:
        await standing_still.subscribe(channel)
        asked = asyncio.create_task(two.here.gateway.call(two.pool, "late", {}, timeout=0.2))
        while True:
            message = await standing_still.get_message(timeout=5)
            assert message is not None
            if message["type"] == "message":
                break
        with pytest.raises(Unavailable, match="it was not carried out"):
            await asked
    await two.elsewhere.gateway.serve(two.pool, handler)
    assert json.loads(message["data"])["command"] == "late"
    await raw.publish(channel, message["data"])  # it wakes up
    await two.here.gateway.call(two.pool, "in time", {})
    assert done == ["in time"]


async def test_a_command_whose_caller_died_while_redis_stood_still_is_not_carried_out_late(
    two: Rig, server: LabRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lies in the socket of Redis until that goes on, and then it is too late for it."""
    done: list[str] = []

    async def handler(command: str, payload: Payload) -> Payload:
        done.append(command)
        return {}

    await two.elsewhere.gateway.serve(two.pool, handler)
    gateway = two.here.gateway
    assert isinstance(gateway, RedisGateway)
    real = gateway._deadline

    async def then_redis_stands_still(timeout: float) -> int:
        until = await real(timeout)
        server.send(signal.SIGSTOP)
        injected("Redis: standing still in a command")
        return until

    monkeypatch.setattr(gateway, "_deadline", then_redis_stands_still)
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):  # nobody is left who could withdraw it
                await gateway.call(two.pool, "late", {}, timeout=0.2)
        await asyncio.sleep(1.5)  # beyond what it was good for
    finally:
        server.send(signal.SIGCONT)
    monkeypatch.undo()
    await gateway.call(two.pool, "in time", {})
    assert done == ["in time"]


async def test_an_emptied_redis_never_says_that_a_command_was_not_carried_out(
    two: Rig, raw: Redis
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def handler(command: str, payload: Payload) -> Payload:
        begun.set()
        await go_on.wait()
        return {}

    await two.elsewhere.gateway.serve(two.pool, handler)
    asked = asyncio.create_task(two.here.gateway.call(two.pool, "x", {}, timeout=0.3))
    await begun.wait()
    await raw.flushall()
    injected("Redis: emptied in a command")
    with pytest.raises(Unavailable) as told:
        await asked
    assert "it was not carried out" not in told.value.detail
    go_on.set()


async def test_a_message_that_is_none_silences_nothing(two: Rig, raw: Redis) -> None:
    watch = two.elsewhere.feed.watch("live:1")
    await raw.publish("dialer:live", b"\xff\xfe nonsense")
    await raw.publish("dialer:signals", b"[]")
    two.here.feed.own(two.pool, 3).show("live:1", "figures", {"i": 1})
    assert await numbers(watch, 1) == [1]


async def test_a_user_with_the_rights_of_the_page_works_and_a_wrong_password_is_told(
    server: LabRedis, raw: Redis
) -> None:
    """The rules are those that docs/bus.md gives."""
    await raw.execute_command(
        "ACL", "SETUSER", "dialer", "on", ">se:cret", "~dialer:*", "&dialer:*",
        "+@connection", "+@pubsub", "+xadd", "+xread", "+xrange", "+xrevrange", "+expire", "+set",
        "+del", "+time", "+multi", "+exec",
    )  # fmt: skip
    place = server.url.removeprefix("unix://")
    async with redis_rig(f"unix://dialer:se%3Acret@{place}") as rig:

        async def handler(command: str, payload: Payload) -> Payload:
            return {"ok": True}

        await rig.here.gateway.serve(rig.pool, handler)
        assert await rig.elsewhere.gateway.call(rig.pool, "x", {}) == {"ok": True}
        owner = rig.here.feed.own(rig.pool, 1)
        far = await rig.elsewhere.feed.subscribe(TOPIC, None)
        far.rebase(owner.last(TOPIC))
        await rig.tell(owner, 1, 3)
        assert await numbers(far, 3) == [1, 2, 3]
    async with redis_bus(f"unix://dialer:wrong@{place}", up=False) as refused:
        await until(lambda: refused.state == "AuthenticationError", timeout=5, what="the refusal")


async def test_tls_is_asked_for_by_the_address_and_the_certificate_is_checked() -> None:
    with LabRedis(tls=True) as server:
        async with redis_bus(server.tls_url) as bus:
            owner = bus.feed.own(uuid4(), 1)
            owner.post(TOPIC, "state", {"i": 1})
            assert await bus.settled()
        unknown = server.tls_url.split("?")[0]
        async with redis_bus(unknown, up=False) as distrusted:
            await until(
                lambda: distrusted.state == "SSLCertVerificationError",
                timeout=5,
                what="the distrust",
            )


async def test_who_could_take_a_pool_over_is_known(two: Rig, server: LabRedis) -> None:
    assert (await two.here.others(), await two.elsewhere.others()) == (1, 1)
    await two.elsewhere.stand_down()
    assert (await two.here.others(), await two.elsewhere.others()) == (0, 1)
    await two.here.stand_down()
    assert (await two.here.others(), await two.elsewhere.others()) == (0, 0)


async def test_without_redis_there_is_nobody_to_leave_a_pool_to(two: Rig, server: LabRedis) -> None:
    server.stop()
    injected("Redis: stopped")
    await down(two)
    assert await two.here.others() == 0
    server.start()
    await up(two)
    assert await two.here.others() == 1
