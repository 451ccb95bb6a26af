"""The router: an answered person gets the longest-idle fitting agent, in the moment of the event.

The order inside `person` is the product's promise: reserve the agent, send the Bridge, publish the
screen pop; nothing in between waits. When a bridge fails the agent is free again and the person
gets the next one, as long as the dialplan has not begun its message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from uuid import UUID

import structlog

from dialer.domain.agent import AgentEvent, AgentState
from dialer.domain.call import CallState, CallStep
from dialer.engine.agents import AgentDesk, Post
from dialer.engine.hangups import HangUps
from dialer.engine.state import Agent, Call, Campaign
from dialer.engine.tasks import TaskGroup
from dialer.engine.timing import Timing
from telephony.clock import Clock
from telephony.switch import Begun, Switch, SwitchError, Unanswered

log = structlog.get_logger(__name__)

_MOST_FAILURES = 3  # bridges tried for one person


class Router:
    """Waiting persons on one side, available agents on the other."""

    def __init__(
        self,
        *,
        campaigns: Mapping[UUID, Campaign],
        desk: AgentDesk,
        switch_for: Callable[[str], Switch],
        hang_ups: HangUps,
        post: Post,
        tasks: TaskGroup,
        clock: Clock,
    ) -> None:
        self._campaigns, self._desk, self._switch_for = campaigns, desk, switch_for
        self._post, self._tasks, self._clock = post, tasks, clock
        self._hang_ups = hang_ups
        self.waiting: deque[Call] = deque()
        #: From "a person and an agent are both there" to both in one bridge.
        self.bridging = Timing()
        self._reserved: dict[str, float] = {}  # call -> monotonic second of its reservation

    def person(self, call: Call) -> None:
        """A person answered (or was found to be one): give them an agent now, or let them wait."""
        if call.agent_id is not None:  # preview and manual: the agent is already there
            agent = self._desk.agents.get(call.agent_id)
            if agent is not None and agent.call is call:
                self._join(call, agent, call.answered)
                return
        found = self._desk.longest_idle(call.campaign_id, call.node)
        if found is None:
            if call.state is not CallState.WAITING:
                call.step(CallStep.WAIT)
            self.waiting.append(call)
            return
        # Analysis and an earlier agent's failure are no time of this bridge.
        at_once = call.state is CallState.ANSWERED
        self._reserve(call, found, call.answered if at_once else self._clock.monotonic())

    def agent_ready(self, agent: Agent) -> None:
        """An agent got free: the person who waited longest and fits is theirs."""
        if not agent.available:
            return
        for call in self.waiting:
            if (
                call.waits
                and call.node == agent.leg_node
                and call.campaign_id in agent.view.campaigns
            ):
                self.waiting.remove(call)
                self._reserve(call, agent, self._clock.monotonic())
                return

    def forget(self, call: Call) -> None:
        """The call ended or its message began: it waits no more."""
        self._reserved.pop(call.key, None)
        if call in self.waiting:
            self.waiting.remove(call)

    def connected(self, call: Call) -> None:
        """Note how long the bridge took."""
        since = self._reserved.pop(call.key, None)
        if since is not None:
            self.bridging.add(call.connected - since)

    def give_back(self, call: Call) -> None:
        """The reserved agent is lost: the person waits again, for another one."""
        call.agent_id = None
        if call.state is CallState.CONNECTING:
            call.step(CallStep.GIVE_BACK)
        if call.message_played:
            call.step(CallStep.PLAY)
        elif call.bridge_failures < _MOST_FAILURES:
            self.person(call)

    def hang_up(self, call: Call) -> None:
        self._hang_ups.want(call.node, call.key)

    def stop_ringing(self, agent: Agent) -> None:
        if agent.leg_id:
            self._tasks.spawn(self._ring_tone(agent, on=False), name=f"ring-{agent.id}")

    def start_ringing(self, agent: Agent) -> None:
        self._tasks.spawn(self._ring_tone(agent, on=True), name=f"ring-{agent.id}")

    # -- the hot path -----------------------------------------------------------------------------

    def _reserve(self, call: Call, agent: Agent, since: float) -> None:
        agent.call = call
        call.agent_id = agent.id
        self._desk.move(agent, AgentEvent.RESERVE, campaign_id=call.campaign_id)
        self._join(call, agent, since)

    def _join(self, call: Call, agent: Agent, since: float) -> None:
        call.step(CallStep.TAKE)
        self._reserved[call.key] = since
        try:
            bridge = self._switch_for(call.node).bridge(call.key, agent.leg_id)
        except SwitchError as error:  # told a moment later: what follows expects both to be joined
            bridge = Begun(partial(_failed, error))
        self._tasks.spawn(self._bridge(call, agent, bridge), name=f"bridge-{call.key}")
        self._post(f"agent:{agent.id}", "pop", self.pop(call))

    def pop(self, call: Call) -> dict[str, Any]:
        """The screen pop: who it is, before the voice."""
        campaign = self._campaigns.get(call.campaign_id)
        lead = call.lead
        return {
            "call_id": call.key,
            "campaign": {
                "id": str(call.campaign_id),
                "name": campaign.view.name if campaign else "",
            },
            "customer": {
                "id": str(call.customer_id),
                "name": call.name,
                "number": call.number,
                "attributes": dict(call.attributes),
            },
            "lead": {
                "id": str(call.lead_id),
                "attempts": call.attempts_before,
                "callback_at": (
                    lead.callback_at.isoformat() if lead and lead.callback_at else None
                ),
            },
            "script": campaign.view.script_version if campaign else 0,
            "form": campaign.view.form_version if campaign else 0,
            "dispositions": (
                [{"code": d.code, "label": d.label} for d in campaign.view.dispositions.values()]
                if campaign
                else []
            ),
            "mode": call.mode.value,
            "answered_at": call.answered_at.isoformat() if call.answered_at else None,
        }

    async def _bridge(self, call: Call, agent: Agent, bridge: Begun) -> None:
        try:
            await bridge
        except Unanswered:
            # It may stand or not. A person in an unknown place is better ended than left alone.
            if call.state is CallState.CONNECTING:
                self.hang_up(call)
        except SwitchError as error:
            log.warning("bridge failed", action="bridge_failed", call=call.key, error=str(error))
            call.bridge_failures += 1
            if call.state is not CallState.CONNECTING or agent.call is not call:
                return
            if agent.state is AgentState.DIALING:
                self.stop_ringing(agent)
            self._desk.released(agent)
            self.give_back(call)

    async def _ring_tone(self, agent: Agent, *, on: bool) -> None:
        try:
            await self._switch_for(agent.leg_node).ring_tone(agent.leg_id, on=on)
        except SwitchError as error:
            log.warning("ring tone failed", action="ring_tone_failed", error=str(error))


async def _failed(error: SwitchError) -> None:
    raise error
