"""The dialer killed between the commit and the delivery: what was committed is told."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.auth import Auth
from dialer.domain.ids import id_source
from dialer.services.setup import first_client
from dialer.store.database import Database
from telephony.clock import SystemClock
from tests.lab.faults import injected
from tests.lab.process import Child, free_port, until
from tests.lab.receiver import LabReceiver

pytestmark = [pytest.mark.integration, pytest.mark.full]
PASSWORD = "correct horse battery"


async def serve(url: str, folder: Path, *, port: int, receiver: LabReceiver) -> Child:
    """A dialer that looks into its outbox at its start, and then not for a minute."""
    settings = {
        "DIALER_DATABASE": url,
        "DIALER_FOLDER": str(folder / "state"),
        "DIALER_PORT": str(port),
        "DIALER_WEBHOOKS__ALLOW_NETWORKS": '["127.0.0.0/8"]',
        "DIALER_WEBHOOKS__HTTP": "true",
        "DIALER_WEBHOOKS__PORTS": f"[{receiver.port}]",
        "DIALER_WEBHOOKS__POLL": "60",
    }
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DIALER_")}
    child = await Child.start(
        "dialer",
        [sys.executable, "-m", "api", "serve"],
        log=folder / "dialer.log",
        cwd=Path(__file__).resolve().parents[3],
        env={**kept, **settings},
    )

    async def alive() -> bool:
        if not child.alive:
            raise RuntimeError(child.tail(40))
        try:
            async with httpx.AsyncClient() as http:
                return (await http.get(f"http://127.0.0.1:{port}/healthz")).is_success
        except httpx.HTTPError:
            return False

    await until(alive, timeout=90, what="the dialer")
    return child


async def test_what_was_committed_is_told_after_a_kill(
    database: Database, tmp_path: Path, receiver: LabReceiver
) -> None:
    clock, port = SystemClock(), free_port()
    auth = Auth(database, key=b"k" * 32, token_seconds=60, clock=clock)
    await first_client(
        database, name="house", login="admin", password=PASSWORD, hash_password=auth.hash,
        clock=clock, new_id=id_source(clock),
    )  # fmt: skip
    child = await serve(database.url, tmp_path, port=port, receiver=receiver)
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}/api/v1", timeout=30
        ) as http:

            async def do(path: str, body: Any = None) -> Any:
                answer = await http.post(path, json=body)
                assert answer.is_success, answer.text
                return answer.json()

            token = (await do("/tokens", {"login": "admin", "password": PASSWORD}))["token"]
            http.headers["Authorization"] = f"Bearer {token}"
            hook = await do("/webhooks", {"url": receiver.url})
            settings = {"rules_profile": "laboratory"}
            made = await do("/campaigns", {"name": "a", "settings": settings})
            await do(f"/campaigns/{made['id']}/start")
            await do(f"/campaigns/{made['id']}/stop")
            await child.stop(number=signal.SIGKILL)
            injected("dialer: kill -9")
        assert not receiver.received()
        child = await serve(database.url, tmp_path, port=port, receiver=receiver)
        await until(lambda: len(receiver.taken()) >= 2, timeout=60, what="both events")
        told = receiver.events(hook["secret"])
        assert [e["data"]["state"] for e in told.values()] == ["running", "finished"]
        assert {e["data"]["campaign_id"] for e in told.values()} == {made["id"]}
    finally:
        await child.stop()
    assert len(receiver.received()) == 2  # it wrote down what had arrived before it ended
