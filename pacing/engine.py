"""How many calls to place now, for all rows in one call, whatever their mode.

Progressive places one call per free agent and counts those already under way. Fixed ratio places
`ratio` calls per free agent, at most `ratio_cap`; when more calls were abandoned than the target
allows it falls back to one per agent until the rate recovers. Predictive rows are decided by
`pacing.predictive`; while their budget is out they are progressive. Shared trunks are divided
fairly.
"""

from __future__ import annotations

import numpy as np

from pacing.decision import Binding, Decision, Shared
from pacing.limits import within_trunks
from pacing.numbers import finite
from pacing.predictive.brain import Brain, Plan
from pacing.predictive.joint import Joint
from pacing.seen import Seen
from pacing.state import Flags, Floats, Mode, PacingInput

_LEAST_ANSWERS = 20  # below this many live answers a rate says nothing


class Engine:
    """Decides, and learns between decisions. One for all rows that are paced together; what it
    learnt of a row stays at the row's `slot`. Deterministic: equal inputs, equal decisions."""

    def __init__(self, *, site: bool = False) -> None:
        """`site`: the campaigns are one site's, and a new one starts more carefully
        where the others are answered more often than is assumed."""
        self.brain = Brain(site=site)

    def learn(self, seen: Seen) -> None:
        """Take in what happened without comparing it with anything expected: records of earlier
        calls, oldest first, or what came while nothing was decided."""
        self.brain.remember(seen)

    def decide(self, given: PacingInput, seen: Seen | None = None) -> Decision:
        """Decide for every row. `seen`: what happened since the last decision.

        Never places calls without agents, nor above leads, lines or rate; values that make no
        sense (negative, not finite) count as zero. Raises ValueError for an unknown mode."""
        predictive = given.mode == Mode.PREDICTIVE
        if not predictive.any() and not self.brain.started:
            return pace(given)  # nobody asks for what could be learnt
        return pace(given, self.brain.plan(given, seen if seen is not None else Seen()))


def pace(given: PacingInput, plan: Plan | None = None) -> Decision:
    """One decision without memory; predictive rows need a `plan`, without one they are
    progressive. Raises ValueError for an unknown mode."""
    mode = given.mode
    if ((mode < min(Mode)) | (mode > max(Mode))).any():
        raise ValueError(f"expected modes {[m.name for m in Mode]}, got {mode.tolist()}")
    free = np.maximum(given.agents_free, 0)
    if plan is not None and plan.joint is not None:
        free = plan.joint.one_each(free)
    flight = np.maximum(given.in_flight, 0) + np.maximum(given.analysing, 0)
    flight = flight + np.maximum(given.waiting, 0)
    assisted = (mode == Mode.PREVIEW) | (mode == Mode.MANUAL)
    spent = over_budget(given) & (mode == Mode.RATIO)
    ratio = np.where((mode == Mode.RATIO) & ~spent, _ratio(given), 1.0)
    goal = np.floor(free * ratio + 1e-9).astype(np.int64)
    wanted = np.where(assisted | (free == 0), 0, np.maximum(goal - flight, 0))
    binding = np.full(given.rows, int(Binding.AGENTS), dtype=np.int64)
    binding[spent] = Binding.BUDGET
    binding[free == 0] = Binding.NO_AGENTS
    binding[assisted] = Binding.MODE
    cancel: Flags = np.zeros(len(given.ringing.row), dtype=np.bool_)
    if plan is not None:
        ahead = (mode == Mode.PREDICTIVE) & ~plan.frozen
        wanted = np.where(ahead, np.maximum(plan.calls, wanted), wanted)  # one each is no risk
        binding[(mode == Mode.PREDICTIVE) & plan.frozen] = Binding.BUDGET
        binding[ahead] = np.where(plan.agents[ahead] > 0, Binding.RISK, Binding.NO_AGENTS)
        cancel = plan.cancel & (mode == Mode.PREDICTIVE)[given.ringing.row]
    calls = np.minimum(wanted, np.maximum(given.leads, 0))
    binding[calls < wanted] = Binding.LEADS
    calls, binding = within_trunks(given, calls, binding)
    return Decision(
        calls=calls, cancel=cancel, binding=binding, wanted=wanted, inputs=given,
        forecast=plan.forecast if plan is not None else None,
        shared=_shared(given.rows, plan.joint) if plan is not None else None,
    )  # fmt: skip


def _shared(rows: int, joint: Joint | None) -> Shared | None:
    if joint is None:
        return None
    zero = np.zeros(rows, dtype=np.int64)
    return Shared(
        *(
            joint.onto(zero, values.astype(np.int64))
            for values in (joint.agents, joint.shared, joint.free, joint.others)
        )
    )


def over_budget(given: PacingInput) -> Flags:
    """Rows whose abandon rate is above target, once there are enough answers to tell."""
    live = np.maximum(given.live_answers, 0)
    target = finite(given.target_abandon, 0.0, 1.0, nan=0.0)
    return (live >= _LEAST_ANSWERS) & (np.maximum(given.abandoned, 0) > target * live)


def _ratio(given: PacingInput) -> Floats:
    cap = finite(given.ratio_cap, 1.0, 10.0, nan=1.0)
    return np.minimum(finite(given.ratio, 1.0, 10.0, nan=1.0), cap)
