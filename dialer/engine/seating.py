"""On which Asterisk node an agent's phone is called."""

from __future__ import annotations

from dialer.domain.errors import Unavailable
from dialer.engine.agents import AgentDesk
from dialer.engine.state import Agent
from telephony.nodes import Switchboard


def node_for(agent: Agent, desk: AgentDesk, switchboard: Switchboard) -> str:
    """The agent's own node, else (it is away, or there is none) the one with the fewest legs of
    those that are up: every node knows every phone."""
    nodes = [s.node for s in switchboard.up()] or list(switchboard.names)
    if agent.view.node in nodes:
        return agent.view.node
    if not nodes:
        raise Unavailable("there is no Asterisk node")
    legs = {n: sum(a.leg_node == n for a in desk.signed_in()) for n in nodes}
    return min(nodes, key=lambda n: legs[n])


def node_again(agent: Agent, desk: AgentDesk, switchboard: Switchboard) -> str:
    """For a lost phone: where it was, or elsewhere when that node is away."""
    if agent.leg_node and agent.leg_node not in switchboard.down():
        return agent.leg_node
    return node_for(agent, desk, switchboard)
