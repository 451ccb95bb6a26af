"""The simulation itself, in a process of its own: an answered person must not wait for it.

One job as JSON on standard input, its result as JSON on standard output.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from math import inf, isfinite
from typing import Any

import numpy as np
import orjson

from pacing.seen import Seen
from pacing.simulator.fit import fit
from pacing.simulator.forecast import Future, Setting, difference, forecast, future
from pacing.simulator.scenario import Campaign
from pacing.simulator.start import Start
from pacing.state import Mode

_NICE = 5
#: s; a large pool makes up for a coarser one by its size, and takes longer.
_TICK, _COARSE, _SMALL = 2.0, 3.0, 40
#: The dialer looks at its pool several times a second. Where people answer fast, a coarse tick
#: would foretell some points of occupancy too few: so many ticks in the mean ring time; least s.
_IN_A_RING, _FINEST = 3.0, 0.5


def carry_out(job: Mapping[str, Any]) -> dict[str, Any]:
    """Simulate a job (see `asking`): the campaign as it was fitted, and each setting's future."""
    past = past_of(job["past"])
    leads = job["leads"]
    campaign = fit(
        past,
        timeout=job["ring_timeout"],
        window=job["connect_window"],
        cancel_after=_or_inf(job["give_up_after"]),
        leads=_or_inf(leads),
    )
    start = job["start"]
    settings = [
        Setting(Mode(s["mode"]), s["target_abandon"], s["dial_ratio"], s["ratio_cap"])
        for s in job["settings"]
    ]
    found = forecast(
        campaign,
        Start(
            free=start["free"],
            talking=tuple(start["talking"]),
            wrapping=tuple(start["wrapping"]),
            ringing=tuple(start["ringing"]),
            live=start["live"],
            abandoned=start["abandoned"],
            windows=tuple((live, gone, cap) for live, gone, cap in start["windows"]),
        ),
        settings,
        past=past,
        seconds=job["seconds"],
        tick=tick_for(campaign, len(start["talking"]) + start["free"]),
        runs=job["runs"],
        lines=_or_inf(start["lines"]),
        calls_per_second=_or_inf(start["calls_per_second"]),
    )
    return {
        "parameters": parameters(campaign),
        "futures": [plain(future(figures)) for figures in found],
        "differences": [plain(difference(found[0], figures)) for figures in found[1:]],
    }


def tick_for(campaign: Campaign, agents: int) -> float:
    """s between two decisions of the simulation."""
    usual = _TICK if agents <= _SMALL else _COARSE
    return min(usual, max(campaign.ring.mean / _IN_A_RING, _FINEST))


def past_of(events: Mapping[str, Any]) -> Seen:
    """Events as they travel, all of one slot."""
    kind = np.array(events["kind"], dtype=np.int64)
    return Seen(
        kind=kind,
        slot=np.zeros(len(kind), dtype=np.int64),
        seconds=np.array(events["seconds"], dtype=np.float64),
        signal=np.array(events["signal"], dtype=np.int64),
        became=np.array(events["became"], dtype=np.int64),
    )


def parameters(campaign: Campaign) -> dict[str, float]:
    """What was simulated, for people: shares and seconds."""
    machines = campaign.machines
    return {
        "answer_share": round(campaign.p_now, 4),
        "fails_at_once": round(campaign.busy, 4),
        "rings": round(campaign.ring.mean, 2),
        "talk": round(campaign.talk_now, 2),
        "wrap_up": round(campaign.wrap.mean, 2),
        "machines": round(machines.share, 4) if machines is not None else 0.0,
    }


def plain(found: Future) -> dict[str, dict[str, float | None]]:
    """As JSON can carry it; null: never."""
    return {
        name: {key: round(v, 4) if isfinite(v) else None for key, v in figure.items()}
        for name, figure in asdict(found).items()
    }


def _or_inf(value: float | None) -> float:
    return inf if value is None else float(value)


def main() -> None:
    """Once: a job in, a result out."""
    os.nice(_NICE)
    sys.stdout.buffer.write(orjson.dumps(carry_out(orjson.loads(sys.stdin.buffer.read()))))


if __name__ == "__main__":
    main()
