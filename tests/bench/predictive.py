"""A predictive campaign on the real Asterisk, beside the same campaign in the simulator.

Twenty agents with SIPp phones, a public that answers, is busy or lets it ring, all times drawn from
the distributions of `predictive_report.people`, PostgreSQL below. After a warm-up, occupancy and
abandoned calls are measured until enough people have answered; forecasts that are asked for on the
way are held against what then comes. The simulator plays the same with many seeds.

Environment: ANSWERS people to be met while it counts (1000: a quarter of an hour), WARM_UP s before
(180), SEEDS of the simulator (60), SEED of the people (1). Writes results/predictive.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import orjson

from tests.bench.predictive_report import told
from tests.bench.predictive_report.measured import Figures, Row, recorded
from tests.bench.predictive_report.people import AGENTS, CAMPAIGN, CAP
from tests.bench.predictive_report.played import Played
from tests.bench.predictive_report.simulated import simulate
from tests.bench.report import say
from tests.lab.callcentre import CallCentre
from tests.lab.drawn import drawn_scenario
from tests.lab.public import Sipp
from tests.lab.servers import LabPostgres
from tests.lab.sounds import make_sounds

ANSWERS = int(os.environ.get("ANSWERS") or 1000)
WARM_UP = float(os.environ.get("WARM_UP") or 180.0)
SEEDS = int(os.environ.get("SEEDS") or 60)
SEED = int(os.environ.get("SEED") or 1)
_FOLDER = Path("results/predictive")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def run() -> bool:
    """Print the figures; False when a goal is missed. Ended by a signal, it leaves nothing."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for number in _SIGNALS:
        loop.add_signal_handler(number, task.cancel)
    try:
        real, seconds, tick, good = await _play()
    except asyncio.CancelledError:
        say("ended by a signal")
        return False
    for number in _SIGNALS:  # there is nothing left to clean up: they may end it at once
        loop.remove_signal_handler(number)
    return _simulated(real, seconds, tick) and good


async def _play() -> tuple[Figures, float, float, bool]:
    """The real campaign: its figures, how long it counted, s between two looks of pacing, and
    whether its abandon rate is under the cap."""
    with LabPostgres() as postgres:
        say("starting Asterisk, SIPp, PostgreSQL and the dialer")
        centre = CallCentre(agents=AGENTS, database=postgres.database())
        centre.public = Sipp(
            "public", drawn_scenario(make_sounds()), host=centre.trunk_host,
            port=centre.trunk_port, rtp_port=0,
        )  # fmt: skip
        async with centre:
            played = Played(centre, answers=ANSWERS, warm_up=WARM_UP, seed=SEED)
            await played.play()
            attempts, intervals = await centre.rows("attempt"), await played.intervals()
            wraps = {
                row["attempt_id"]: row["wrap_up_seconds"]
                for row in await centre.rows("disposition")
            }
            truth = centre.public.truth()
    _keep(played, attempts, intervals)
    good = told.real(played, attempts, intervals, wraps=wraps, truth=truth)
    for number, each in enumerate(played.foretold, 1):
        told.beside_forecast(number, each, recorded(attempts, intervals, each.of))
    real = recorded(attempts, intervals, played.counted)
    return real, played.counted.seconds, played.tick, good


def _keep(played: Played, attempts: Sequence[Row], intervals: Sequence[Row]) -> None:
    """The records, for whoever wants to know more."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    kept = {
        "counted": [played.counted.start, played.counted.end],
        "attempts": [{str(name): value for name, value in row.items()} for row in attempts],
        "intervals": [{str(name): value for name, value in row.items()} for row in intervals],
    }
    (_FOLDER / "records.json").write_bytes(orjson.dumps(kept, default=str))


def _simulated(real: Figures, seconds: float, tick: float) -> bool:
    """Beside the simulator with the tick that was set and with the one that was seen, of many
    other people and of the same."""
    seen = max(round(tick, 2), 0.05)
    others, same = range(SEED + 1, SEED + 1 + SEEDS), [SEED]
    good = True
    for name, every, seeds in (
        ("a tick of 1 s", 1.0, others),
        ("the tick that was seen", seen, others),
        ("the tick that was seen and the same people", seen, same),
    ):
        say(f"the simulator with {name}")
        found = simulate(
            CAMPAIGN, agents=AGENTS, cap=CAP, tick=every, warm_up=WARM_UP, seconds=seconds,
            seeds=seeds,
        )  # fmt: skip
        good &= told.beside(name, real, found, asked=every == seen and len(seeds) > 1)
    return good
