"""Taking over: what is there when an engine starts, and when a node comes back to it.

Events that come while we still look are kept and heard afterwards, so that nothing falls between
the reading of the channels and the first event that is handled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import structlog

from dialer.domain.agent import AgentState
from dialer.domain.call import CallState
from dialer.domain.work import AgentNow, OpenAttempt, PoolStore
from dialer.engine.agents import AgentDesk, agent_of_leg
from dialer.engine.calls import CallDesk, lost
from dialer.engine.handover import Handed, Resumption
from dialer.engine.hangups import HangUps
from dialer.engine.outcomes import inferred
from dialer.engine.reconcile import Found, call_of, conclude, reconcile
from dialer.engine.router import Router
from dialer.engine.state import Call
from telephony.clock import Clock
from telephony.events import CallEnd, CallEnded, ChannelSnapshot, SwitchEvent
from telephony.nodes import Switchboard
from telephony.records import CallRecord, CallRecords
from telephony.switch import SwitchError

log = structlog.get_logger(__name__)

Channels = Sequence[tuple[str, ChannelSnapshot]]  # (node, channel)


class Recovery:
    """Reconciles at start and when a node is back; ends channels of ours that nobody knows."""

    def __init__(
        self,
        pool_id: UUID,
        *,
        store: PoolStore,
        switchboard: Switchboard,
        hang_ups: HangUps,
        records: CallRecords,
        calls: CallDesk,
        desk: AgentDesk,
        router: Router,
        clock: Clock,
        take_line: Callable[[str], None],
        replay: Callable[[SwitchEvent], None],
    ) -> None:
        self._pool_id, self._store, self._switchboard = pool_id, store, switchboard
        self._hang_ups, self._records = hang_ups, records
        self._calls, self._desk, self._router, self._clock = calls, desk, router, clock
        self._take_line, self._replay = take_line, replay
        self._early: list[SwitchEvent] | None = []
        self._resumption = Resumption(None, desk=desk, calls=calls, clock=clock)
        self._away: set[str] = set()  # nodes that we could not look at when we took over
        self._unseen: dict[str, list[OpenAttempt]] = {}  # open attempts of nodes that are away
        self._were: dict[UUID, AgentNow] = {}  # agents who were signed in under the last owner
        self._told: dict[UUID, Call] = {}  # calls that they may have to describe

    def keeps(self, event: SwitchEvent) -> bool:
        """Whether the event has to wait until we know what there is."""
        if self._early is None:
            return False
        self._early.append(event)
        return True

    async def run(self, *, originate_time: float, handed: Handed | None = None) -> Found:
        """At start: adopt what lives, conclude what ended, sweep the rest. `handed`: what the owner
        before us told as it left."""
        attempts = await self._store.open_attempts(self._pool_id)
        were = await self._store.agents_now(self._pool_id)
        # What was sent just before a crash may not have a channel yet.
        if attempts and (handed is None or not handed.settled):
            await asyncio.sleep(originate_time)
        channels: list[tuple[str, ChannelSnapshot]] = []
        away = set(self._switchboard.down())
        for switch in self._switchboard.up():
            try:
                channels.extend((switch.node, c) for c in await switch.channels())
            except SwitchError:
                away.add(switch.node)
        self._away = away
        self._resumption = Resumption(handed, desk=self._desk, calls=self._calls, clock=self._clock)
        told = [was.attempt_id for was in were if was.attempt_id is not None]
        self._told = await self._described([*self._resumption.to_describe, *told])
        self._resumption.begin()
        self._remember(were)
        found = await self._bring_in_line(attempts, channels, away)
        legs = {c.dialer_id: c.answered for _, c in channels if c.kind == "leg"}
        self._resumption.finish(legs, away=away, described=self._told)
        early, self._early = self._early or [], None
        for event in early:
            self._replay(event)
        await self._sweep(channels)
        return found

    def _remember(self, were: Sequence[AgentNow]) -> None:
        """Whoever was not handed to us goes on from what was written of them."""
        for was in were:
            agent = self._desk.agents.get(was.agent_id)
            if agent is not None and agent.state is AgentState.SIGNED_OUT:
                self._were[agent.id] = self._desk.absent[agent.id] = was

    async def _described(self, ids: Sequence[UUID]) -> dict[UUID, Call]:
        """Calls that are over, for agents who have yet to say how they went."""
        if not ids:
            return {}
        found = {}
        for attempt in await self._store.open_attempts(self._pool_id, ended=ids):
            call = found[attempt.id] = call_of(attempt, at=self._clock.monotonic())
            call.state, call.connected_at = CallState.ENDED, attempt.connected_at
            call.connected = call.due if attempt.connected_at is not None else 0.0
        return found

    async def node_back(self, node: str, channels: Sequence[ChannelSnapshot]) -> None:
        """What a node that was away has to say."""
        here = [(node, channel) for channel in channels]
        if node in self._away:
            self._away.discard(node)
            await self._bring_in_line(self._unseen.pop(node, []), here, ())
        await self._sweep(here)

    async def node_gone(self, node: str, waits: Sequence[float]) -> None:
        """A node stayed away: its calls end as Asterisk's records tell, where these can be read,
        and as unknown otherwise. What still lives there when it is back is ended then."""
        if unseen := self._unseen.pop(node, []):
            await self._bring_in_line(unseen, (), ())
        at = self._clock.monotonic()
        here = [call for call in self._calls.calls.values() if call.node == node]
        ends = (self.look_up(lost(call, node=node, at=at), waits) for call in here)
        await asyncio.gather(*ends)

    async def look_up(self, event: CallEnded, waits: Sequence[float]) -> None:
        """A call that ended while the link was away, or that we did not see all of: Asterisk's own
        records may know more. `waits`: seconds before each look."""
        call = self._calls.get(event.call_id)
        if call is None:
            return
        unknown, unheard = event.end is CallEnd.UNKNOWN, inferred(event)
        record: CallRecord | None = None
        for pause in waits if unknown else waits[:1]:
            await asyncio.sleep(pause)
            records = await self._records.find([call.key], since=call.intended_at)
            record = records.get(call.key)
            if record is not None and (record.end is not None or not unknown):
                break
        if self._calls.get(event.call_id) is not call:
            return
        if record is not None:
            if record.opted_out and not call.do_not_call:
                self._calls.opt_out(call)
            seen = None if unheard else event.at
            told = conclude(call, record, self._clock, ended=seen)
            if unheard and record.end is not None:
                event = told
            elif (event.end, record.end) == (CallEnd.HUNG_UP_NEAR, CallEnd.HUNG_UP_FAR):
                # The far end's word came before we listened: without it an end looks like ours.
                event = replace(event, end=CallEnd.HUNG_UP_FAR)
        self._calls.ended(event)

    async def _bring_in_line(
        self, attempts: Sequence[OpenAttempt], channels: Channels, away: Collection[str]
    ) -> Found:
        """What is on a node that is away, and not in the records, waits until the node is back.
        The channels are read before the records: a call that ends in between is told by an event.
        """
        absent = list(self._desk.absent.values())
        ids = [*(str(a.id) for a in attempts), *(was.leg_id for was in absent if was.leg_id)]
        begun = [*(a.intended_at for a in attempts), *(was.since for was in absent)]
        since = min(begun, default=self._clock.now())
        records = await self._records.find(ids, since=since) if ids else {}
        clear: list[OpenAttempt] = []
        for attempt in attempts:
            record = records.get(str(attempt.id))
            if attempt.node in away and (record is None or record.end is None):
                self._unseen.setdefault(attempt.node, []).append(attempt)
            else:
                clear.append(attempt)
        found = reconcile(
            clear,
            channels=channels,
            records=records,
            calls=self._calls,
            desk=self._desk,
            router=self._router,
            clock=self._clock,
            take_line=self._take_line,
            were=self._were,
            told=self._told,
            rejoin=self._resumption.rejoin,
        )
        if not self._away:
            self._see_off(records)
        log.info(
            "reconciled",
            action="reconciled",
            adopted=found.adopted,
            concluded=found.concluded,
            unknown=found.unknown,
            legs=found.legs,
            put_off=len(attempts) - len(clear),
        )
        return found

    def _see_off(self, records: Mapping[str, CallRecord]) -> None:
        """Agents who were signed in and whose phones are on no node any more."""
        gone, self._were = dict(self._desk.absent), {}
        for agent_id, was in gone.items():
            del self._desk.absent[agent_id]
            if (agent := self._desk.agents.get(agent_id)) is not None:
                record = records.get(was.leg_id)
                ended = record.ended_at if record is not None else None
                self._desk.left(agent, was, at=ended or self._clock.now())

    async def _sweep(self, channels: Channels) -> None:
        """Other pools, and other dialers, have calls and legs on these nodes too: only what is
        certainly ours is ended."""
        strays: dict[str, str] = {}
        calls: dict[UUID, tuple[str, str]] = {}
        for node, channel in channels:
            key = channel.dialer_id
            if channel.kind == "leg" and self._desk.by_leg(key) is None:
                if agent_of_leg(key) in self._desk.agents:
                    strays[key] = node
            elif channel.kind == "call" and key not in self._calls.calls:
                attempt_id = _attempt_id(key)
                if attempt_id is not None:
                    calls[attempt_id] = (key, node)
        ours = await self._store.attempts_of_pool(self._pool_id, list(calls)) if calls else ()
        for attempt_id in ours:
            key, node = calls[attempt_id]
            if not self._awaited(attempt_id) and key not in self._calls.calls:
                strays[key] = node
        for key, node in strays.items():
            log.warning("stray channel", action="swept", channel=key, node=node)
            self._hang_ups.want(node, key)

    def _awaited(self, attempt_id: UUID) -> bool:
        return any(a.id == attempt_id for unseen in self._unseen.values() for a in unseen)


def _attempt_id(key: str) -> UUID | None:
    try:
        return UUID(key)
    except ValueError:
        return None
