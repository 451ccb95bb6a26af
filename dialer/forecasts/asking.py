"""A forecast: the campaign's records and its live state are gathered here, simulated elsewhere."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from math import isfinite
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import structlog

from dialer.domain.campaign import CampaignSettings, DialMode
from dialer.domain.errors import Conflict, Unavailable
from dialer.domain.lead import LeadState
from dialer.domain.work import OPEN_LEADS, PastAttempt
from dialer.engine.budgets import give_up_after
from dialer.engine.observing import Event
from dialer.engine.pacing_view import MODES
from dialer.engine.past import events_of
from dialer.live.gateway import CommandGateway
from dialer.store import admin, past
from dialer.store.database import Database
from dialer.store.settings_codec import load_settings
from telephony.clock import Clock

log = structlog.get_logger(__name__)

_RUNS = 10
_ATTEMPTS = 1000  # records a forecast is fitted to
_SINCE = timedelta(days=7)
_SLICE = 50  # records turned into events in one go
_LONGEST = 30.0  # s a simulation may take
_ROOT = Path(__file__).resolve().parents[2]
_AHEAD = frozenset({DialMode.PROGRESSIVE, DialMode.RATIO, DialMode.PREDICTIVE})
_HELD = frozenset({LeadState.DIALING})


class Forecasts:
    """One at a time for each process: a second one waits."""

    def __init__(self, database: Database, *, gateway: CommandGateway, clock: Clock) -> None:
        self._db, self._gateway, self._clock = database, gateway, clock
        self._turn = asyncio.Semaphore(1)

    async def forecast(
        self, client_id: UUID, campaign_id: UUID, *, changes: Mapping[str, Any], minutes: float
    ) -> dict[str, Any]:
        """The next minutes under the present settings and under changed ones. Raises NotFound,
        Conflict for a campaign that nobody works for or whose agents choose whom to call,
        Unavailable without an engine."""
        now = self._clock.now()
        async with self._db.begin() as connection:
            row = await admin.campaign(connection, client_id, campaign_id)
            attempts = await past.recent(
                connection, campaign_id, since=now - _SINCE, until=now, limit=_ATTEMPTS
            )
            states = (await admin.campaign_figures(connection, client_id, campaign_id))["leads"]
        settings = load_settings(row["settings"])
        changed = replace(settings, **changes)
        if not {settings.mode, changed.mode} <= _AHEAD:
            raise Conflict("nothing can be forecast where agents start the calls")
        start = await self._gateway.call(
            row["pool_id"], "pool.outlook", {"campaign_id": str(campaign_id)}
        )
        if not start["free"] + len(start["talking"]) + len(start["wrapping"]):
            raise Conflict("no agent of this campaign is at work")
        job = {
            "past": await _events(attempts, settings),
            "ring_timeout": settings.ring_timeout,
            "connect_window": settings.connect_window,
            "give_up_after": _finite(give_up_after(settings)),
            "leads": sum(states.get(s.value, 0) for s in OPEN_LEADS - _HELD),
            "start": dict(start),
            "settings": [_setting(settings), _setting(changed)],
            "seconds": minutes * 60.0,
            "runs": _RUNS,
        }
        async with self._turn:
            found = await simulate(job)
        return {
            "minutes": minutes,
            "runs": _RUNS,
            "attempts": len(attempts),
            "parameters": found["parameters"],
            "current": found["futures"][0],
            "changed": found["futures"][1],
            "difference": found["differences"][0],
        }


async def simulate(job: Mapping[str, Any]) -> dict[str, Any]:
    """Carried out by a process of its own; raises Unavailable when that fails."""
    path = os.pathsep.join(p for p in (str(_ROOT), os.environ.get("PYTHONPATH", "")) if p)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "dialer.forecasts.worker",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**_quiet(os.environ), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        async with asyncio.timeout(_LONGEST):
            out, error = await process.communicate(orjson.dumps(job))
    except TimeoutError:
        raise Unavailable(f"the simulation took longer than {_LONGEST:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        log.error("simulation failed", action="forecast_failed", error=error.decode()[-2000:])
        raise Unavailable("the simulation failed")
    found: dict[str, Any] = orjson.loads(out)
    return found


def _quiet(environment: Mapping[str, str]) -> dict[str, str]:
    """Without our settings: a simulation needs no secret."""
    return {k: v for k, v in environment.items() if not k.startswith("DIALER_")}


async def _events(
    attempts: Sequence[PastAttempt], settings: CampaignSettings
) -> dict[str, Sequence[float]]:
    """Columns of what was seen; with pauses, because calls are routed on this loop."""
    events: list[Event] = []
    for first in range(0, len(attempts), _SLICE):
        part = attempts[first : first + _SLICE]
        events += events_of(part, settings, slot=lambda node: 0)
        await asyncio.sleep(0)
    kind, _, seconds, signal, became, *_ = zip(*events, strict=True) if events else ((),) * 5
    return {"kind": kind, "seconds": seconds, "signal": signal, "became": became}


def _setting(settings: CampaignSettings) -> dict[str, Any]:
    return {
        "mode": int(MODES[settings.mode]),
        "target_abandon": settings.target_abandon,
        "dial_ratio": settings.dial_ratio,
        "ratio_cap": settings.ratio_cap,
    }


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
