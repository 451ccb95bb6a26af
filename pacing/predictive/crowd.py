"""How many people who land will meet nobody, from sums over whole pools (normal approximation).

Somebody who lands at moment h meets nobody when at least as many others as there are agents have
answered by then or keep an agent busy. Summed over all calls c that may land:

    J = sum over h of  sum over c of w(c, h) * P(others(h) >= agents)

with w(c, h) the chance that c lands in stretch h (Samuelson 1999; Korolik et al.). Taking c out of
the crowd it lands in matters most in small pools: P(others >= n) = P(all >= n) - q(c, h) * P(all =
n - 1) to first order, q(c, h) the chance that c has landed by h.
"""

from __future__ import annotations

import numpy as np

from pacing.predictive.outlook import Outlook
from pacing.predictive.ragged import stretches
from pacing.predictive.tail import tails_near
from pacing.state import Floats, Ints


class Crowd:
    """Sums by row over the calls under way, and what each new call adds."""

    def __init__(self, look: Outlook) -> None:
        self.have = look.answers + look.busy
        self.have[:, 0] += look.sure[:, None]
        self.fresh = look.fresh
        self.agents = look.agents.astype(np.float64)
        by = look.answers[:, 0]
        self.lands, self.own = landing(by, by - look.answers[:, 1])
        one = look.fresh[:, 0]
        self.new_lands, self.new_own = landing(one, one * one)

    def lost(self, rows: Ints, calls: Floats) -> tuple[Floats, Floats, Floats]:
        """J of the calls under way and so many new ones, (rows, k); with them P(all >= agents) and
        P(all = agents - 1), (rows, k, horizons)."""
        sums = self.have[rows][:, None] + calls[:, :, None, None] * self.fresh[rows][:, None]
        full, edge = tails_near(
            sums[:, :, 0], sums[:, :, 1], sums[:, :, 2], self.agents[rows][:, None, None]
        )
        many = calls[:, :, None]
        lands = self.lands[rows][:, None] + many * self.new_lands[rows][:, None]
        own = self.own[rows][:, None] + many * self.new_own[rows][:, None]
        return people_lost(lands, own, full, edge), full, edge

    def worst(self, rows: Ints, full: Floats) -> Floats:
        """Of an answer to one call more: the worst P(all >= agents) from where it lands on."""
        later = np.maximum.accumulate(full[..., ::-1], axis=-1)[..., ::-1]
        lands = self.new_lands[rows]
        worst: Floats = (later * lands[:, None]).sum(2) / np.maximum(lands.sum(1), 1e-9)[:, None]
        return worst


def people_lost(lands: Floats, own: Floats, full: Floats, edge: Floats) -> Floats:
    """J from who lands, what of it is the lander's own chance (see `landing`) and the tails; summed
    over horizons, the last axis."""
    lost: Floats = np.maximum(lands * full - own * edge, 0.0).sum(-1)
    return lost


def landing(by: Floats, squares: Floats) -> tuple[Floats, Floats]:
    """From sums of q and of q * q by horizon: sums of w, and of w times the q of the same call in
    the middle of its stretch."""
    return stretches(by), stretches(squares) / 2
