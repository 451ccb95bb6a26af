"""Deliveries: at least once whoever dies, in order, again after failures, and nobody starves."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from dialer.domain.errors import Conflict, Invalid
from dialer.domain.webhook import Attempted
from dialer.jobs.webhooks import WebhookDeliverer
from dialer.store import schema as t
from dialer.store import webhooks as rows
from tests.integration.webhooks.conftest import NOW, Post, both, once
from tests.lab.faults import injected
from tests.lab.process import until
from tests.lab.receiver import LabReceiver

pytestmark = pytest.mark.integration
only_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def verified(post: Post, request: dict[str, Any], webhook: Any) -> Any:
    """As a receiver does it, at our time."""
    headers = request["headers"]
    at = int(headers["webhook-timestamp"])
    assert at == int(post.clock.now().timestamp())
    scheme = Webhook(post.secrets[webhook])
    signature = scheme.sign(
        headers["webhook-id"], NOW.fromtimestamp(at, NOW.tzinfo), request["body"]
    )
    assert signature in headers["webhook-signature"].split(" ")
    return request["body"]


async def test_a_failed_delivery_comes_again_the_same_and_is_then_delivered(
    post: Post, receiver: LabReceiver
) -> None:
    webhook = await post.webhook(receiver)
    await post.tell(webhook)
    receiver.behave("500")
    deliverer = post.deliverer()
    await once(deliverer)
    (row,) = await post.rows()
    assert (row["state"], row["tries"], row["last_status"]) == ("pending", 1, 500)
    assert 4 <= (row["next_at"] - NOW).total_seconds() <= 6
    await once(deliverer)  # not due yet
    assert len(receiver.received()) == 1
    receiver.behave("204")
    post.clock.advance(6)
    await once(deliverer)
    first, second = receiver.received()
    assert first["body"] == verified(post, second, webhook)
    assert first["headers"]["webhook-id"] == second["headers"]["webhook-id"] == str(row["event_id"])
    (row,) = await post.rows()
    assert (row["state"], row["tries"], row["last_error"]) == ("delivered", 2, "")
    post.clock.advance(1e6)
    await once(deliverer)
    assert len(receiver.received()) == 2
    injected("webhooks: receiver failing")


async def test_events_of_one_lead_arrive_in_order_and_wait_for_nobody_else(
    post: Post, receiver: LabReceiver
) -> None:
    webhook, lead = await post.webhook(receiver), post.house.new_id()
    await post.tell(webhook, 3, subject=lead)
    receiver.behave("503")
    deliverer = post.deliverer()
    await once(deliverer)
    assert len(receiver.received()) == 1  # the others wait for the first
    receiver.behave("204")
    await post.tell(webhook, 1)
    await once(deliverer)
    others = [row["event_id"] for row in await post.rows() if row["subject"] != lead]
    assert [r["headers"]["webhook-id"] for r in receiver.taken()] == [str(i) for i in others]
    post.clock.advance(6)
    for _ in range(3):
        await once(deliverer)
    ordered = [str(row["event_id"]) for row in await post.rows() if row["subject"] == lead]
    assert [r["headers"]["webhook-id"] for r in receiver.taken()][1:] == ordered


async def test_after_a_day_it_is_given_up_and_may_be_sent_again(
    post: Post, receiver: LabReceiver
) -> None:
    webhook = await post.webhook(receiver)
    await post.tell(webhook, 2)
    receiver.behave("500")
    deliverer, tried = post.deliverer(), 0
    while any(row["state"] == "pending" for row in await post.rows()):
        await once(deliverer)
        post.clock.advance(900)
        tried += 1
        assert tried < 200
    assert {row["state"] for row in await post.rows()} == {"failed"}
    assert 20 <= len(receiver.received()) <= 40
    assert (await post.one(webhook))["enabled"]
    receiver.behave("200")
    client, now = post.house.client, post.clock.now()
    assert await post.service.redeliver_failed(client, webhook, since=now, who="admin") == 0
    assert await post.service.redeliver_failed(client, webhook, since=NOW, who="admin") == 2
    post.clock.advance(1200)  # what the endpoint was still resting
    await once(deliverer)
    await once(deliverer)
    assert {row["state"] for row in await post.rows()} == {"delivered"}
    assert len({r["headers"]["webhook-id"] for r in receiver.received()}) == 2
    health = await post.one(webhook)
    assert (health["failures"], health["failing_since"], health["rests_until"]) == (0, None, None)


@only_sqlite
async def test_gone_disables_at_once_and_enabling_goes_on(
    post: Post, receiver: LabReceiver
) -> None:
    webhook = await post.webhook(receiver)
    await post.tell(webhook)
    receiver.behave("410")
    deliverer, client = post.deliverer(), post.house.client
    await once(deliverer)
    row = await post.one(webhook)
    assert not row["enabled"]
    assert "410" in row["disabled_reason"]
    audit = [a for a in await post.rows(t.audit_log) if a["action"] == "webhook.disabled"]
    assert [a["who"] for a in audit] == ["dialer"]
    post.clock.advance(3600)
    await once(deliverer)
    assert len(receiver.received()) == 1
    with pytest.raises(Conflict):
        await post.service.test(client, webhook, who="admin")
    receiver.behave("200")
    await post.service.change(
        client, webhook, who="", url=None, description=None, events=None, enabled=True
    )
    await once(deliverer)
    assert [row["state"] for row in await post.rows()] == ["delivered"]


@only_sqlite
@pytest.mark.full
async def test_days_without_an_arrival_disable_an_endpoint(
    post: Post, receiver: LabReceiver
) -> None:
    webhook = await post.webhook(receiver)
    receiver.behave("500")
    deliverer, hours = post.deliverer(), 0
    while (await post.one(webhook))["enabled"]:
        await post.tell(webhook)
        await once(deliverer)
        post.clock.advance(3600)
        hours += 1
        assert hours < 100
    assert 72 <= hours <= 74
    assert (await post.one(webhook))["disabled_reason"] == "nothing has arrived for days"
    before = len(await post.rows())
    assert before > 10  # what waits is kept until it is enabled again


@only_sqlite
async def test_a_receiver_that_asks_for_time_gets_it(post: Post, receiver: LabReceiver) -> None:
    webhook = await post.webhook(receiver)
    await post.tell(webhook, 2)
    receiver.behave("429 Retry-After: 120")
    deliverer = post.deliverer()
    await once(deliverer)
    receiver.behave("204")
    await post.tell(webhook)  # a new one has to wait as well
    post.clock.advance(119)
    await once(deliverer)
    assert len(receiver.received()) == 2
    post.clock.advance(2)
    await once(deliverer)
    assert len(receiver.taken()) == 3


async def test_a_dead_receiver_rests_and_starves_nobody(
    post: Post, receiver: LabReceiver, tmp_path: Path
) -> None:
    async with LabReceiver(tmp_path / "dead") as dead:
        dead.behave("hang")
        bad, good = await post.webhook(dead), await post.webhook(receiver)
        await post.tell(bad, 100)
        await post.tell(good, 60)
        running = asyncio.create_task(post.deliverer(timeout=30).run())
        try:
            await until(lambda: len(receiver.taken()) == 60, timeout=20, what="the good one")
            assert len(dead.received()) == 8  # its share, all of them still on their way
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        deliverer = post.deliverer(timeout=0.3)
        for _ in range(3):
            await once(deliverer)
        row = await post.one(bad)
        assert row["failures"] >= 3
        assert row["rests_until"] > post.clock.now()
        at = len(dead.received())
        post.clock.advance(11)
        await once(deliverer)
        assert len(dead.received()) == at + 1  # after the rest one goes ahead, alone
        injected("webhooks: receiver that hangs")


@both
async def test_two_nodes_share_the_work_and_deliver_each_event_once(
    post: Post, receiver: LabReceiver
) -> None:
    webhook = await post.webhook(receiver)
    lead = post.house.new_id()
    for _ in range(4):
        await post.tell(webhook, 20)
        await post.tell(webhook, 2, subject=lead)
    nodes = [post.deliverer(), post.deliverer()]
    running = [asyncio.create_task(node.run()) for node in nodes]
    try:
        await until(lambda: len(receiver.taken()) >= 88, timeout=30, what="all of them")
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    times = Counter(r["headers"]["webhook-id"] for r in receiver.taken())
    assert len(times) == 88
    assert set(times.values()) == {1}
    assert {row["state"] for row in await post.rows()} == {"delivered"}
    assert all(node.figures.results["delivered"] > 0 for node in nodes)
    ordered = [str(row["event_id"]) for row in await post.rows() if row["subject"] == lead]
    arrived = [r["headers"]["webhook-id"] for r in receiver.taken()]
    assert [i for i in arrived if i in ordered] == ordered


async def test_what_a_dead_node_had_taken_is_sent_by_another_and_its_word_comes_too_late(
    post: Post, receiver: LabReceiver
) -> None:
    webhook = await post.webhook(receiver)
    await post.tell(webhook)
    dead = post.deliverer()
    receiver.behave("500")
    await dead.look()
    await asyncio.gather(*dead._on_their_way)  # sent, and never written down
    receiver.behave("204")
    other = post.deliverer()
    post.clock.advance(59)
    await once(other)
    assert not receiver.taken()  # it is still the first one's
    post.clock.advance(2)
    await once(other)
    assert len(receiver.taken()) == 1
    async with post.database.begin() as connection:
        await dead._settle(connection, dead._done)  # it was only frozen
    (row,) = await post.rows()
    assert (row["state"], row["tries"], row["last_status"]) == ("delivered", 1, 204)


@only_sqlite
async def test_a_node_that_stops_gives_back_what_it_had(post: Post, receiver: LabReceiver) -> None:
    webhook = await post.webhook(receiver)
    await post.tell(webhook, 3)
    receiver.behave("hang")
    deliverer = post.deliverer(timeout=60)
    running = asyncio.create_task(deliverer.run())
    await until(lambda: len(receiver.received()) == 3, timeout=20, what="all on their way")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    receiver.behave("204")
    await once(post.deliverer())  # no time has passed
    assert len(receiver.taken()) == 3


@only_sqlite
async def test_a_receiver_that_is_killed_gets_the_rest_when_it_is_back(
    post: Post, receiver: LabReceiver
) -> None:
    webhook = await post.webhook(receiver)
    await post.tell(webhook, 40)
    deliverer = post.deliverer()
    await once(deliverer)
    receiver.behave("cut")
    await once(deliverer)
    await receiver.stop(number=signal.SIGKILL)
    injected("webhooks: receiver cuts", 8)
    injected("webhooks: receiver killed")
    await once(deliverer)
    receiver.behave("204")
    await receiver.start()
    for _ in range(20):
        post.clock.advance(60)
        await once(deliverer)
    assert {row["state"] for row in await post.rows()} == {"delivered"}
    assert len({r["headers"]["webhook-id"] for r in receiver.taken()}) == 40


@only_sqlite
async def test_a_new_secret_signs_beside_the_old_one_for_a_day(
    post: Post, receiver: LabReceiver
) -> None:
    webhook = await post.webhook(receiver)
    old = post.secrets[webhook]
    row = await post.service.new_secret(post.house.client, webhook, who="ines")
    assert row["secret"] != old
    deliverer = post.deliverer()
    for hours, two in ((23, True), (2, False)):
        post.clock.advance(hours * 3600)
        await post.tell(webhook)
        await once(deliverer)
        request = receiver.taken()[-1]
        assert len(request["headers"]["webhook-signature"].split(" ")) == (2 if two else 1)
        post.secrets[webhook] = row["secret"]
        verified(post, request, webhook)
        if two:
            post.secrets[webhook] = old
            verified(post, request, webhook)


@only_sqlite
async def test_an_address_that_has_moved_inside_is_not_called(
    post: Post, receiver: LabReceiver
) -> None:
    """The guard is asked at each delivery, not only when an endpoint is made."""
    webhook = await post.webhook(receiver)
    async with post.database.begin() as connection:
        url = f"http://10.0.0.1:{receiver.port}/"
        await rows.change(connection, webhook, {"url": url})
    await post.tell(webhook)
    await once(post.deliverer())
    (row,) = await post.rows()
    assert (row["state"], row["last_error"]) == ("pending", "refused: address")
    with pytest.raises(Invalid):
        await post.service.change(
            post.house.client, webhook, who="", url=url, description=None, events=None,
            enabled=None,
        )  # fmt: skip


class Broken:
    async def send(self, *_: object) -> Attempted:
        raise RuntimeError("a bug")


@only_sqlite
async def test_a_bug_counts_as_a_try_and_is_not_repeated_for_ever(
    post: Post, nobody: LabReceiver
) -> None:
    webhook = await post.webhook(nobody)
    await post.tell(webhook)
    deliverer = WebhookDeliverer(
        post.database, Broken(), clock=post.clock, new_id=post.house.new_id
    )
    await once(deliverer)
    (row,) = await post.rows()
    assert (row["tries"], row["last_error"]) == (1, "RuntimeError")


@only_sqlite
async def test_old_deliveries_are_forgotten_and_waiting_ones_are_counted(
    post: Post, receiver: LabReceiver
) -> None:
    webhook = await post.webhook(receiver)
    await post.tell(webhook, 3)
    deliverer = post.deliverer()
    await once(deliverer)
    post.clock.advance(timedelta(days=29).total_seconds())
    receiver.behave("500")
    await post.tell(webhook, 2)
    await once(deliverer)
    await deliverer._count_and_prune()
    assert len(await post.rows()) == 5
    assert (deliverer.figures.waiting, deliverer.figures.disabled) == (2, 0)
    post.clock.advance(timedelta(days=2).total_seconds())
    await deliverer._count_and_prune()
    assert len(await post.rows()) == 2
    assert deliverer.figures.oldest == pytest.approx(2 * 86400)


@only_sqlite
async def test_events_do_not_wait_for_a_database_that_comes_back(
    post: Post, receiver: LabReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look that fails loses no result: it is written down by the next one."""
    webhook = await post.webhook(receiver)
    await post.tell(webhook)
    deliverer, real, failures = post.deliverer(), rows.settle, 0

    async def fails(*what: Any, **more: Any) -> None:
        nonlocal failures
        failures += 1
        if failures < 3:
            raise OSError("the database is away")
        await real(*what, **more)

    monkeypatch.setattr(rows, "settle", fails)
    running = asyncio.create_task(deliverer.run())
    try:

        async def delivered() -> bool:
            return [row["state"] for row in await post.rows()] == ["delivered"]

        await until(delivered, timeout=20, what="the result")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert len(receiver.received()) == 1
