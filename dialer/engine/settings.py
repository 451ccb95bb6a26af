"""What an engine can be tuned by. Every field has a unit and a reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Defaults suit one node; times are in seconds."""

    #: Pacing looks at the pool at least this often; new calls need no finer clock.
    tick: float = 1.0
    #: After a wake (an agent got free, a call ended) it looks again, but not more often than this.
    wake_gap: float = 0.1
    #: An intended attempt that was not sent within this time expires, undialed.
    intent_expiry: float = 1.0
    #: Call state is written in batches: one transaction instead of four per call.
    flush: float = 0.05
    #: Writes kept while the database is away; beyond this the engine stops dialing for good.
    buffer: int = 200_000
    #: How long ownership lasts without renewal. A dead owner's pool is free after this.
    lease: float = 10.0
    #: The owner stops itself this long before its lease can be taken.
    lease_margin: float = 2.0
    #: A lost agent's leg is called again for this long before the agent is signed out.
    leg_grace: float = 30.0
    #: A leg parks again within this time after a conversation; a manual call waits for it.
    leg_parks: float = 1.0
    #: How long an agent's phone may ring at sign-in.
    leg_ring: float = 20.0
    #: Stopping waits this long for conversations to end.
    drain: float = 20.0
    #: Leads kept claimed per campaign: this many seconds of dialing at the present rate.
    hopper_seconds: float = 4.0
    #: ... and at least this many while the campaign runs with agents signed in.
    hopper_least: int = 20
    #: A hopper's rules verdicts grow old: leads claimed longer ago than this go back.
    hopper_age: float = 120.0
    #: Leads claimed in one transaction at most: reading more at once would hold the loop, and with
    #: it an answered person, for more than a few milliseconds.
    claim_most: int = 200
    #: An empty list is asked for due leads this often.
    empty_poll: float = 1.0
    #: How long a new owner waits for its nodes before it reconciles without them.
    node_wait: float = 15.0
    #: Time an Originate may take to come into effect; reconciliation waits for it.
    originate_time: float = 2.0
    #: An end that nobody saw is looked up in Asterisk's records after these pauses, then unknown.
    record_waits: tuple[float, ...] = (0.2, 1.0)
    #: A running campaign's leads are counted this often, for the board.
    count: float = 2.0
    #: ... and no more often than this many times what the counting takes: lists are long.
    count_share: float = 20.0
    #: A finished campaign stays on the board this long.
    finished_shown: float = 86400.0
    #: A predictive campaign learns from its records of the last so many seconds when an engine is
    #: new to it: yesterday's hours tell more than nothing.
    learn_from: float = 86400.0
    #: ... and from this many attempts at most: reading them holds up the first decision.
    learn_most: int = 2000
    #: What the hours of the day do to the answer rate is learnt from the records of so long (s).
    learn_hours: float = 7 * 86400.0
    #: What a client's other pools abandoned is read this often, where the rules count the centre.
    centre: float = 30.0
    #: The reasons of pacing are kept this often while calls are placed,
    decision_gap: float = 5.0
    #: ... and this often while nothing happens.
    decision_idle: float = 60.0
    #: Live figures go out this often.
    figures: float = 1.0
