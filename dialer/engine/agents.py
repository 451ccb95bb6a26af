"""The agents of a pool: their states, their time, their legs.

Every change of state goes through `AgentDesk.move`, which closes the stretch of time that ends (so
that the durations add up to the time signed in) and tells the agent's screen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from dialer.domain.agent import AGENT, AgentEvent, AgentState
from dialer.domain.errors import Conflict, NotFound
from dialer.domain.ids import NewId
from dialer.domain.work import AgentNow, AgentView, Write
from dialer.engine.hangups import HangUps
from dialer.engine.occupancy import Occupancy
from dialer.engine.settings import EngineSettings
from dialer.engine.state import Agent, Call, doing, stretch
from dialer.engine.tasks import TaskGroup
from telephony.clock import Clock
from telephony.switch import Switch, SwitchError, Unanswered

log = structlog.get_logger(__name__)

Post = Callable[[str, str, dict[str, Any]], None]  # topic, type, data

_STEPPED = timedelta(seconds=1)  # more than this apart: somebody set the calendar clock

#: States an agent can be called away from only when the work at hand is done.
_AT_WORK = frozenset(
    {AgentState.RESERVED, AgentState.DIALING, AgentState.ON_CALL, AgentState.CONSULTING}
)


class AgentDesk:
    """Keeps the agents; knows nothing of campaigns' calls beyond `agent.call`."""

    def __init__(
        self,
        *,
        switch_for: Callable[[str], Switch],
        hang_ups: HangUps,
        put: Callable[[Write], None],
        post: Post,
        new_id: NewId,
        clock: Clock,
        settings: EngineSettings,
        tasks: TaskGroup,
        became_ready: Callable[[Agent], None],
        work_cut: Callable[[Agent], None],
        epoch: Callable[[], int],
        node_for: Callable[[Agent], str],
        held: Callable[[], bool],
        wrapped_up: Callable[[UUID, str, float, UUID], None],
    ) -> None:
        self._switch_for, self._put, self._post = switch_for, put, post
        self._new_id, self._clock, self._settings = new_id, clock, settings
        self._tasks, self._became_ready = tasks, became_ready
        self._hang_ups = hang_ups
        self._work_cut, self._epoch, self._node_for = work_cut, epoch, node_for
        self._held, self._wrapped_up = held, wrapped_up
        self.agents: dict[UUID, Agent] = {}
        self._by_leg: dict[str, Agent] = {}
        self._legs = 0
        self._parking: dict[UUID, asyncio.Event] = {}
        #: Agents who were signed in under the last owner, as long as their phones were not found.
        self.absent: dict[UUID, AgentNow] = {}
        self.occupancy = Occupancy()

    # -- who there is ---------------------------------------------------------------------------

    def load(self, views: Iterable[AgentView]) -> None:
        """Take over the configured agents; those signed in keep their state."""
        known = {view.id: view for view in views}
        for agent_id, view in known.items():
            agent = self.agents.get(agent_id)
            if agent is None:
                self.agents[agent_id] = Agent(view)
            else:
                agent.view = view
        for agent_id in [a for a in self.agents if a not in known]:
            self.sign_out(self.agents[agent_id], reason="removed")
            if self.agents[agent_id].state is AgentState.SIGNED_OUT:
                del self.agents[agent_id]

    def get(self, agent_id: UUID) -> Agent:
        try:
            return self.agents[agent_id]
        except KeyError:
            raise NotFound("no such agent in this pool", agent_id=str(agent_id)) from None

    def by_leg(self, leg_id: str) -> Agent | None:
        return self._by_leg.get(leg_id)

    def signed_in(self) -> list[Agent]:
        return [a for a in self.agents.values() if a.state is not AgentState.SIGNED_OUT]

    def describing(self, campaign_id: UUID) -> bool:
        """Whether an agent has yet to say how a call of this campaign went."""
        return any(
            a.last_call is not None and a.last_call.campaign_id == campaign_id
            for a in self.agents.values()
        )

    def longest_idle(self, campaign_id: UUID, node: str) -> Agent | None:
        """The available agent who waited longest and may work this campaign, on this node."""
        best: Agent | None = None
        for agent in self.agents.values():
            if (
                agent.available
                and agent.leg_node == node
                and campaign_id in agent.view.campaigns
                and (best is None or agent.since < best.since)
            ):
                best = agent
        return best

    # -- states ---------------------------------------------------------------------------------

    def move(
        self, agent: Agent, event: AgentEvent, *, reason: str = "", campaign_id: UUID | None = None
    ) -> None:
        """One step of the agent's machine, its time written, its screen told."""
        before = agent.state
        after = AGENT.next(before, event)
        now, at = self._clock.monotonic(), self._clock.now()
        if agent.timer is not None:
            agent.timer.cancel()
            agent.timer = None
        if (done := stretch(agent, now=now, campaign_id=campaign_id)) is not None:
            if done.ended_at > done.started_at:
                self._put(done)
            if abs(at - done.ended_at) < _STEPPED:
                at = done.ended_at  # the next stretch begins where this one ends
        self.occupancy.ended(agent, before, at=now)
        agent.state, agent.reason, agent.since, agent.since_at = after, reason, now, at
        self.note(agent)
        self.tell_state(agent)
        if after is AgentState.READY and agent.pending is None:
            self._became_ready(agent)

    def note(self, agent: Agent) -> None:
        """Write down what the agent does now, for whoever owns the pool after us."""
        self._put(doing(agent))

    def break_off(self) -> None:
        """The pool is lost: what agents did until now is written as far as it went."""
        for agent in self.signed_in():
            if agent.timer is not None:
                agent.timer.cancel()
            done = stretch(agent, now=self._clock.monotonic(), campaign_id=None)
            if done is not None and done.ended_at > done.started_at:
                self._put(done)

    def later(self, agent: Agent, seconds: float, action: Callable[[Agent], None]) -> None:
        """Do this with the agent after some time, unless they move before, or the pool is not ours
        any more by then."""

        def act() -> None:
            agent.timer = None
            if self._held():
                action(agent)

        agent.timer = asyncio.get_running_loop().call_later(seconds, act)

    def tell_state(self, agent: Agent) -> None:
        self._post(f"agent:{agent.id}", "state", self.describe(agent))

    def tell_states(self) -> None:
        """To everybody: a new owner of the pool has something to say."""
        for agent in self.agents.values():
            self.tell_state(agent)

    def describe(self, agent: Agent) -> dict[str, Any]:
        """The `state` message's data."""
        return {
            "state": agent.state.value,
            "reason": agent.reason,
            "since": agent.since_at.isoformat() if agent.since_at else None,
            "pending": agent.pending.value if agent.pending else None,
        }

    def notice(self, agent: Agent, slug: str, detail: str) -> None:
        self._post(f"agent:{agent.id}", "notice", {"slug": slug, "detail": detail})

    # -- what agents ask for ----------------------------------------------------------------------

    def sign_in(self, agent: Agent, *, node: str) -> None:
        """Call the agent's phone; the leg stays up until sign-out."""
        if agent.state is not AgentState.SIGNED_OUT:
            raise Conflict(f"expected signed_out, got {agent.state.value}", state=agent.state.value)
        if (was := self.absent.pop(agent.id, None)) is not None:
            self.left(agent, was, at=self._clock.now())
        agent.session_id = self._new_id()
        agent.pending, agent.call, agent.last_call, agent.preview = None, None, None, None
        self.move(agent, AgentEvent.SIGN_IN)
        self._call_leg(agent, node)

    def make_ready(self, agent: Agent) -> None:
        if agent.state is AgentState.PAUSED:
            if not agent.leg_parked:
                raise Conflict("the phone is not connected yet", state=agent.state.value)
            self.move(agent, AgentEvent.MAKE_READY)
        elif agent.state is AgentState.WRAP_UP:
            if agent.pending is AgentEvent.PAUSE:  # taken back
                agent.pending = None
            self.finish_wrap_up(agent)
        elif agent.pending is AgentEvent.PAUSE:
            agent.pending = None
            self.tell_state(agent)
        elif agent.state is not AgentState.READY:
            raise Conflict(
                f"expected paused or wrap_up, got {agent.state.value}", state=agent.state.value
            )

    def pause(self, agent: Agent, reason: str) -> None:
        """At once when free, after the work at hand otherwise."""
        if agent.state in _AT_WORK:
            agent.pending, agent.pending_reason = AgentEvent.PAUSE, reason
            self.tell_state(agent)
        elif AGENT.allows(agent.state, AgentEvent.PAUSE):
            agent.pending = None
            self.move(agent, AgentEvent.PAUSE, reason=reason)
        else:
            raise Conflict(f"cannot pause in {agent.state.value}", state=agent.state.value)

    def sign_out(self, agent: Agent, *, reason: str = "") -> None:
        if agent.state is AgentState.SIGNED_OUT:
            return
        if agent.state in _AT_WORK:
            agent.pending = AgentEvent.SIGN_OUT
            self.tell_state(agent)
            return
        self._leave(agent, reason)

    def finish_wrap_up(self, agent: Agent) -> None:
        """Wrap-up is over: ready again, or what was asked for meanwhile."""
        if agent.last_call is not None:
            took = self._clock.monotonic() - agent.since
            self._wrapped_up(agent.last_call.campaign_id, agent.leg_node, took, agent.id)
        pending, agent.pending = agent.pending, None
        agent.last_call, agent.disposed = None, False
        if pending is AgentEvent.SIGN_OUT:
            self._leave(agent, "")
        elif pending is AgentEvent.PAUSE:
            self.move(agent, AgentEvent.PAUSE, reason=agent.pending_reason)
        else:
            self.move(agent, AgentEvent.WRAPPED_UP)

    def leave_for_shutdown(self, agent: Agent) -> None:
        """The engine stops: time is written and the leg ends, whatever the agent was doing."""
        if agent.state is not AgentState.SIGNED_OUT:
            self._leave(agent, "dialer stopped")

    def released(self, agent: Agent) -> None:
        """A reserved call was gone before the bridge stood: ready again, or what is pending."""
        agent.call = None
        self.move(agent, AgentEvent.RELEASE)  # nobody is routed to an agent who wants to leave
        if agent.pending is None:
            return
        pending, agent.pending = agent.pending, None
        if pending is AgentEvent.SIGN_OUT:
            self._leave(agent, "")
        elif pending is AgentEvent.PAUSE:
            self.move(agent, AgentEvent.PAUSE, reason=agent.pending_reason)

    # -- legs -------------------------------------------------------------------------------------

    def _drop_stray(self, leg_id: str, node: str) -> None:
        """A phone of ours that came up after we gave up on it."""
        if agent_of_leg(leg_id) in self.agents:
            self._hang_ups.want(node, leg_id)

    def leg_parked(self, leg_id: str, *, node: str) -> None:
        agent = self._by_leg.get(leg_id)
        if agent is None:
            self._drop_stray(leg_id, node)
            return
        agent.leg_parked = True
        if (waiting := self._parking.get(agent.id)) is not None:
            waiting.set()
        if agent.state in (AgentState.CONNECTING, AgentState.LEG_LOST):
            self.move(agent, AgentEvent.LEG_PARKED, reason="signed in")
        elif agent.state is AgentState.READY:
            self._became_ready(agent)

    async def until_parked(self, agent: Agent) -> bool:
        """After a conversation the leg takes some milliseconds to park; False if it does not."""
        if not agent.leg_parked and agent.leg_id:
            waiting = self._parking.setdefault(agent.id, asyncio.Event())
            try:
                async with asyncio.timeout(self._settings.leg_parks):
                    await waiting.wait()
            except TimeoutError:
                pass
            finally:
                self._parking.pop(agent.id, None)
        return agent.leg_parked

    def leg_ended(self, leg_id: str, *, cause: str) -> None:
        agent = self._by_leg.pop(leg_id, None)
        if agent is None or agent.leg_id != leg_id:
            return
        agent.leg_id, agent.leg_parked = "", False
        if agent.state is AgentState.SIGNED_OUT:
            return
        if agent.state is AgentState.CONNECTING:
            self.notice(agent, "phone-unreachable", f"the phone did not answer ({cause})")
            self.move(agent, AgentEvent.SIGN_OUT, reason="phone unreachable")
            return
        if agent.state is not AgentState.LEG_LOST:
            agent.leg_lost_at = self._clock.monotonic()
            self._work_cut(agent)
            self.move(agent, AgentEvent.LOSE_LEG, reason="phone lost")
            if agent.call is not None and agent.call.connected:  # it can still be described
                agent.last_call, agent.disposed = agent.call, False
            agent.call = None
            self.note(agent)
            self.notice(agent, "phone-lost", "the phone's call ended; it is called again")
        if self._clock.monotonic() - agent.leg_lost_at >= self._settings.leg_grace:
            self._leave(agent, "phone lost")
            return
        self.later(agent, 1.0, self._call_again)

    def adopt(
        self,
        agent: Agent,
        *,
        leg_id: str,
        node: str,
        was: AgentNow | None = None,
        told: Call | None = None,
    ) -> None:
        """A leg found alive at reconciliation: the agent is signed in as before, and paused. `was`:
        what they did; `told`: their last call, which they have not described."""
        agent.leg_id, agent.leg_node, agent.leg_parked = leg_id, node, True
        self.absent.pop(agent.id, None)
        self._by_leg[leg_id] = agent
        if was is None:
            agent.session_id = self._new_id()
            self.move(agent, AgentEvent.SIGN_IN, reason="adopted")
            self.move(agent, AgentEvent.LEG_PARKED, reason="dialer restarted")
            return
        self._take_up(agent, was)
        agent.last_call, agent.disposed = told, False
        if agent.state is AgentState.WRAP_UP and told is not None:
            self.note(agent)
        elif agent.allows(AgentEvent.PAUSE):
            self.move(
                agent, AgentEvent.PAUSE, reason="dialer restarted", campaign_id=was.campaign_id
            )
        else:  # in the middle of something that is looked into next
            self.move(agent, AgentEvent.LOSE_LEG, campaign_id=was.campaign_id)
            self.move(agent, AgentEvent.LEG_PARKED, reason="dialer restarted")

    def hold_leg(self, agent: Agent, leg_id: str, *, node: str, parked: bool) -> None:
        """A phone that the owner before us called."""
        agent.leg_id, agent.leg_node, agent.leg_parked = leg_id, node, parked
        self.absent.pop(agent.id, None)
        self._by_leg[leg_id] = agent

    def _take_up(self, agent: Agent, was: AgentNow) -> None:
        """The stretch that the last owner could not end goes on."""
        agent.session_id, agent.state, agent.reason = was.session_id, was.state, was.reason
        passed = (self._clock.now() - was.since).total_seconds()
        agent.since, agent.since_at = self._clock.monotonic() - max(passed, 0.0), was.since

    def left(self, agent: Agent, was: AgentNow, *, at: datetime) -> None:
        """Their phone was lost while nobody owned the pool: signed out since `at`."""
        self._take_up(agent, was)
        done = stretch(agent, now=self._clock.monotonic(), campaign_id=was.campaign_id)
        if done is not None and at > done.started_at:
            self._put(replace(done, ended_at=at))
        agent.session_id, agent.state, agent.reason = None, AgentState.SIGNED_OUT, "phone lost"
        agent.since, agent.since_at = self._clock.monotonic(), max(at, was.since)
        self.note(agent)
        self.tell_state(agent)

    def adopt_conversation(self, agent: Agent, call: Call, *, over: bool = False) -> None:
        """The agent was talking to this person all the while; `over`: and is not any more."""
        agent.call, agent.leg_parked = call, over
        if agent.state is AgentState.ON_CALL:  # as we were told at the handover
            return
        agent.last_call = None
        self.move(agent, AgentEvent.DIAL, reason="dialer restarted", campaign_id=call.campaign_id)
        self.move(agent, AgentEvent.CONNECT, reason="dialer restarted")

    def adopt_dialing(self, agent: Agent, call: Call) -> None:
        """A call that this agent asked for still rings."""
        agent.call = call
        self.move(agent, AgentEvent.DIAL, reason="dialer restarted", campaign_id=call.campaign_id)

    def node_lost(self, node: str) -> None:
        """A node stays away: its phones are called from another one."""
        for agent in self.signed_in():
            if agent.leg_node == node and agent.leg_id:
                self.leg_ended(agent.leg_id, cause="node lost")

    def call_again_soon(self, agent: Agent) -> None:
        """A lost phone that is not being called at this moment."""
        agent.leg_lost_at = self._clock.monotonic()
        self.later(agent, 1.0, self._call_again)

    def _call_again(self, agent: Agent) -> None:
        self._call_leg(agent, self._node_for(agent))

    def _call_leg(self, agent: Agent, node: str) -> None:
        if agent.state not in (AgentState.CONNECTING, AgentState.LEG_LOST):
            return
        self._legs += 1
        leg_id = f"leg-{agent.id.hex}-{self._epoch()}-{self._legs}"
        agent.leg_id, agent.leg_node, agent.leg_parked = leg_id, node, False
        self.note(agent)
        self._by_leg[leg_id] = agent
        self._tasks.spawn(self._place_leg(agent, leg_id, node), name=f"leg-{agent.id}")

    async def _place_leg(self, agent: Agent, leg_id: str, node: str) -> None:
        try:
            await self._switch_for(node).call_leg(
                leg_id,
                endpoint=agent.view.endpoint,
                caller_id="dialer",
                ring_timeout=self._settings.leg_ring,
            )
        except Unanswered:
            pass  # it may have left: the next resynchronisation tells
        except SwitchError as error:
            log.warning(
                "leg not placed", action="leg_failed", agent=str(agent.id), error=str(error)
            )
            if agent.leg_id == leg_id:
                self.leg_ended(leg_id, cause=str(error))

    def _leave(self, agent: Agent, reason: str) -> None:
        leg_id, node = agent.leg_id, agent.leg_node
        self._work_cut(agent)
        agent.pending, agent.call, agent.last_call = None, None, None
        self.move(agent, AgentEvent.SIGN_OUT, reason=reason)
        agent.leg_id, agent.leg_parked = "", False
        if leg_id:
            self._by_leg.pop(leg_id, None)
            self._hang_ups.want(node, leg_id)


def agent_of_leg(leg_id: str) -> UUID | None:
    """The agent named in one of our leg ids, or None for a foreign one."""
    parts = leg_id.split("-")
    if len(parts) != 4 or parts[0] != "leg":
        return None
    try:
        return UUID(hex=parts[1])
    except ValueError:
        return None
