"""In order, once, nothing lost - or told that something is; on both buses."""

from __future__ import annotations

import asyncio
import tracemalloc
from uuid import uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialer.live.feed import KEPT, Feed, Missed, Seq, SlowSubscriber
from tests.contract.bus.rig import CLOCK, TOPIC, Rig, number, numbers

pytestmark = pytest.mark.contract


async def test_both_sides_get_everything_in_order_and_once(rig: Rig) -> None:
    owner = rig.here.feed.own(rig.pool, 3)
    near = await rig.here.feed.subscribe(TOPIC, None)
    far = await rig.elsewhere.feed.subscribe(TOPIC, None)
    assert near.missed
    assert far.missed
    near.rebase(owner.last(TOPIC))
    far.rebase(owner.last(TOPIC))
    await rig.tell(owner, 1, 400)
    assert await numbers(near, 400) == list(range(1, 401))
    assert await numbers(far, 400) == list(range(1, 401))
    assert owner.post(TOPIC, "state", {"i": 401}) == Seq(3, 401)
    assert (await near.wait())[0].seq == (await far.wait())[0].seq == Seq(3, 401)


async def test_a_subscriber_beside_the_owner_has_it_before_post_returns(rig: Rig) -> None:
    owner = rig.here.feed.own(rig.pool, 3)
    owner.post(TOPIC, "state", {"i": 1})
    near = await rig.here.feed.subscribe(TOPIC, Seq(3, 1))
    owner.post(TOPIC, "pop", {"i": 2})
    assert [m.type for m in near.take()] == ["pop"]


def test_a_message_that_is_kept_takes_hardly_more_than_its_text() -> None:
    owner = Feed(CLOCK).own(uuid4(), 1)
    owner.post(TOPIC, "state", {"i": 0})
    tracemalloc.start()
    try:
        for i in range(KEPT // 2):
            owner.post(TOPIC, "state", {"i": i})
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken / (KEPT // 2) < 1024  # bytes; orjson's own block is 4096


@pytest.mark.parametrize("seen", [1, 2, 150, 299, 300])
async def test_a_cut_loses_and_repeats_nothing_wherever_one_comes_back(rig: Rig, seen: int) -> None:
    owner = rig.here.feed.own(rig.pool, 3)
    await rig.tell(owner, 1, 300)
    back = await rig.elsewhere.feed.subscribe(TOPIC, Seq(3, seen))
    again = await rig.here.feed.subscribe(TOPIC, Seq(3, seen))
    assert not back.missed
    await rig.tell(owner, 301, 320)
    assert await numbers(back, 320 - seen) == list(range(seen + 1, 321))
    assert await numbers(again, 320 - seen) == list(range(seen + 1, 321))


async def test_coming_back_while_messages_flow_loses_and_repeats_nothing(rig: Rig) -> None:
    owner = rig.here.feed.own(rig.pool, 3)
    await rig.tell(owner, 1, 10)
    seen, got = Seq(3, 10), list[int]()
    talking = asyncio.create_task(rig.tell(owner, 11, 400))
    while len(got) < 390:
        cut = await rig.elsewhere.feed.subscribe(TOPIC, seen)
        assert not cut.missed
        async with asyncio.timeout(8):
            messages = await cut.wait()
        got += [number(m) for m in messages]
        seen = messages[-1].seq
        cut.close()
    await talking
    assert got == list(range(11, 401))


async def test_who_was_away_too_long_takes_a_snapshot_and_goes_on(rig: Rig) -> None:
    owner = rig.here.feed.own(rig.pool, 3)
    await rig.tell(owner, 1, KEPT * 3)
    back = await rig.elsewhere.feed.subscribe(TOPIC, Seq(3, 10))
    assert back.missed
    with pytest.raises(Missed):
        await back.wait()
    back.rebase(owner.last(TOPIC))
    owner.post(TOPIC, "state", {"i": 7777})
    assert await numbers(back, 1) == [7777]


async def test_what_the_snapshot_includes_does_not_come_again(rig: Rig) -> None:
    owner = rig.here.feed.own(rig.pool, 3)
    far = await rig.elsewhere.feed.subscribe(TOPIC, None)
    await rig.tell(owner, 1, 5)
    included = owner.last(TOPIC)
    await rig.tell(owner, 6, 8)
    far.rebase(included)
    assert await numbers(far, 3) == [6, 7, 8]


@pytest.mark.parametrize("after", [Seq(1, 1), Seq(2, 9), Seq(3, 1)])
async def test_another_epoch_or_a_number_from_the_future_asks_for_a_snapshot(
    rig: Rig, after: Seq
) -> None:
    owner = rig.here.feed.own(rig.pool, 2)
    await rig.tell(owner, 1, 3)
    assert (await rig.elsewhere.feed.subscribe(TOPIC, after)).missed
    assert not (await rig.elsewhere.feed.subscribe(TOPIC, Seq(2, 1))).missed


async def test_a_topic_nobody_spoke_on_asks_for_a_snapshot(rig: Rig) -> None:
    assert (await rig.elsewhere.feed.subscribe("agent:new", Seq(1, 1))).missed


async def test_a_new_owner_is_noticed_and_nothing_old_comes_after_it(rig: Rig) -> None:
    first = rig.here.feed.own(rig.pool, 3)
    await rig.tell(first, 1, 3)
    near = await rig.here.feed.subscribe(TOPIC, Seq(3, 0))
    far = await rig.elsewhere.feed.subscribe(TOPIC, Seq(3, 0))
    near.rebase(Seq(3, 0))
    far.rebase(Seq(3, 0))
    assert await numbers(near, 3) == [1, 2, 3]
    near.rebase(Seq(3, 3))
    far.rebase(Seq(3, 3))
    first.close()
    second = rig.elsewhere.feed.own(rig.pool, 4)
    second.post(TOPIC, "state", {"i": 1})
    for subscription in (near, far):
        with pytest.raises(Missed):
            await asyncio.wait_for(subscription.wait(), 8)
        subscription.rebase(second.last(TOPIC))
    assert second.post(TOPIC, "state", {"i": 2}) == Seq(4, 2)
    assert await numbers(near, 1) == [2]
    assert await numbers(far, 1) == [2]
    with pytest.raises(RuntimeError, match="closed"):
        first.post(TOPIC, "state", {})


async def test_pools_of_one_process_have_their_own_epochs(rig: Rig) -> None:
    one, two = rig.here.feed.own(rig.pool, 3), rig.here.feed.own(uuid4(), 9)
    one.post(TOPIC, "state", {})
    assert two.post("agent:2", "state", {}) == Seq(9, 1)
    assert one.post(TOPIC, "state", {}) == Seq(3, 2)


async def test_a_slow_subscriber_is_cut_off_and_harms_no_other(rig: Rig) -> None:
    owner = rig.here.feed.own(rig.pool, 3)
    await rig.tell(owner, 1, 1)
    slow = await rig.elsewhere.feed.subscribe(TOPIC, Seq(3, 1))
    quick = await rig.elsewhere.feed.subscribe(TOPIC, Seq(3, 1))
    got: list[int] = []
    for start in range(2, 1302, 100):
        await rig.tell(owner, start, start + 99)
        got += await numbers(quick, 100)
    assert got == list(range(2, 1302))
    with pytest.raises(SlowSubscriber):
        await slow.wait()
    back = await rig.elsewhere.feed.subscribe(TOPIC, Seq(3, 1200))  # and may come back
    assert await numbers(back, 101) == list(range(1201, 1302))


async def test_live_figures_reach_who_watches_and_nobody_later(rig: Rig) -> None:
    owner = rig.here.feed.own(rig.pool, 3)
    near, far = rig.here.feed.watch("live:1"), rig.elsewhere.feed.watch("live:1")
    owner.show("live:1", "figures", {"i": 1})
    assert await numbers(near, 1) == [1]
    assert await numbers(far, 1) == [1]
    late = rig.elsewhere.feed.watch("live:1")
    owner.show("live:1", "figures", {"i": 2})
    assert await numbers(late, 1) == [2]
    assert await numbers(near, 1) == await numbers(far, 1) == [2]  # once, not twice


@given(st.integers(0, 700), st.integers(0, 700), st.integers(0, 40))
def test_a_cut_at_any_message_loses_and_repeats_nothing(before: int, seen: int, after: int) -> None:
    feed = Feed(CLOCK)
    owner = feed.own(uuid4(), 3)
    for i in range(before):
        owner.post(TOPIC, "state", {"i": i})
    seen = min(seen, before)
    back = asyncio.run(feed.subscribe(TOPIC, Seq(3, seen)))
    for i in range(before, before + after):
        owner.post(TOPIC, "state", {"i": i})
    if back.missed:
        assert before - seen > KEPT or not before
    else:
        got = [orjson.loads(m.frame)["data"]["i"] for m in back.take()]
        assert got == list(range(seen, before + after))


@pytest.mark.parametrize("text", ["", "1", "1-", "-1", "1-x", "1--2", "9" * 50 + "-1"])
def test_a_sequence_from_outside_is_checked(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        Seq.parse(text)
