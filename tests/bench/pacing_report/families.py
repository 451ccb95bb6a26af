"""Who is compared: families of policies, each with the settings an administrator could choose from.

A family is judged by its best setting that keeps the law: at most 5 % of the runs above the cap.
That choice is made in hindsight, which no dialer can do; it flatters the baselines, never the
engine, which has one setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from pacing.engine import Engine
from pacing.simulator import PerFreeAgent, Policy, Progressive, Ratio, Scenario
from pacing.simulator.clairvoyant import Clairvoyant
from pacing.simulator.marginal import Marginal
from pacing.simulator.shared import Lent
from pacing.simulator.vicidial import Vicidial

Make = Callable[[Scenario], Policy]


@dataclass(frozen=True, slots=True)
class Family:
    """`settings` by label; `fits`: whether the family can run a scenario at all."""

    name: str
    settings: Mapping[str, Make]
    fits: Callable[[Scenario], bool] = lambda scenario: True
    bound: bool = False  # not a dialer: what could be reached


def _marginal(target: float, theta: float, scenario: Scenario) -> Policy:
    return Marginal(campaign=scenario.campaigns[0], target=target, theta=theta)


def _plain(scenario: Scenario) -> bool:
    campaign = scenario.campaigns[0]
    return len(scenario.campaigns) == 1 and not (campaign.machines or campaign.retries)


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("progressive", {"1:1": lambda _: Progressive()}),
        Family(
            "fixed ratio",
            {f"{r}": partial(lambda r, _: Ratio(r), r) for r in (1.25, 1.5, 1.75, 2.0, 2.5, 3.0)},
        ),
        Family("2 per free agent", {"2": lambda _: PerFreeAgent(2.0)}),
        Family("VICIdial default", {"max level 3": lambda _: Vicidial(3.0)}),
        Family(
            "VICIdial in hindsight",
            {
                f"max level {x}": partial(lambda x, _: Vicidial(x), x)
                for x in (1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)
            },
        ),
        Family(
            "marginal",
            {
                f"target {100 * target:g} %, theta {100 * theta:g} %": partial(
                    _marginal, target, theta
                )
                for target, theta in (
                    (0.03, 0.05),
                    (0.03, 0.03),
                    (0.025, 0.025),
                    (0.02, 0.02),
                    (0.014, 0.014),
                    (0.008, 0.008),
                )
            },
        ),
        Family("engine", {"target 3 %": lambda _: Engine()}),
        Family(
            "engine, agents lent",
            {"target 3 %": lambda _: Lent(Engine())},
            fits=lambda scenario: len(scenario.campaigns) > 1,
        ),
        Family("clairvoyant", {"": lambda _: Clairvoyant()}, fits=_plain, bound=True),
    )
}
