"""The seven promises at the end of a campaign, judged from three witnesses.

Our records (the database and the live figures), Asterisk's own records (CEL) and SIPp's log are
brought into the plain form that the invariants' checker takes; what only one pair of witnesses can
tell is compared by `verdict` and `evidence` besides.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from tests.lab import evidence, records
from tests.lab.agents import LabAgent
from tests.lab.callcentre import CallCentre
from tests.lab.invariants import hold
from tests.lab.process import until
from tests.lab.public import PublicCall
from tests.lab.verdict import pops_fit, same_story_after_a_crash

_SLACK = 0.5  # s by which three processes on a loaded machine may differ about an instant
_STUCK = 60.0  # s after which a channel that nobody needs counts as stuck
_FINAL = frozenset({"done", "blocked"})


@dataclass(frozen=True, slots=True)
class Told:
    """What a run left behind, for a test's own questions and for the log."""

    calls: Sequence[Mapping[str, Any]]
    outcomes: Counter[str]
    unknown: int
    channels: Mapping[str, evidence.Channel]
    leads: Sequence[Mapping[str, Any]] = field(default_factory=list)


async def settled(
    centre: CallCentre, campaign: str, *, timeout: float, ready: int | None = None
) -> None:
    """Wait until nothing is under way: every lead has come to rest, no call is up, and `ready`
    agents (default: all) wait for work. Raises TimeoutError, with what is stuck."""
    wanted = len(centre.agents) if ready is None else ready
    seen: dict[str, Any] = {}

    async def quiet() -> bool:
        await asyncio.sleep(0.3)
        try:
            figures = await centre.post(f"/campaigns/{campaign}/figures", method="GET")
            pools = (await centre.post("/live", method="GET"))["pools"]
        except RuntimeError:
            return False  # nobody owns the pool at the moment, or the store is away
        seen.update(leads=figures["leads"], outcomes=figures["outcomes"])
        seen["pools"] = [(p["agents"], p["calls"], p["trunks"], p["nodes"]) for p in pools]
        seen["campaigns"] = [(c["reason"], c["decision"]) for p in pools for c in p["campaigns"]]
        return (
            set(figures["leads"]) <= _FINAL
            and not figures["outcomes"].get("open")
            and len(pools) == 1
            and not pools[0]["calls"]
            and pools[0]["agents"].get("ready", 0) == wanted
        )

    try:
        await until(quiet, timeout=timeout, what="everything to come to rest")
    except TimeoutError as error:
        raise TimeoutError(f"{error}; stuck: {seen}") from None


async def promises_kept(
    centre: CallCentre,
    campaign: str,
    given: Sequence[Mapping[str, Any]],
    *,
    max_attempts: int,
    delays: Mapping[str, float],
    window: float = 2.0,
    crashed: bool = False,
    truth: Sequence[PublicCall] | None = None,
    died: Sequence[tuple[str, float]] = (),
    stood_still: Sequence[tuple[str, float, float]] = (),
) -> Told:
    """Raise AssertionError naming what broke a promise, once everything is settled.

    `delays`: least seconds until a person is called again, by outcome. `crashed`: a dialer died, so
    what it had decided and not yet told to a screen was told to nobody. `truth`: what the network
    did, where it is not in one SIPp's log. `died`: Asterisk nodes that were killed, and when (s
    since 1970): their calls ended there, and neither they nor SIPp say so. `stood_still`: nodes,
    and from when to when they did.
    """
    calls = await centre.calls(campaign)
    if truth is None:
        truth = centre.public.truth()
        if not died:
            truth = await centre.public.truth_of(len(truth), timeout=60, ended=True)
    found = evidence.Evidence(centre.cel, calls)
    by_us = [call_id for call_id, channel in found.called.items() if channel.ended_by_us]
    unknown = same_story_after_a_crash(
        calls, truth, window=window, cut_off=bool(died), ended_by_us=frozenset(by_us)
    )
    found.check(window=window, lost_nodes=bool(died))
    leads = [row for row in await centre.rows("lead") if str(row["campaign_id"]) == campaign]
    told = Told(calls, Counter(c["outcome"] for c in calls), unknown, found.channels, leads)
    rows = await centre.rows("attempt")
    attempts = [_attempt(row) for row in rows]
    attempts = [a for a in attempts if a.campaign == campaign]
    agents = {str(row["endpoint"]): row["id"].hex for row in await centre.rows("agent")}
    by_number = {str(row["number"]): str(row["id"]) for row in leads}
    stretches = [_stretch(row) for row in await centre.rows("agent_interval")]
    hold(
        records.Evidence(
            attempts=attempts,
            calls=_calls(found, rows, _ends(found, rows, died), stood_still),
            leads=[
                records.Lead(str(r["id"]), str(r["client_id"]), r["number"], r["state"])
                for r in leads
            ],
            loaded=[by_number.get(g["number"], g["number"]) for g in given],
            blocked=[
                records.Blocked(str(row["client_id"]), row["number"], row["at"])
                for row in await centre.rows("do_not_call")
            ],
            stretches=stretches,
            # The next owner begins new sign-ins for those it finds at their phones, and no screen
            # sees where: then only the records can be added up.
            sessions=[]
            if crashed
            else [s for a in centre.agents for s in _sessions(a, agents[a.name], stretches)],
            pops=[] if crashed else [p for a in centre.agents for p in _pops(a, agents[a.name])],
            received={
                (a.name, n): numbers
                for a in centre.agents
                for n, numbers in enumerate(_received(a))
            },
            ledgers=await _ledgers(centre, campaign),
            max_attempts=max_attempts,
            delays=delays,
            window=window,
            slack=_SLACK,
        )
    )
    evidence.agent_time_adds_up(await centre.rows("agent_interval"))
    for agent in centre.agents:
        pops_fit(given, [message for _, message in agent.messages])
    await _nothing_left(centre, campaign)
    figures = await centre.post(f"/campaigns/{campaign}/figures", method="GET")
    assert figures["abandoned"] == sum(a.abandoned for a in attempts), figures
    return told


async def _nothing_left(centre: CallCentre, campaign: str) -> None:
    """No lead is held, and of our channels only the agents' phones are still up, within _STUCK."""
    held = await centre.rows("reservation")
    assert not held, held
    listed, phones = "", 0

    async def nobody() -> bool:
        nonlocal listed, phones
        listed, ids = "", []
        for node in centre.nodes:
            if node.child is None or not node.child.alive:
                continue
            here = await node.cli("core show channels concise")
            ids += [line.split("!")[-1].strip() for line in here.splitlines() if "!" in line]
            listed += here
        phones = len(ids)
        return all(i.startswith("leg-") for i in ids) and len(ids) == len(set(ids))

    try:
        await until(nobody, timeout=_STUCK, what="people's channels to be gone")
    except TimeoutError:
        raise AssertionError(f"still up after {_STUCK} s:\n{listed}") from None
    assert phones <= len(centre.agents), listed


async def _ledgers(centre: CallCentre, campaign: str) -> dict[str, tuple[int, int]]:
    (pool,) = (await centre.post("/live", method="GET"))["pools"]
    (live,) = [c for c in pool["campaigns"] if c["id"] == campaign]
    return {campaign: (live["live_answers"], live["abandoned"])}


def _attempt(row: Mapping[str, Any]) -> records.Attempt:
    return records.Attempt(
        id=str(row["id"]),
        client=str(row["client_id"]),
        campaign=str(row["campaign_id"]),
        lead=str(row["lead_id"]),
        person=str(row["customer_id"]),
        number=row["number"],
        intended_at=row["intended_at"],
        outcome=row["outcome"],
        allowed=row["verdict"].get("verdict") == "allow",
        by_hand=row["mode"] in ("preview", "manual"),
        sent_at=row["sent_at"],
        answered_at=row["answered_at"],
        connected_at=row["connected_at"],
        ended_at=row["ended_at"],
        message=bool(row["message_played"]),
    )


def _at(second: float) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def _maybe(second: float) -> datetime | None:
    return _at(second) if second else None


def _ends(
    found: evidence.Evidence, rows: Sequence[Mapping[str, Any]], died: Sequence[tuple[str, float]]
) -> dict[str, float]:
    """When calls ended that were up on a node as it died."""
    at: dict[str, float] = {}
    for row in rows:
        call_id = str(row["id"])
        channel = found.channels.get(call_id)
        if channel is not None and not channel.ended:
            deaths = [t for node, t in died if node == row["node"] and t >= channel.started]
            if deaths:
                at[call_id] = min(deaths)
    return at


def _calls(
    found: evidence.Evidence,
    rows: Sequence[Mapping[str, Any]],
    cut: Mapping[str, float],
    stood_still: Sequence[tuple[str, float, float]],
) -> list[records.Call]:
    known = {str(row["id"]): (row["number"], row["node"]) for row in rows}
    calls: list[records.Call] = []
    for i, channel in found.called.items():
        number, node = known.get(i, ("", ""))
        call = _call(found, i, channel, number, cut.get(i, 0.0))
        still = tuple((_at(stop), _at(go)) for name, stop, go in stood_still if name == node)
        calls.append(replace(call, stood_still=still))
    return calls


def _call(
    found: evidence.Evidence, call_id: str, channel: evidence.Channel, number: str, cut: float
) -> records.Call:
    """`cut`: when its node died with it, 0 if none did."""
    talks = found.talks(channel)
    # A BYE that comes as the channel enters a bridge of its own: Asterisk's record forgets who it
    # came from. SIPp's log has it; here it is left to how long the person waited.
    alone = bool(channel.bridges) and not talks
    return records.Call(
        id=call_id,
        number=number,
        at=_at(channel.started),
        answered_at=_maybe(channel.answered),
        ended_at=_maybe(channel.ended or cut),
        ended_unseen=bool(cut),
        message_at=_maybe(channel.message),
        bridges=tuple(
            records.Bridge(agent, _at(since), _maybe(left)) for agent, since, left in talks
        ),
        ended_by_us=channel.ended_by_us and not alone,
    )


def _stretch(row: Mapping[str, Any]) -> records.Stretch:
    return records.Stretch(
        row["agent_id"].hex, row["session_id"].hex, row["state"], row["started_at"], row["ended_at"]
    )


def _since(agent: LabAgent) -> list[tuple[str, datetime]]:
    """The states that the agent's screen showed, each with its beginning."""
    return [
        (message["data"]["state"], datetime.fromisoformat(message["data"]["since"]))
        for _, message in agent.messages
        if message["type"] in ("state", "snapshot") and message["data"].get("since")
    ]


def _sessions(
    agent: LabAgent, agent_id: str, stretches: Sequence[records.Stretch]
) -> list[records.Session]:
    """The sign-ins as the agent's screen saw them, up to the last change of state: what came after
    it is not over yet."""
    first = {s.since: s.session for s in stretches if s.agent == agent_id}
    found: list[records.Session] = []
    begun: datetime | None = None
    last: datetime | None = None
    for state, since in _since(agent):
        if state != "signed_out" and begun is None:
            begun = since
        last = since
        if state == "signed_out" and begun is not None:
            found.append(records.Session(agent_id, first.get(begun, ""), begun, since))
            begun = None
    if begun is not None and last is not None and last > begun:
        found.append(records.Session(agent_id, first.get(begun, ""), begun, last))
    return found


def _pops(agent: LabAgent, agent_id: str) -> list[records.Pop]:
    """Who was shown to the agent, when: as a pop, or as the call in the snapshot that comes in its
    place to a screen that connects anew or whose pool has a new owner."""
    found: list[records.Pop] = []
    following = datetime.max.replace(tzinfo=UTC)
    for _, message in reversed(agent.messages):
        # A snapshot is stamped as it is sent, and tells of the moment in which it was asked for.
        at = min(datetime.fromisoformat(message["at"]), following)
        snapshot = message["type"] == "snapshot"
        shown = message["data"].get("call") if snapshot else message["data"]
        if shown and (snapshot or message["type"] == "pop"):
            found.append(records.Pop(agent_id, at, shown["call_id"], shown["customer"]["id"]))
        following = at if snapshot else datetime.fromisoformat(message["at"])
    return found[::-1]


def _received(agent: LabAgent) -> list[list[tuple[int, int]]]:
    """Numbers of what came, in the order in which it came; a snapshot begins anew."""
    runs: list[list[tuple[int, int]]] = [[]]
    for _, message in agent.messages:
        epoch, _, number = message["seq"].partition("-")
        if message["type"] == "snapshot":
            runs.append([])
        runs[-1].append((int(epoch), int(number)))
    return [run for run in runs if run]
