"""The outbox: written with what it tells or not at all, once, to those who asked, without more
about people than ids."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from api.webhook_events import BODIES
from dialer.domain.call import Outcome
from dialer.domain.campaign import CampaignEvent, CampaignState
from dialer.domain.errors import LeaseLost
from dialer.domain.lead import LeadState
from dialer.domain.webhook import CHOICES, EventType
from dialer.domain.work import (
    AttemptUpdate,
    CampaignMove,
    Conversation,
    DispositionWrite,
    LeadMove,
    Lease,
    NewAttempt,
    RecordingWrite,
    Write,
)
from dialer.jobs.recordings import RecordingMover
from dialer.jobs.storage import RecordingStorage
from dialer.live.gateway import LocalGateway
from dialer.services.campaigns import Campaigns
from dialer.store import outbox, writes
from dialer.store import schema as t
from tests.contract.store.house import NOW
from tests.integration.webhooks.conftest import Post, both
from tests.lab.receiver import LabReceiver

pytestmark = pytest.mark.integration
LATER = NOW + timedelta(minutes=3)


@pytest.fixture
async def lease(post: Post) -> Lease:
    return await post.house.own()


async def a_call(post: Post, lease: Lease) -> NewAttempt:
    (lead,) = await post.house.claim(lease, post.house.first)
    return await post.house.dial(lease, lead)


def spoken(post: Post, call: NewAttempt) -> list[Write]:
    """All that an engine writes of a call that ends in a callback, as it writes it."""
    agent = post.house.agent
    return [
        AttemptUpdate(call.id, NOW, answered_at=NOW, connected_at=NOW, agent_id=agent),
        AttemptUpdate(call.id, NOW, ended_at=LATER, outcome=Outcome.ENDED_BY_CUSTOMER),
        LeadMove(call.lead_id, LeadState.DONE, only_from=LeadState.DIALING),
        Conversation(
            call.id, NOW, call.client_id, call.campaign_id, call.customer_id, call.lead_id, agent,
            NOW, LATER, "customer",
        ),
        DispositionWrite(
            call.id, NOW, agent, "callback", "has a cold", {"iban": "GB33"}, LATER, 4.0
        ),
        LeadMove(call.lead_id, LeadState.CALLBACK, next_at=LATER, callback_agent=agent),
    ]  # fmt: skip


async def told(post: Post) -> list[dict[str, Any]]:
    """Bodies in the outbox, each as the description says."""
    bodies = [orjson.loads(row["body"]) for row in await post.rows()]
    for body in bodies:
        BODIES[body["type"]].model_validate(body)
    return bodies


@both
async def test_a_batch_tells_what_it_writes_in_order_and_names_nobody(
    post: Post, lease: Lease, nobody: LabReceiver
) -> None:
    await post.webhook(nobody)
    call = await a_call(post, lease)
    await post.house.store.write(lease, spoken(post, call))
    bodies = await told(post)
    assert [b["type"] for b in bodies] == [
        "call.concluded", "disposition.set", "callback.made",
    ]  # fmt: skip
    assert {row["subject"] for row in await post.rows()} == {call.lead_id}
    concluded, said, callback = (b["data"] for b in bodies)
    assert concluded["id"] == said["call_id"] == str(call.id)
    assert concluded["outcome"] == "ended_by_customer"
    assert concluded["ended_by"] == "customer"
    assert concluded["agent_id"] == callback["agent_id"] == str(post.house.agent)
    assert callback["due_at"] == LATER.isoformat().replace("+00:00", "Z")
    text = str(bodies)
    for private in (call.number, "P0", "has a cold", "GB33"):
        assert private not in text


async def test_what_is_written_twice_is_told_once(
    post: Post, lease: Lease, nobody: LabReceiver
) -> None:
    await post.webhook(nobody)
    call = await a_call(post, lease)
    batch = spoken(post, call)
    await post.house.store.write(lease, batch)
    await post.house.store.write(lease, batch)
    await post.house.store.write(
        lease, [AttemptUpdate(call.id, NOW, ended_at=LATER, outcome=Outcome.UNKNOWN)]
    )
    bodies = await told(post)
    assert len(bodies) == 3
    assert bodies[0]["data"]["outcome"] == "ended_by_customer"


@pytest.mark.parametrize("where", ["told", "written", "owned"])
async def test_what_is_not_committed_is_not_told_and_what_is_not_told_is_not_committed(
    post: Post, nobody: LabReceiver, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    await post.webhook(nobody)
    lease = await post.house.own(seconds=0.2 if where == "owned" else 60)
    call = await a_call(post, lease)
    if where == "owned":
        await post.house.store.release(lease)
        await post.house.own(owner="two")

    async def fails(*what: Any, **more: Any) -> None:
        await real(*what, **more)
        raise RuntimeError("the power is gone")

    real: Any = outbox.post if where == "told" else writes.apply
    if where != "owned":
        monkeypatch.setattr(*((outbox, "post") if where == "told" else (writes, "apply")), fails)
    with pytest.raises(LeaseLost if where == "owned" else RuntimeError):
        await post.house.store.write(lease, spoken(post, call))
    assert await post.house.outcome(call) is None
    assert not await post.rows()


async def test_only_those_who_asked_and_are_enabled_hear_of_it(
    post: Post, lease: Lease, nobody: LabReceiver
) -> None:
    await post.webhook(nobody, [EventType.DISPOSITION_SET])
    off = await post.webhook(nobody)
    await post.service.change(
        post.house.client, off, who="", url=None, description=None, events=None, enabled=False
    )
    stranger = post.house.new_id()
    call = await a_call(post, lease)
    async with post.database.begin() as connection:
        await connection.execute(
            t.client.insert().values(id=stranger, name="other", created_at=NOW)
        )
        row = dict(await post.one(off))
        row |= {"id": post.house.new_id(), "client_id": stranger, "enabled": True}
        await connection.execute(t.webhook.insert().values(row))
    await post.house.store.write(lease, spoken(post, call))
    assert [b["type"] for b in await told(post)] == ["disposition.set"]


async def test_a_callback_that_goes_back_undialed_was_made_before(
    post: Post, lease: Lease, nobody: LabReceiver
) -> None:
    await post.webhook(nobody)
    (lead,) = await post.house.claim(lease, post.house.first)
    await post.house.store.write(
        lease,
        [LeadMove(lead.lead_id, LeadState.CALLBACK, next_at=LATER, only_from=LeadState.HOPPER)],
    )
    assert not await post.rows()


async def test_a_campaigns_states_are_told_whoever_changes_them(
    post: Post, lease: Lease, nobody: LabReceiver
) -> None:
    await post.webhook(nobody)
    house = post.house
    campaigns = Campaigns(
        post.database, gateway=LocalGateway(), clock=post.clock, new_id=house.new_id
    )
    await campaigns.move(house.client, house.first, CampaignEvent.PAUSE, who="ines")
    drained = CampaignMove(house.first, CampaignState.PAUSED, "drained", NOW)
    await house.store.write(lease, [drained])
    await house.store.write(lease, [drained])  # repeated: it is paused already
    await campaigns.move(house.client, house.second, CampaignEvent.STOP, who="ines")
    assert [
        (b["data"]["before"], b["data"]["state"], b["data"]["reason"]) for b in await told(post)
    ] == [("running", "pausing", ""), ("pausing", "paused", "drained"), ("running", "finished", "")]


async def test_the_end_of_the_last_lead_is_told(
    post: Post, lease: Lease, nobody: LabReceiver
) -> None:
    await post.webhook(nobody)
    house = post.house
    leads = await house.claim(lease, house.first, 20)
    await house.store.write(lease, [LeadMove(lead.lead_id, LeadState.DONE) for lead in leads])
    assert await house.store.finish_campaign(lease, campaign_id=house.first, reason="all done")
    assert not await house.store.finish_campaign(lease, campaign_id=house.first, reason="again")
    (body,) = await told(post)
    assert body["data"]["state"] == "finished"
    assert body["data"]["reason"] == "all done"


async def test_a_recording_is_told_when_it_is_stored(
    post: Post, lease: Lease, nobody: LabReceiver, tmp_path: Path
) -> None:
    await post.webhook(nobody, [EventType.RECORDING_STORED])
    call = await a_call_now(post, lease)
    node = tmp_path / "node"
    node.mkdir()
    with wave.open(str(node / "a.wav"), "wb") as voice:
        voice.setnchannels(1)
        voice.setsampwidth(2)
        voice.setframerate(8000)
        voice.writeframes(bytes(320))
    size = (node / "a.wav").stat().st_size
    await post.house.store.write(
        lease,
        [
            RecordingWrite(
                call.id, call.intended_at, call.client_id, call.campaign_id, "a", "a.wav", NOW
            )
        ],
    )
    assert not await post.rows()
    clock = post.clock
    clock.wall = post.house.clock_now() + timedelta(hours=1)
    mover = RecordingMover(
        post.database,
        RecordingStorage((tmp_path / "store").as_uri()),
        folders={"a": node},
        clock=clock,
    )
    assert await mover.move_all() == 1
    await mover.move_all()
    (body,) = await told(post)
    assert body["data"]["call_id"] == str(call.id)
    assert body["data"]["lead_id"] == str(call.lead_id)
    assert body["data"]["size"] == size


async def a_call_now(post: Post, lease: Lease) -> NewAttempt:
    """One whose id says when it was intended, as real ones do."""
    (lead,) = await post.house.claim(lease, post.house.first)
    attempt = post.house.attempt(lead, at=post.house.clock_now())
    await post.database.make_partitions(attempt.intended_at)
    await post.house.store.intend(lease, [attempt])
    return attempt


async def test_without_webhooks_nothing_is_kept(post: Post, lease: Lease) -> None:
    call = await a_call(post, lease)
    await post.house.store.write(lease, spoken(post, call))
    assert not await post.rows()


def test_every_type_of_event_is_described() -> None:
    kinds: Sequence[EventType] = (*CHOICES, EventType.TEST)
    assert set(BODIES) == {kind.value for kind in kinds}
