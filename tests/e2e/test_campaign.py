"""The main job, end to end: the real dialer process, a real Asterisk, SIPp as public and phones.

SIPp's own log is the truth: every recorded outcome is compared with what SIPp did, and every number
must have got exactly the INVITEs that the records say.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from typing import Any

import pytest

from tests.lab.callcentre import CallCentre
from tests.lab.process import until
from tests.lab.public import PublicCall
from tests.lab.scenario import number

pytestmark = pytest.mark.e2e

#: What SIPp did with an INVITE, and the outcomes that may stand in the records for it.
TRUTH: dict[tuple[str, ...], frozenset[str]] = {
    ("REFUSED 486",): frozenset({"busy"}),
    ("REFUSED 404",): frozenset({"invalid_number"}),
    ("REFUSED 480",): frozenset({"no_answer"}),
    ("REFUSED 503",): frozenset({"congestion"}),
    ("REFUSED 500",): frozenset({"congestion"}),
    ("REFUSED 603",): frozenset({"rejected"}),
    ("CANCELLED",): frozenset({"no_answer", "cancelled"}),
    ("ANSWERED", "BYE_RECEIVED"): frozenset({"ended_by_agent", "abandoned"}),
    ("ANSWERED", "BYE_SENT"): frozenset({"ended_by_customer", "hung_up_waiting", "abandoned"}),
}
FINAL = ("done", "blocked")


def leads(count: int, rng: random.Random) -> list[dict[str, Any]]:
    behaviours = [0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    return [
        {
            "number": number(
                behaviour=rng.choice(behaviours),
                index=i,
                delay=rng.randrange(5),
                talk=rng.randrange(2, 6),
            ),
            "name": f"Person {i}",
            "attributes": {"index": i},
        }
        for i in range(count)
    ]


async def finished(centre: CallCentre, campaign: str, count: int, *, timeout: float) -> None:
    """Wait until every lead is where nothing follows."""
    async with asyncio.timeout(timeout):
        while True:
            figures = await centre.post(f"/campaigns/{campaign}/figures", method="GET")
            states = figures["leads"]
            done = sum(states.get(s, 0) for s in FINAL)
            if done == count and not figures["outcomes"].get("open"):
                return
            await asyncio.sleep(0.2)


async def records(centre: CallCentre, campaign: str) -> list[dict[str, Any]]:
    """All calls of a campaign, page by page."""
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = await centre.post(
            f"/calls?campaign_id={campaign}&limit=200" + (f"&cursor={cursor}" if cursor else ""),
            method="GET",
        )
        items += page["items"]
        cursor = page["next"]
        if not cursor:
            return items


def compare(calls: list[dict[str, Any]], truth: list[PublicCall]) -> None:
    """Each number got the INVITEs of its records, and each outcome is what SIPp did."""
    by_number: dict[str, list[dict[str, Any]]] = {}
    for call in sorted(calls, key=lambda c: c["intended_at"]):
        if call["outcome"] != "expired":
            by_number.setdefault(call["number"], []).append(call)
    invites: dict[str, list[PublicCall]] = {}
    for seen in truth:
        invites.setdefault(seen.number, []).append(seen)
    assert {n: len(c) for n, c in by_number.items()} == {n: len(i) for n, i in invites.items()}
    for called, placed in by_number.items():
        for record, seen in zip(placed, invites[called], strict=True):
            assert record["outcome"] in TRUTH[tuple(seen.ends)], (called, record, seen)


ONCE = {
    outcome: {"delay": 0.5, "most": 1}
    for outcome in ("busy", "no_answer", "rejected", "congestion", "failed", "abandoned")
}


async def test_a_list_is_dialed_and_every_outcome_is_what_the_network_did() -> None:
    rng = random.Random(20260301)
    count = 120
    async with CallCentre(agents=8) as centre:
        campaign = await centre.campaign(
            "main", ring_timeout=5, retries=ONCE, max_attempts=2, wrap_up=5
        )
        given = leads(count, rng)
        bad = {"number": "no number\r\nX: y", "name": "bad"}
        loaded = await centre.load(campaign, [*given, bad])
        assert loaded["accepted"] == count
        assert [r["row"] for r in loaded["rejected"]] == [count]
        await centre.add_agents([campaign], talk=(0.5, 1.5), wrap=(0.1, 0.3))
        await centre.post(f"/campaigns/{campaign}/start")
        await finished(centre, campaign, count, timeout=120)
        calls = await records(centre, campaign)
        truth = centre.public.truth()
        compare(calls, truth)
        # Retries: what was busy was called twice, what was answered by an agent once.
        tries = Counter(c["number"] for c in calls)
        for call in calls:
            if call["outcome"] == "busy":
                assert tries[call["number"]] == 2
            if call["outcome"] in ("ended_by_agent", "ended_by_customer"):
                assert call["agent_id"]
        assert all(c["verdict"]["verdict"] == "allow" for c in calls)
        # Every pop carried the record of the person who was called.
        by_index = {lead["attributes"]["index"]: lead for lead in given}
        pops = [m["data"] for a in centre.agents for _, m in a.messages if m["type"] == "pop"]
        assert pops
        for pop in pops:
            lead = by_index[pop["customer"]["attributes"]["index"]]
            assert (pop["customer"]["number"], pop["customer"]["name"]) == (
                lead["number"],
                lead["name"],
            )
        # Numbered without a gap.
        for agent in centre.agents:
            seqs = [int(m["seq"].split("-")[1]) for _, m in agent.messages]
            assert seqs[1:] == list(range(seqs[1], seqs[1] + len(seqs) - 1))


async def test_after_kill_nine_nobody_is_called_twice_and_nothing_is_lost() -> None:
    rng = random.Random(9)
    count = 60
    async with CallCentre(agents=5) as centre:
        campaign = await centre.campaign("main", ring_timeout=5, max_attempts=1, wrap_up=2)
        given = leads(count, rng)
        await centre.load(campaign, given)
        await centre.add_agents([campaign], talk=(0.5, 2.0), wrap=(0.1, 0.2))
        await centre.post(f"/campaigns/{campaign}/start")
        await centre.public.truth_of(15, timeout=60)
        assert centre.dialer is not None
        await centre.dialer.stop(number=signal.SIGKILL)
        for agent in centre.agents:
            await agent.close()
        centre.agents.clear()
        await centre.start_dialer()
        await centre.sign_in()
        await _come_back(centre, campaign)
        await finished(centre, campaign, count, timeout=90)
        calls = await records(centre, campaign)
        truth = centre.public.truth()
        # At most one INVITE for each number: each lead has one attempt at most.
        invited = Counter(t.number for t in truth)
        assert max(invited.values()) == 1
        dialed = Counter(c["number"] for c in calls if c["outcome"] not in ("expired", "unknown"))
        assert set(dialed) <= set(invited)
        unknown = {c["number"] for c in calls if c["outcome"] == "unknown"}
        assert set(invited) <= set(dialed) | unknown
        assert {c["number"] for c in calls} == {lead["number"] for lead in given}


async def _come_back(centre: CallCentre, campaign: str) -> None:
    """The same agents sign in again, as their browsers would."""
    from tests.lab.agents import LabAgent

    for login, password in centre.logins.items():
        token = await centre.token(login, password)
        agent = LabAgent(centre.address, token, name=login, talk=(0.5, 2.0), wrap=(0.1, 0.2))
        centre.agents.append(agent)
    await asyncio.gather(*(agent.start() for agent in centre.agents))


async def test_an_answered_person_hears_the_message_when_the_dialer_is_dead() -> None:
    async with CallCentre(agents=1) as centre:
        campaign = await centre.campaign("main", ring_timeout=8, max_attempts=1)
        called = number(behaviour=1, index=1, delay=5)  # answers after two seconds
        await centre.load(campaign, [{"number": called}])
        await centre.add_agents([campaign])
        await centre.post(f"/campaigns/{campaign}/start")
        await until(lambda: bool(centre.public.truth()), timeout=20, what="the call")
        assert centre.dialer is not None
        await centre.dialer.stop(number=signal.SIGKILL)
        (seen,) = await centre.public.truth_of(1, timeout=5)
        async with asyncio.timeout(30):  # Asterisk ends the call by itself, after the message
            while seen.ends != ["ANSWERED", "BYE_RECEIVED"]:
                await asyncio.sleep(0.1)
                (seen,) = centre.public.truth()
        cel = centre.asterisk.cel.read_text()
        assert '"DialerStage"' in cel
        assert "message" in cel
        # The next owner learns it from Asterisk's records.
        await centre.start_dialer()
        await centre.sign_in()
        (call,) = await records(centre, campaign)
        assert call["outcome"] == "abandoned"
