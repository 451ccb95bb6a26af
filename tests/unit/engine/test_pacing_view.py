"""What pacing is shown of a pool: whatever its state, arrays that fit together."""

from __future__ import annotations

from datetime import UTC, datetime
from math import inf
from random import Random
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialer.domain.agent import AgentEvent, AgentState
from dialer.domain.call import CallState, Outcome
from dialer.domain.campaign import (
    CampaignSettings,
    CampaignState,
    CampaignView,
    DialMode,
)
from dialer.domain.work import AgentView
from dialer.engine.budgets import Centre, give_up_after
from dialer.engine.explaining import figures_of
from dialer.engine.observing import Observer
from dialer.engine.pacing_view import Row, View, lend, pacing_view
from dialer.engine.skills import Skills
from dialer.engine.state import Agent, Call, Campaign
from pacing.engine import Engine
from pacing.seen import Kind
from telephony.events import CallEnd, Progress

pytestmark = pytest.mark.unit

NOW, AT = 1000.0, datetime(2026, 3, 2, 12, tzinfo=UTC)
CLIENT = uuid4()


def campaign(rng: Random, **changes: Any) -> Campaign:
    profile = rng.choice(("us_tsr", "uk", "laboratory", "unheard_of"))
    chosen = CampaignSettings(
        **{
            "mode": rng.choice(list(DialMode)), "rules_profile": profile,
            "give_up_after": rng.choice((0.0, 5.0, 15.0)), "dial_ratio": 2.0, **changes,
        }
    )  # fmt: skip
    view = CampaignView(
        uuid4(), CLIENT, uuid4(), "c", CampaignState.RUNNING, 1, chosen, dispositions={}
    )
    made = Campaign(view)
    for _ in range(rng.randrange(5)):
        made.ledger.count(rng.choice(list(Outcome)), abandoned=rng.random() < 0.3, at=AT)
    return made


def call(rng: Random, owner: Campaign, node: str) -> Call:
    made = Call(
        id=uuid4(), lead=None, lead_id=uuid4(), client_id=CLIENT, campaign_id=owner.id,
        customer_id=uuid4(), number="+1", node=node, trunk="t", mode=owner.view.settings.mode,
        intended_at=AT, due=NOW,
    )  # fmt: skip
    made.state = rng.choice(list(CallState))
    made.sent = rng.choice((0.0, NOW - rng.random() * 30))
    made.answered = NOW - 1.0
    made.progress = rng.choice((None, *Progress))
    made.given_up, made.machine = rng.random() < 0.2, rng.random() < 0.2
    return made


def pool(seed: int) -> tuple[list[Row], View, Observer]:
    rng = Random(seed)
    owners = [campaign(rng) for _ in range(rng.randrange(1, 4))]
    nodes = ("n1", "n2")
    rows = [Row(c, n, rng.randrange(9)) for c in owners for n in nodes if rng.random() < 0.8]
    calls = {
        c.key: c for c in (call(rng, rng.choice(owners), rng.choice(nodes)) for _ in range(20))
    }
    agents: dict[UUID, Agent] = {}
    for _ in range(rng.randrange(9)):
        works = frozenset(c.id for c in owners if rng.random() < 0.7)
        agent = Agent(AgentView(uuid4(), CLIENT, uuid4(), "A", "p", "", works))
        agent.state = rng.choice(list(AgentState))
        agent.leg_id, agent.leg_node = rng.choice(("", "leg")), rng.choice(nodes)
        agent.leg_parked, agent.since = rng.random() < 0.7, NOW - rng.random() * 100
        agent.pending = rng.choice((None, None, AgentEvent.PAUSE))
        if agent.state in (AgentState.ON_CALL, AgentState.WRAP_UP):
            agent.call = rng.choice(list(calls.values()))
        agents[agent.id] = agent
    known = {c.id: c for c in owners}
    desk: Any = SimpleNamespace(agents=agents)
    up: Any = SimpleNamespace(calls=calls)
    lines: Any = SimpleNamespace(trunks={}, usable=lambda settings, node: [])
    observer = Observer()
    homes = lend(rows, desk=desk, calls=up, campaigns=known).homes
    view = pacing_view(
        rows, homes=homes, desk=desk, calls=up, lines=lines, observer=observer, campaigns=known,
        centre=Centre({CLIENT: (5, 1)}, {CLIENT: 24.0}), tick=1.0, now=NOW, at=AT,
    )  # fmt: skip
    return rows, view, observer


@given(st.integers(0, 10_000))
@settings(max_examples=150, deadline=None)
def test_the_arrays_fit_together_whatever_the_pool_looks_like(seed: int) -> None:
    rows, view, observer = pool(seed)
    shown, n = view.given, len(rows)
    assert len(view.ringing) == len(shown.ringing.row) == len(shown.ringing_signal)
    flights = np.bincount(shown.ringing.row, minlength=n)
    assert flights.tolist() == shown.in_flight.tolist()
    for at, ringing in enumerate(view.ringing):
        row = rows[int(shown.ringing.row[at])]
        assert (ringing.campaign_id, ringing.node) == (row.campaign.id, row.node)
        assert not ringing.given_up
    for ragged in (shown.ringing, shown.analysing_since, shown.talking, shown.wrapping):
        assert ragged.row.shape == ragged.seconds.shape
        assert ((ragged.row >= 0) & (ragged.row < n)).all() and (ragged.seconds >= 0).all()
    assert len(set(shown.slot.tolist())) == n
    sharing = shown.sharing
    if len(sharing.row):
        serves = {g: set(sharing.row[sharing.group == g].tolist()) for g in sharing.group.tolist()}
        assert any(len(mine) > 1 for mine in serves.values())
        assert len({frozenset(mine) for mine in serves.values()}) == len(serves) <= n**2
        for mine in serves.values():  # nobody serves rows of two nodes
            assert len({rows[i].node for i in mine}) == 1
        assert sharing.free.sum() == shown.agents_free.sum()
        assert len(sharing.talking) == len(shown.talking.row)
        assert len(sharing.wrapping) == len(shown.wrapping.row)
    assert [observer.slot(r.campaign.id, r.node) for r in rows] == shown.slot.tolist()
    windows = shown.windows
    assert np.isinf(windows.seconds_left).all() and (windows.abandoned <= windows.live).all()
    uk = [i for i, r in enumerate(rows) if r.campaign.view.settings.rules_profile == "uk"]
    assert all((windows.row == i).sum() == 2 for i in uk)  # the campaign's, and the centre's
    decision = Engine().decide(shown, observer.take())
    assert decision.calls.shape == (n,) and (decision.calls >= 0).all()
    assert decision.cancel.shape == shown.ringing.row.shape
    for i in range(n):
        assert decision.explain(i).sentence
    young = np.array([shown.cancel_after[r] for r in shown.ringing.row]) > shown.ringing.seconds
    assert not (decision.cancel & young).any()


def test_agents_are_grouped_by_the_campaigns_that_run_where_they_sit() -> None:
    one, two, other = uuid4(), uuid4(), uuid4()
    skills = Skills([(one, "n1"), (two, "n1"), (one, "n2")])

    def serves(node: str, *campaigns: UUID) -> tuple[int, ...]:
        agent = Agent(AgentView(uuid4(), CLIENT, uuid4(), "A", "p", "", frozenset(campaigns)))
        agent.leg_node = node
        return skills.of(agent)

    both, alone = serves("n1", one, two, other), serves("n2", one, two)
    assert (both, alone, serves("n1", other)) == ((0, 1), (2,), ())
    sharing = skills.sharing([both, alone, both], [alone, ()], [both])
    pairs = zip(sharing.row.tolist(), sharing.group.tolist(), strict=True)
    assert sorted(pairs) == [(0, 0), (1, 0), (2, 1)]
    assert sharing.free.tolist() == [2, 1]
    assert (sharing.talking.tolist(), sharing.wrapping.tolist()) == ([1, -1], [0])
    assert len(skills.sharing([alone], [alone], [()]).row) == 0  # nobody shares


def test_campaigns_with_agents_in_common_are_decided_together_and_say_so() -> None:
    rng = Random(3)
    made = [campaign(rng, mode=DialMode.PREDICTIVE, rules_profile="laboratory") for _ in range(2)]
    owners = [Campaign(c.view) for c in made]  # nothing counted yet
    rows = [Row(c, "n1", 500) for c in owners]
    agents: dict[UUID, Agent] = {}
    for number in range(12):
        works = frozenset(c.id for c in owners[: 1 if number < 4 else 2])
        agent = Agent(AgentView(uuid4(), CLIENT, uuid4(), "A", "p", "", works))
        agent.state, agent.leg_id, agent.leg_node = AgentState.READY, "leg", "n1"
        agent.leg_parked, agent.since = True, NOW - 10.0
        agents[agent.id] = agent
    desk: Any = SimpleNamespace(agents=agents)
    calls: Any = SimpleNamespace(calls={})
    trunk: Any = SimpleNamespace(
        settings=SimpleNamespace(name="t"), free_lines=lambda now: 99, tokens=lambda now: 99
    )
    lines: Any = SimpleNamespace(trunks={"t": trunk}, usable=lambda settings, node: [trunk])
    known = {c.id: c for c in owners}
    view = pacing_view(
        rows, homes=lend(rows, desk=desk, calls=calls, campaigns=known).homes, desk=desk,
        calls=calls, lines=lines, observer=Observer(), campaigns=known, centre=Centre(),
        tick=1.0, now=NOW, at=AT,
    )  # fmt: skip
    assert view.given.agents_free.tolist() == [12, 0]
    decision = Engine().decide(view.given)
    first, second = decision.explain(0), decision.explain(1)
    assert (first.agents_free, second.agents_free) == (12, 8)
    assert (first.agents, first.several, first.others) == (12, 8, 1)
    assert second.calls > 0
    assert "8 of 12 agents serve other campaigns too, 1 decided together" in first.sentence
    told = figures_of(second, 0)
    assert (told["serving"], told["serving_others"], told["shared_with"]) == (8, 8, 1)


def test_the_stricter_of_campaign_and_rules_says_when_a_call_may_be_given_up() -> None:
    def after(profile: str, seconds: float) -> float:
        return give_up_after(CampaignSettings(rules_profile=profile, give_up_after=seconds))

    assert after("us_tsr", 5.0) == after("uk", 5.0) == 15.0
    assert after("us_tsr", 18.0) == 18.0
    assert after("laboratory", 2.0) == 2.0
    assert after("us_tsr", 0.0) == after("unheard_of", 9.0) == inf


def test_a_centre_counts_its_campaigns_and_what_others_did() -> None:
    rng = Random(1)
    first, second = (campaign(rng, rules_profile="uk") for _ in range(2))
    known = {c.id: c for c in (first, second)}
    from dialer.engine.budgets import windows

    found = windows([first, second], campaigns=known, centre=Centre({CLIENT: (100, 7)}), at=AT)
    both = sum(c.ledger.live_answers for c in known.values())
    gone = sum(c.ledger.abandoned for c in known.values())
    assert found.row.tolist() == [0, 0, 1, 1]
    assert found.live[1] == found.live[3] == 100 + both
    assert found.abandoned[1] == found.abandoned[3] == 7 + gone
    assert set(found.cap.tolist()) == {0.03}


# -- what is learnt from


def observed(*steps: Any, mode: DialMode = DialMode.PREDICTIVE) -> list[tuple[Any, ...]]:
    """(kind, s, signal, became) of what these steps of one call are seen as."""
    observer = Observer()
    observer.want(True)
    one = call(Random(1), campaign(Random(1), mode=mode), "n1")
    one.sent, one.answered, one.progress, one.given_up = 100.0, 0.0, None, False
    one.lead = SimpleNamespace(list_id=uuid4())  # type: ignore[assignment]
    for step in steps:
        step(observer, one)
    seen = observer.take()
    return [
        (Kind(k), round(s, 3), signal, became)
        for k, s, signal, became in zip(
            seen.kind.tolist(), seen.seconds.tolist(), seen.signal.tolist(), seen.became.tolist(),
            strict=True,
        )
    ]  # fmt: skip


def rings(progress: Progress, at: float) -> Any:
    def step(observer: Observer, one: Call) -> None:
        observer.progressed(one, progress, at)
        one.progress = progress

    return step


def answers(at: float) -> Any:
    def step(observer: Observer, one: Call) -> None:
        one.answered = at
        observer.answered(one, at)

    return step


def meets(at: float) -> Any:
    def step(observer: Observer, one: Call) -> None:
        one.connected = at
        observer.connected(one, at)

    return step


def ends(end: CallEnd, at: float, outcome: Outcome, *, abandoned: bool = False) -> Any:
    def step(observer: Observer, one: Call) -> None:
        observer.ended(one, end, at, outcome=outcome, abandoned=abandoned, timeout=25.0)

    return step


def test_a_conversation_is_seen_step_by_step() -> None:
    assert observed(
        lambda o, c: o.placed(c),
        rings(Progress.TRYING, 100.1),
        rings(Progress.RINGING, 102.0),
        answers(110.0),
        meets(110.5),
        ends(CallEnd.HUNG_UP_FAR, 170.5, Outcome.ENDED_BY_CUSTOMER),
    ) == [
        (Kind.PLACED, 0.0, 0, 0),
        (Kind.PROGRESS, 0.1, 0, 1),
        (Kind.PROGRESS, 2.0, 1, 2),
        (Kind.ANSWERED, 10.0, 2, 0),
        (Kind.PERSON, 0.0, 2, 0),
        (Kind.CONNECTED, 0.5, 2, 0),
        (Kind.TALK_ENDED, 60.0, 2, 0),
    ]


@pytest.mark.parametrize(
    ("end", "at", "outcome", "kind"),
    [
        (CallEnd.BUSY, 104.0, Outcome.BUSY, Kind.FAILED),
        (CallEnd.NO_ANSWER, 125.0, Outcome.NO_ANSWER, Kind.RANG_OUT),
        (CallEnd.NO_ANSWER, 103.0, Outcome.NO_ANSWER, Kind.FAILED),  # 480 at once
        (CallEnd.CANCELLED, 115.0, Outcome.CANCELLED, Kind.CANCELLED),
        (CallEnd.UNKNOWN, 115.0, Outcome.UNKNOWN, Kind.CANCELLED),
        (CallEnd.SILENT, 132.0, Outcome.CONGESTION, Kind.FAILED),
    ],
)
def test_how_a_call_that_nobody_answered_is_seen(
    end: CallEnd, at: float, outcome: Outcome, kind: Kind
) -> None:
    assert observed(ends(end, at, outcome)) == [(kind, at - 100.0, 0, 0)]


def test_who_meets_nobody_is_abandoned_or_gave_up_and_never_both() -> None:
    left = observed(answers(110.0), ends(CallEnd.HUNG_UP_FAR, 111.0, Outcome.HUNG_UP_WAITING))
    assert left[-1] == (Kind.GAVE_UP, 1.0, 0, 0)
    gone = ends(CallEnd.HUNG_UP_NEAR, 113.0, Outcome.ABANDONED, abandoned=True)
    assert observed(answers(110.0), gone)[-1] == (Kind.ABANDONED, 3.0, 0, 0)

    def message(observer: Observer, one: Call) -> None:
        observer.abandoned(one, 112.0)
        one.message_played = True

    kinds = [kind for kind, *_ in observed(answers(110.0), message, gone)]
    assert kinds.count(Kind.ABANDONED) == 1


def test_calls_that_agents_asked_for_tell_how_long_people_talk_and_nothing_else() -> None:
    steps = [answers(110.0), meets(110.5), ends(CallEnd.HUNG_UP_FAR, 120.5, Outcome.ENDED_BY_AGENT)]
    assert observed(*steps, mode=DialMode.MANUAL) == [(Kind.TALK_ENDED, 10.0, 0, 0)]


def test_what_is_kept_is_bounded_and_nothing_is_kept_unasked() -> None:
    observer = Observer()
    observer.wrapped_up(uuid4(), "n1", 5.0)
    assert len(observer.take().kind) == 0
    observer.want(True)
    for _ in range(100_050):
        observer.wrapped_up(CLIENT, "n1", 5.0)
    assert len(observer.take().kind) == 100_000
    observer.wrapped_up(CLIENT, "n1", 5.0)
    observer.want(False)
    observer.want(True)
    assert len(observer.take().kind) == 0
