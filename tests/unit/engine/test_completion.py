"""When a campaign is finished: not a moment before nothing can come of its leads any more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from dialer.domain.agent import AgentState
from dialer.domain.campaign import CampaignSettings, CampaignState, CampaignView, DialMode
from dialer.domain.lead import LeadState
from dialer.domain.work import ClaimedLead, ContactHistory, LeadMove
from dialer.engine.agents import AgentDesk
from dialer.engine.completion import ALL_DONE, Completion
from dialer.engine.hopper import Hopper
from dialer.engine.lease import LeaseKeeper
from dialer.engine.memory_store import MemoryPoolStore
from dialer.engine.settings import EngineSettings
from dialer.engine.state import Campaign
from telephony.clock import ManualClock

pytestmark = pytest.mark.unit

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def _desk(agents: dict[UUID, Any]) -> SimpleNamespace:
    """Agents who have yet to say how a call went, as the real desk tells them."""
    return SimpleNamespace(
        agents=agents,
        describing=lambda campaign_id: AgentDesk.describing(
            cast("Any", SimpleNamespace(agents=agents)), campaign_id
        ),
    )


@dataclass
class House:
    """A campaign on the memory store; calls, agents and late writes are set by the tests."""

    store: MemoryPoolStore
    clock: ManualClock
    campaign: Campaign
    completion: Completion
    lease: LeaseKeeper
    calls: list[object] = field(default_factory=list)
    agents: dict[UUID, Any] = field(default_factory=dict)
    late: Callable[[], None] = lambda: None

    def lead(self, state: LeadState = LeadState.DONE, *, next_at: datetime | None = None) -> UUID:
        ids = [uuid4() for _ in range(5)]
        view = self.campaign.view
        self.store.add_lead(
            ClaimedLead(
                ids[0], view.client_id, view.id, ids[1], ids[2], ids[3], f"+1212555{ids[4].int}",
                None, "US", "", 0, {}, False, {}, "", None, None, ContactHistory(),
            )
        )  # fmt: skip
        self.store.leads[ids[0]].state = state
        self.store.leads[ids[0]].next_at = next_at
        return ids[0]

    async def look(self) -> CampaignState:
        self.clock.advance(10)
        await self.completion.look(self.campaign)
        assert self.campaign.view.state is self.store.campaigns[self.campaign.id].state
        return self.campaign.view.state


@pytest.fixture
async def house() -> House:
    clock, pool = ManualClock(NOON), uuid4()
    view = CampaignView(
        uuid4(), uuid4(), pool, "spring", CampaignState.RUNNING, 1, CampaignSettings(), {}
    )
    store = MemoryPoolStore(clock=clock, new_id=uuid4)
    store.campaigns[view.id] = view
    lease = LeaseKeeper(store, pool, owner="me", seconds=1000, margin=1, clock=clock)
    await lease.acquire(poll=1)
    settings = EngineSettings()
    made: list[House] = []

    async def flushed() -> None:
        made[0].late()

    completion = Completion(
        store=store,
        lease=lease,
        desk=cast("Any", _desk({})),
        calls=cast("Any", SimpleNamespace(of_campaign=lambda _: made[0].calls)),
        hopper=Hopper(store, lease, settings=settings, clock=clock, put=lambda _: None),
        writer=cast("Any", SimpleNamespace(flushed=flushed)),
        clock=clock,
        settings=settings,
    )
    made.append(House(store, clock, Campaign(view), completion, lease))
    made[0].agents = completion._desk.agents
    return made[0]


async def test_finished_when_every_lead_is_done_or_blocked(house: House) -> None:
    house.lead()
    house.lead(LeadState.BLOCKED)
    assert await house.look() is CampaignState.FINISHED
    assert house.campaign.reason == ALL_DONE
    assert house.campaign.leads["total"] == 2


@pytest.mark.parametrize(
    "state",
    [LeadState.NEW, LeadState.HOPPER, LeadState.DIALING, LeadState.RETRY, LeadState.CALLBACK],
)
async def test_not_while_a_lead_may_be_called_now_or_later(house: House, state: LeadState) -> None:
    house.lead()
    lead = house.lead(state, next_at=NOON + timedelta(days=30))
    assert await house.look() is CampaignState.RUNNING
    house.store.leads[lead].state = LeadState.DONE
    assert await house.look() is CampaignState.FINISHED


async def test_an_empty_campaign_waits_for_its_list(house: House) -> None:
    assert await house.look() is CampaignState.RUNNING


async def test_a_campaign_dialed_by_hand_is_finished_by_people(house: House) -> None:
    manual = replace(house.campaign.view, settings=CampaignSettings(mode=DialMode.MANUAL))
    house.campaign.view = house.store.campaigns[manual.id] = manual
    house.lead()
    assert await house.look() is CampaignState.RUNNING


async def test_not_while_a_call_is_under_way(house: House) -> None:
    house.lead()
    house.calls.append(object())
    assert await house.look() is CampaignState.RUNNING
    house.calls.clear()
    assert await house.look() is CampaignState.FINISHED


async def test_not_while_an_agent_may_still_agree_on_a_callback(house: House) -> None:
    house.lead()
    last = SimpleNamespace(campaign_id=house.campaign.id)
    agent = SimpleNamespace(state=AgentState.WRAP_UP, last_call=last)
    house.agents[uuid4()] = agent
    assert await house.look() is CampaignState.RUNNING
    last.campaign_id = uuid4()  # another campaign's call
    assert await house.look() is CampaignState.FINISHED


async def test_a_callback_that_was_still_being_written_keeps_it_running(house: House) -> None:
    lead = house.lead()

    def late() -> None:
        house.store.rows.apply(
            LeadMove(lead, LeadState.CALLBACK, next_at=NOON + timedelta(hours=1), reason="later")
        )

    house.late = late
    assert await house.look() is CampaignState.RUNNING


async def test_stopped_by_somebody_else_at_the_same_moment(house: House) -> None:
    house.lead()
    moved = house.campaign.view.moved(CampaignState.PAUSING)
    house.late = lambda: house.store.campaigns.update({moved.id: moved})
    house.clock.advance(10)
    await house.completion.look(house.campaign)
    assert house.store.campaigns[moved.id].state is CampaignState.PAUSING


async def test_counted_often_at_the_end_and_seldom_before(house: House) -> None:
    house.lead()
    lead = house.lead(LeadState.DIALING)
    house.calls.append(object())
    await house.look()
    house.store.leads[lead].state = LeadState.DONE
    count = EngineSettings().count
    house.clock.advance(count - 0.5)
    await house.completion.look(house.campaign)
    assert house.campaign.leads["dialing"] == 1  # not counted again yet
    house.clock.advance(0.5)
    await house.completion.look(house.campaign)
    assert house.campaign.leads["dialing"] == 0
    house.calls.clear()
    house.clock.advance(1)
    await house.completion.look(house.campaign)
    assert house.campaign.view.state is CampaignState.FINISHED


async def test_a_finished_campaign_stays_on_the_board_for_a_while(house: House) -> None:
    assert house.completion.over(house.campaign) is False
    assert (house.campaign.view.state, house.campaign.reason) == (CampaignState.FINISHED, "stopped")
    house.clock.advance(EngineSettings().finished_shown + 1)
    assert house.completion.over(house.campaign) is True
