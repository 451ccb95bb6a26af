"""Centres whose campaigns share agents, and the rules they are compared under.

Lent: a policy that knows nothing of sharing, for which each free agent counts for one campaign.
Merged: one campaign in place of all, which is what full sharing could reach at best.
"""

from __future__ import annotations

from dataclasses import replace

from pacing.decision import Decision
from pacing.seen import Seen
from pacing.simulator.experiment import Policy
from pacing.simulator.scenario import Campaign, Scenario
from pacing.state import PacingInput, Sharing

_HOUR = 3600.0
_UNLIKE = (Campaign(p=0.4, talk=90.0), Campaign(p=0.15, talk=200.0))

SHARED: dict[str, Scenario] = {
    s.name: s
    for s in (
        Scenario(
            name="shared by two",
            campaigns=(Campaign(), Campaign()),
            notes="equal campaigns, all 20 agents serve both",
        ),
        Scenario(
            name="shared, unlike",
            campaigns=_UNLIKE,
            notes="answer shares 0.40 and 0.15, talks of 90 and 200 s; all 20 agents serve both",
        ),
        Scenario(
            name="partly shared",
            agents=30,
            campaigns=(Campaign(), Campaign()),
            skills=((1 / 3, (0,)), (1 / 3, (1,)), (1 / 3, (0, 1))),
            notes="10 agents only the one, 10 only the other, 10 both",
        ),
        Scenario(
            name="three in a chain",
            agents=30,
            campaigns=(Campaign(), Campaign(p=0.15), Campaign(talk=60.0)),
            skills=((0.4, (0, 1)), (0.4, (1, 2)), (0.2, (2,))),
            notes="no agent serves all; the middle one is served by most",
        ),
        Scenario(
            name="one list runs out",
            campaigns=(Campaign(leads=2000.0), Campaign()),
            notes="all 20 agents serve both; the first has leads for about half of the time",
        ),
    )
}


def merged(scenario: Scenario) -> Scenario:
    """One campaign, the last one, for all the agents."""
    return replace(
        scenario,
        name=f"{scenario.name}, merged",
        campaigns=(replace(scenario.campaigns[-1]),),
        skills=(),
    )


class Lent:
    """A policy that is not told who may serve what: free agents are lent to one row each."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def decide(self, given: PacingInput, seen: Seen) -> Decision:
        """As `policy` does without `given.sharing`."""
        return self._policy.decide(replace(given, sharing=Sharing()), seen)
