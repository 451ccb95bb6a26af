"""What a run in a `Pool` left behind, as the invariants' checker wants it."""

from __future__ import annotations

from datetime import datetime, timedelta

from dialer.domain.lead import LeadState
from tests.lab.invariants import hold
from tests.lab.records import Attempt, Blocked, Evidence, Lead, Pop, Session, Stretch
from tests.unit.engine.pool import Pool

_UNWRITTEN = timedelta(seconds=2.5)  # longer than the writer ever waits between two tries


def evidence(
    pool: Pool, *, settled: bool = True, window: float = 2.0, stepped: bool = False
) -> Evidence:
    """`settled`: nothing is under way. Leads may still lie in a running engine's hopper. `stepped`:
    the dialer's calendar clock was set, so sessions cannot be found again by their times."""
    running = pool.processes and not pool.engine.stopped.is_set() and not pool.engine.gate.stopping
    hopper = {LeadState.HOPPER.value} if running else set()
    return Evidence(
        attempts=_attempts(pool),
        calls=[call for watch in pool.watches for call in watch.calls()],
        leads=[
            Lead(
                str(row.lead.lead_id),
                str(row.lead.client_id),
                row.lead.number,
                "new" if row.state.value in hopper else row.state.value,
            )
            for row in pool.store.leads.values()
        ],
        loaded=[str(i) for i in pool.loaded],
        blocked=[
            Blocked(str(client), number, entry.at)
            for (client, number), entry in pool.store.rows.do_not_call.items()
        ],
        stretches=[
            Stretch(str(i.agent_id), str(i.session_id), i.state.value, i.started_at, i.ended_at)
            for i in pool.store.rows.intervals.values()
        ],
        sessions=[] if stepped else _sessions(pool),
        pops=[
            Pop(p.topic[6:], p.at, p.data["call_id"], p.data["customer"]["id"])
            for p in pool.posted
            if p.kind == "pop"
        ],
        received={
            topic: [(p.seq.epoch, p.seq.n) for p in pool.posted if p.topic == topic]
            for topic in {p.topic for p in pool.posted}
        },
        ledgers=(
            {
                str(c.id): (c.ledger.live_answers, c.ledger.abandoned)
                for c in pool.engine.campaigns.values()
            }
            if running
            else {}
        ),
        window=window,
        settled=settled,
    )


def _attempts(pool: Pool) -> list[Attempt]:
    return [
        Attempt(
            id=str(row.new.id),
            client=str(row.new.client_id),
            campaign=str(row.new.campaign_id),
            lead=str(row.new.lead_id),
            person=str(row.new.customer_id),
            number=row.new.number,
            intended_at=row.new.intended_at,
            outcome=row.outcome.value if row.outcome else None,
            allowed=row.new.verdict.get("verdict") == "allow",
            by_hand=row.new.agent_id is not None,
            sent_at=row.fields.get("sent_at"),
            answered_at=row.fields.get("answered_at"),
            connected_at=row.fields.get("connected_at"),
            ended_at=row.fields.get("ended_at"),
            message=bool(row.fields.get("message_played")),
        )
        for row in pool.store.attempts.values()
    ]


def _sessions(pool: Pool) -> list[Session]:
    """Sign-ins as the agents' screens saw them. A crash does not end one, but the next owner may
    find its phone gone, or may never have been told of it: then it was cut off."""
    first: dict[tuple[str, datetime], str] = {}
    for stretch in sorted(pool.store.rows.intervals.values(), key=lambda i: i.started_at):
        first.setdefault((str(stretch.agent_id), stretch.started_at), str(stretch.session_id))
    ends = {(str(i.session_id), i.ended_at) for i in pool.store.rows.intervals.values()}
    begun: dict[str, datetime] = {}
    crashed: dict[str, datetime] = {}  # since then nothing was heard of the agent
    doubtful: dict[str, Session] = {}  # signed out, in a moment that may not have been written
    found: list[Session] = []

    def end(agent: str, at: datetime, *, cut: bool) -> None:
        since = begun.pop(agent)
        found.append(Session(agent, first.get((agent, since), ""), since, at, cut))

    for index, posted in enumerate([*pool.posted, None]):
        for _, when, whose in (c for c in pool.crashes if c[0] == index):
            for old in [o for o in found if o.agent in whose and when - o.until < _UNWRITTEN]:
                found.remove(old)
                doubtful[old.agent] = old
            crashed.update(dict.fromkeys(whose & set(begun), when))
        if posted is None or posted.kind != "state":
            continue
        agent, state = posted.topic[6:], posted.data["state"]
        told = posted.data["since"]
        at = datetime.fromisoformat(told) if told else posted.at
        if told and (old := doubtful.pop(agent, None)) is not None:
            unless_told = "" if agent in begun else old.session
            goes_on = first.get((agent, at), unless_told) == old.session or (
                # The next sign-in may begin in the moment in which the lost sign-out is made up.
                state == "signed_out" and (old.session, at) in ends
            )
            if old.session and state != "connecting" and goes_on:  # "": nothing was written of it
                begun[agent] = old.since  # the sign-out was lost, and a sign-in after it, too
                crashed.pop(agent, None)
            else:
                found.append(old)
        if agent in crashed and not told:
            continue  # the next owner has not found out yet
        if (when := crashed.pop(agent, None)) is not None:
            session = first.get((agent, begun[agent]), "")
            another = first.get((agent, at), session) != session
            if not session or (another and (session, at) not in ends and state != "signed_out"):
                end(agent, when, cut=True)
        if state == "signed_out":
            if agent in begun:
                end(agent, at, cut=False)
        elif agent not in begun:
            begun[agent] = at
    found += doubtful.values()
    for agent, when in crashed.items():
        end(agent, when, cut=True)
    return [s for s in found if s.until > s.since and (s.session or not s.cut)]


def check(pool: Pool, *, settled: bool = True, window: float = 2.0) -> None:
    """All seven invariants, and no call id was ever used twice on the network."""
    assert not [i for watch in pool.watches for i in watch.repeated]
    hold(evidence(pool, settled=settled, window=window))
