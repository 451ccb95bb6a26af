"""The README's first steps, as a new user would type them."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest

from tests.integration.ws.office import PASSWORD, open_office

pytestmark = pytest.mark.integration

README = (Path(__file__).resolve().parents[3] / "README.md").read_text()


def typed(section: str, fence: str) -> str:
    part = README.partition(f"## {section}\n")[2]
    found = re.search(rf"^```{fence}\n(.*?)^```", part, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


async def test_the_first_steps_lead_to_a_screen_pop(tmp_path: Path) -> None:
    async with open_office(tmp_path) as office:
        port = office.address.rpartition(":")[2]
        shell = typed("First steps", "").replace("PRINTED BY make run", PASSWORD)
        shell = shell.replace("127.0.0.1:8080", f"127.0.0.1:{port}")
        steps = await asyncio.create_subprocess_exec(
            "bash", "-euo", "pipefail", "-c", shell, stdout=asyncio.subprocess.PIPE
        )
        out = (await asyncio.wait_for(steps.communicate(), 30))[0].decode()
        assert steps.returncode == 0, out
        assert '"accepted":1' in out
        assert '"row":1' in out
        assert '"phone_password":"' in out
        assert '"state":"running"' in out
        body = {"login": "kim", "password": "a good password"}
        token = (await office.ok("POST", "/tokens", body))["token"]
        program = tmp_path / "screen.py"
        program.write_text(typed("First steps", "python").replace(":8080", f":{port}"))
        screen = await asyncio.create_subprocess_exec(
            sys.executable, "-u", str(program), token, stdout=asyncio.subprocess.PIPE
        )
        assert screen.stdout is not None
        async with asyncio.timeout(20):
            while not (line := (await screen.stdout.readline()).decode()).startswith("pop "):
                assert line
        assert "Ada Example" in line
        assert "gold" in line
        screen.kill()
        await screen.communicate()
