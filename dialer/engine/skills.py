"""Agents by the rows they may serve, as pacing is told of campaigns that share agents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import numpy as np

from dialer.engine.state import Agent
from pacing.state import Sharing

_NOBODY = -1


class Skills:
    """`rows`: (campaign, node) of each row."""

    def __init__(self, rows: Sequence[tuple[UUID, str]]) -> None:
        self._rows = rows
        self._known: dict[tuple[str, frozenset[UUID]], tuple[int, ...]] = {}

    def of(self, agent: Agent) -> tuple[int, ...]:
        """The rows the agent serves where their phone is, in order."""
        key = agent.leg_node, agent.view.campaigns
        serves = self._known.get(key)
        if serves is None:
            serves = self._known[key] = tuple(
                i
                for i, (campaign, node) in enumerate(self._rows)
                if node == agent.leg_node and campaign in agent.view.campaigns
            )
        return serves

    def sharing(
        self,
        free: Sequence[tuple[int, ...]],
        talking: Sequence[tuple[int, ...]],
        wrapping: Sequence[tuple[int, ...]],
    ) -> Sharing:
        """What each agent serves who is free, talks, wraps up; empty when nobody serves two rows,
        and then nothing is shared."""
        kinds = {*free, *talking, *wrapping} - {()}
        if all(len(serves) < 2 for serves in kinds):
            return Sharing()
        # In order, so that the same agents make the same groups whoever of them is free.
        number = {serves: i for i, serves in enumerate(sorted(kinds))}
        pairs = [(row, group) for serves, group in number.items() for row in serves]
        count = Counter(free)
        return Sharing(
            row=np.array([row for row, _ in pairs], dtype=np.int64),
            group=np.array([group for _, group in pairs], dtype=np.int64),
            free=np.array([count[serves] for serves in number], dtype=np.int64),
            talking=np.array([number.get(s, _NOBODY) for s in talking], dtype=np.int64),
            wrapping=np.array([number.get(s, _NOBODY) for s in wrapping], dtype=np.int64),
        )
