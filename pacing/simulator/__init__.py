"""A call centre in numbers: what any policy would do with it, over many seeds at once.

from pacing.simulator import Scenario, Progressive, run
print(run(Scenario(agents=20), Progressive(), seeds=range(20)).mean_occupancy())
"""

from pacing.simulator.baselines import PerFreeAgent, Progressive, Ratio
from pacing.simulator.experiment import Policy, run
from pacing.simulator.scenario import (
    Analysis,
    Campaign,
    Cell,
    Curve,
    Machines,
    Retries,
    Scenario,
    Signals,
    Spread,
)
from pacing.simulator.tally import Results

__all__ = [
    "Analysis",
    "Campaign",
    "Cell",
    "Curve",
    "Machines",
    "PerFreeAgent",
    "Policy",
    "Progressive",
    "Ratio",
    "Results",
    "Retries",
    "Scenario",
    "Signals",
    "Spread",
    "run",
]
