"""When a delivery is tried again, when a receiver is left alone, and how events are signed."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from dialer.domain.webhook import Event, EventType, Health, try_again
from dialer.webhooks.sender import seconds_asked
from dialer.webhooks.signature import new_secret, signed

pytestmark = pytest.mark.unit
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@given(st.integers(0, 2**32))
def test_a_delivery_is_tried_for_about_a_day_further_and_further_apart(seed: int) -> None:
    rng, at, tries = random.Random(seed), NOW, 0
    rests = []
    while True:
        tries += 1
        again = try_again(tries, since=NOW, now=at, retry_after=0.0, rng=rng)
        if again is None:
            break
        rests.append((again - at).total_seconds())
        at = again
    assert 10 <= tries <= 15
    assert timedelta(hours=24) <= at - NOW <= timedelta(hours=29)
    assert 4 <= rests[0] <= 6
    assert max(rests) <= 1.2 * 4 * 3600
    for short, long in itertools.pairwise(rests[:6]):
        assert long > 2 * short


def test_tries_do_not_come_in_waves() -> None:
    rng = random.Random(1)
    times = {try_again(3, since=NOW, now=NOW, retry_after=0.0, rng=rng) for _ in range(50)}
    assert len(times) == 50


def test_a_receiver_may_ask_for_time_but_not_for_ever() -> None:
    rng = random.Random(1)
    asked = try_again(1, since=NOW, now=NOW, retry_after=600.0, rng=rng)
    assert asked == NOW + timedelta(seconds=600)
    most = try_again(1, since=NOW, now=NOW, retry_after=1e9, rng=rng)
    assert most == NOW + timedelta(hours=6)


def test_a_receiver_that_keeps_failing_rests_longer_and_longer_and_is_well_at_once() -> None:
    rng, health, now = random.Random(1), Health(), NOW
    rests = []
    for _ in range(14):
        health = health.failed(now, retry_after=0.0, rng=rng)
        rests.append((health.rests_until - now).total_seconds() if health.rests_until else 0.0)
        now += timedelta(seconds=rests[-1] + 1)
    assert rests[:2] == [0.0, 0.0]
    assert 8 <= rests[2] <= 10
    assert 480 <= rests[-1] <= 600
    assert health.probing
    assert not health.hopeless(now)
    assert health.hopeless(NOW + timedelta(days=3))
    assert health.arrived() == Health()


def test_two_failures_days_apart_are_not_hopeless() -> None:
    health = Health().failed(NOW, retry_after=0.0, rng=random.Random(1))
    later = NOW + timedelta(days=9)
    assert not health.failed(later, retry_after=0.0, rng=random.Random(1)).hopeless(later)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7.0), (" 120 ", 120.0), ("Mon, 02 Mar 2026 12:01:00 GMT", 60.0), ("", 0.0),
     ("Mon, 02 Mar 2026 11:00:00 GMT", 0.0), ("soon", 0.0), ("-5", 0.0), ("9" * 70, 1e60),
     ("٣", 0.0)],
)  # fmt: skip
def test_retry_after_is_read_in_both_forms(text: str, seconds: float) -> None:
    assert seconds_asked(text, NOW) == pytest.approx(seconds)


def test_the_same_thing_has_the_same_id() -> None:
    subject = uuid4()
    made = [Event(EventType.CALL_CONCLUDED, subject, "k", NOW, {}) for _ in range(2)]
    assert made[0].id == made[1].id
    assert made[0].id != Event(EventType.DISPOSITION_SET, subject, "k", NOW, {}).id


def test_receivers_verify_our_signatures_with_either_secret_and_no_other() -> None:
    old, new, body = new_secret(), new_secret(), b'{"type":"x"}'
    headers = signed(body, event_id=UUID(int=1), at=datetime.now(UTC), keys=[new, old])
    for secret in (old, new):
        assert Webhook(secret).verify(body, headers) == {"type": "x"}
    for secret, sent in ((new_secret(), body), (new, body + b" ")):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(sent, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(body, {**headers, "webhook-id": str(UUID(int=2))})
