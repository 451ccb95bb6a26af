"""A real Prometheus scrapes a dialer at work: every panel has figures, a death fires its alert."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.test_supervision import started
from tests.lab.faults import injected
from tests.lab.inside import InsideCentre
from tests.lab.process import until
from tests.lab.prometheus import ROOT, LabPrometheus

pytestmark = [pytest.mark.e2e, pytest.mark.full]

#: Empty while all is well.
QUIET = {"Readiness checks that fail", "Deaths and standstills"}


def expressions() -> list[tuple[str, str]]:
    """(panel, expression) as Grafana would ask them."""
    board: dict[str, Any] = json.loads((ROOT / "deploy/grafana/dashboards/dialer.json").read_text())
    found = []
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            text = target["expr"].replace("$__rate_interval", "30s").replace("$pool", ".*")
            found.append((panel["title"], text))
    return found


async def test_the_dashboard_shows_a_dialer_at_work_and_a_death_fires_its_alert() -> None:
    async with (
        InsideCentre(agents=8) as centre,
        LabPrometheus(f"{centre.host}:{centre.port}") as server,
    ):
        await started(centre)
        empty: dict[str, str] = {}

        async def all_there() -> bool:
            empty.clear()
            for panel, expression in expressions():
                found = await server.query(expression)
                if panel not in QUIET and not any(v["value"][1] != "NaN" for v in found):
                    empty[panel] = expression
            return not empty

        try:
            await until(all_there, timeout=40, what="figures in every panel")
        except TimeoutError:
            raise AssertionError(f"no figures: {empty}") from None
        rules = await server.rules()
        assert {rule["health"] for rule in rules} == {"ok"}, rules
        assert "DialerTaskDead" not in await server.firing()

        centre.task("recordings").cancel()
        injected("dialer: a task of the process ended")

        async def fires() -> bool:
            return "DialerTaskDead" in await server.firing()

        await until(fires, timeout=20, what="the alert")
