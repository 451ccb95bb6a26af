"""What alerts and dashboard read is really exported by a dialer that runs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from api.runtime import Runtime
from api.settings import Settings, TrunkSettings
from dialer.store.database import upgrade
from tests.lab.prometheus import ROOT, alerts, exported, metrics_in

pytestmark = pytest.mark.unit

PROMETHEUS = {"up"}  # its own


def read_by_us() -> set[str]:
    board = json.loads((ROOT / "deploy/grafana/dashboards/dialer.json").read_text())
    expressions = [str(rule["expr"]) for rule in alerts()]
    expressions += [t["expr"] for p in board["panels"] for t in p.get("targets", ())]
    return set().union(*(metrics_in(e) for e in expressions)) - PROMETHEUS


async def test_every_metric_that_is_read_is_exported(tmp_path: Path) -> None:
    trunk = TrunkSettings(name="public", node="ast1", host="127.0.0.2")
    settings = Settings(folder=tmp_path, drain=0.1, trunks=(trunk,))
    await asyncio.to_thread(upgrade, settings.database_url)
    runtime = Runtime(settings)
    await runtime.start()
    try:
        transport = httpx.ASGITransport(app=runtime.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://dialer") as client:
            text = (await client.get("/metrics")).text
    finally:
        await runtime.stop()
    wanted = read_by_us()
    assert len(wanted) > 30
    assert wanted <= exported(text), wanted - exported(text)
    ours = {name for name in exported(text) if name.startswith("dialer_")}
    documented = (ROOT / "docs/operations.md").read_text()
    bases = {n for n in ours if not n.endswith(("_bucket", "_sum", "_count"))}
    assert {n for n in bases if n not in documented} == set(), "each is explained"
