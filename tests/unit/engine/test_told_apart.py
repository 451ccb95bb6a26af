"""What pacing is told beside campaigns: lists over trunks, agents, the hour that begins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from dialer.domain.agent import AgentState
from dialer.domain.call import CallState, Outcome
from dialer.domain.campaign import DialMode
from dialer.domain.work import AgentView, HourCount, PastAttempt
from dialer.engine import observing
from dialer.engine.budgets import Centre
from dialer.engine.observing import Observer, seen
from dialer.engine.pacing_view import Row, pacing_view
from dialer.engine.past import events_of
from dialer.engine.state import Agent, Call
from pacing.engine import Engine
from pacing.seen import Kind
from tests.unit.engine.pool import Pool
from tests.unit.engine.test_pacing_view import AT, CLIENT, NOW, call, campaign

pytestmark = pytest.mark.unit

ONE, TWO = uuid4(), uuid4()  # lists


def test_slots_and_cells_are_numbered_together_and_stay() -> None:
    observer, owner = Observer(), uuid4()
    slot = observer.slot(owner, "a")
    cells = [
        observer.cell(owner, node, list_id=list_id, trunk=trunk)
        for node, list_id, trunk in (
            ("a", ONE, "t"), ("a", TWO, "t"), ("a", ONE, "u"), ("b", ONE, "t"),
        )
    ]  # fmt: skip
    numbers = [slot, observer.slot(owner, "b"), *cells]
    assert sorted(numbers) == list(range(6))
    assert observer.cell(owner, "a", list_id=TWO, trunk="t") == cells[1]
    assert observer.cell(owner, "a", list_id=None, trunk="t") == observing.NOBODY
    agents = [uuid4(), uuid4()]
    assert [observer.agent(a) for a in (*agents, None, agents[0])] == [0, 1, -1, 0]


def test_more_lists_than_are_told_apart_are_their_campaigns(monkeypatch: Any) -> None:
    monkeypatch.setattr(observing, "_MOST_CELLS", 2)
    observer, owner = Observer(), uuid4()
    cells = [observer.cell(owner, "a", list_id=uuid4(), trunk="t") for _ in range(4)]
    assert cells[2:] == [observing.NOBODY] * 2 and min(cells[:2]) > 0


def of_list(one: Call, list_id: UUID) -> Call:
    one.lead = SimpleNamespace(list_id=list_id)  # type: ignore[assignment]
    one.state, one.sent, one.given_up = CallState.RINGING, NOW - 5.0, False
    return one


def test_calls_leads_and_agents_are_told_apart() -> None:
    rng = Random(1)
    owner = campaign(rng, mode=DialMode.PREDICTIVE)
    calls = [of_list(call(rng, owner, "n1"), list_id) for list_id in (ONE, TWO, ONE)]
    adopted = of_list(call(rng, owner, "n1"), ONE)
    adopted.lead = None
    agents = {}
    for state in (AgentState.ON_CALL, AgentState.WRAP_UP):
        agent = Agent(AgentView(uuid4(), CLIENT, uuid4(), "A", "p", "", frozenset({owner.id})))
        agent.state, agent.leg_id, agent.leg_node, agent.call = state, "leg", "n1", calls[0]
        agents[agent.id] = agent
    trunks = [
        SimpleNamespace(settings=SimpleNamespace(name=n), free_lines=lambda now, k=k: k,
                        tokens=lambda now: 1.0)
        for n, k in (("full", 0), ("t", 9))
    ]  # fmt: skip
    lines: Any = SimpleNamespace(trunks={"full": trunks[0], "t": trunks[1]},
                                 usable=lambda settings, node: trunks)  # fmt: skip
    observer = Observer()
    view = pacing_view(
        [Row(owner, "n1", 40, {ONE: 10, TWO: 30})], homes={},
        desk=SimpleNamespace(agents=agents), calls=SimpleNamespace(
            calls={c.key: c for c in (*calls, adopted)}
        ), lines=lines, observer=observer, campaigns={owner.id: owner}, centre=Centre(), tick=1.0,
        now=NOW, at=AT, turns={owner.id: 1.4},
    )  # type: ignore[arg-type]  # fmt: skip
    given = view.given
    first, second = (
        observer.cell(owner.id, "n1", list_id=list_id, trunk="t") for list_id in (ONE, TWO)
    )
    assert given.ringing_cell.tolist() == [first, second, first, -1]
    assert sorted(zip(given.coming.cell.tolist(), given.coming.share.tolist(), strict=True)) == (
        sorted([(first, 0.25), (second, 0.75)])
    )
    who = [observer.agent(agent) for agent in agents]
    assert given.talking_agent.tolist() == who[:1] and given.wrapping_agent.tolist() == who[1:]
    assert given.turn.tolist() == [1.4]
    assert Engine(site=True).decide(given, observer.take()).calls.shape == (1,)


def test_what_is_seen_of_a_call_is_its_lists_and_agents() -> None:
    observer = Observer()
    observer.want(True)
    one = of_list(call(Random(1), campaign(Random(1), mode=DialMode.PREDICTIVE), "n1"), ONE)
    one.agent_id = uuid4()
    observer.placed(one)
    one.connected = NOW
    observer.ended(one, None, NOW + 60, outcome=Outcome.ENDED_BY_AGENT, abandoned=False,
                   timeout=25.0)  # type: ignore[arg-type]  # fmt: skip
    observer.wrapped_up(one.campaign_id, "n1", 9.0, one.agent_id)
    taken = observer.take()
    assert taken.kind.tolist() == [Kind.PLACED, Kind.TALK_ENDED, Kind.WRAP_ENDED]
    cell = observer.cell(one.campaign_id, "n1", list_id=ONE, trunk="t")
    assert taken.cell.tolist() == [cell, cell, -1]
    assert taken.agent.tolist() == [-1, 0, 0]


def test_the_records_tell_lists_trunks_and_agents() -> None:
    rng, agent = Random(1), uuid4()
    settings = campaign(rng, mode=DialMode.PREDICTIVE).view.settings
    attempt = PastAttempt(
        "a", AT, None, AT + timedelta(seconds=9), AT + timedelta(seconds=10),
        AT + timedelta(seconds=70), Outcome.ENDED_BY_AGENT, 5.0, ONE, "t", agent,
    )  # fmt: skip
    plain = seen(events_of([attempt], settings, slot=lambda node: 3))
    assert set(plain.cell.tolist()) == set(plain.agent.tolist()) == {-1}
    told = seen(
        events_of(
            [attempt], settings, slot=lambda node: 3,
            cell=lambda a: 7 if (a.list_id, a.trunk) == (ONE, "t") else 8,
            agent=lambda who: 2 if who == agent else 1,
        )
    )  # fmt: skip
    assert set(told.cell.tolist()) == {7} and set(told.agent.tolist()) == {2}
    assert told.kind.tolist() == plain.kind.tolist()


@pytest.mark.looptime(start=0)
async def test_an_hour_that_begins_is_told_once_as_the_last_days_had_it() -> None:
    pool = Pool()
    owner = pool.campaign(DialMode.PREDICTIVE, target_abandon=0.03)
    await pool.start()
    pacer = pool.engine.pacer
    begin = datetime(2026, 3, 2, 9, 59, tzinfo=UTC)
    counts = [
        HourCount((begin - timedelta(days=d)).replace(minute=0) + timedelta(hours=h),
                  Outcome.ENDED_BY_AGENT.value if answered else Outcome.NO_ANSWER.value, n, 0, 0)
        for d in range(1, 20)
        for h, answered, n in ((0, True, 60), (0, False, 240), (1, True, 90), (1, False, 210))
    ]  # fmt: skip

    async def hour_counts(since: Any) -> Any:
        return {owner: counts}

    pacer._store = SimpleNamespace(hour_counts=hour_counts)  # type: ignore[assignment]
    await pacer._learn_hours([pool.engine.campaigns[owner]], begin)
    pacer._hour = begin.replace(minute=0)
    assert pacer._turns(begin) == {}
    found = pacer._turns(begin + timedelta(minutes=2))
    assert found[owner] == pytest.approx(1.5, abs=0.06)
    assert pacer._turns(begin + timedelta(minutes=3)) == {}
    assert pacer._turns(begin + timedelta(hours=4)) == {}  # nobody knows what came between
    await pool.stop()
