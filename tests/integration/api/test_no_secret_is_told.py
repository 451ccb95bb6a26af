"""A dialer with known secrets, at work and in trouble: none of them is in what it prints, in its
command line, in its open pages, in addresses or in files that others may read."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import stat
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.lab.process import Child, free_port, until
from tests.unit.telephony.scripted_ami import ScriptedAmi

pytestmark = pytest.mark.integration

_SECRETS = {
    "signing": "signing-Tulip-signing-Tulip-signing-Tulip",
    "ami": "ami-Tulip-6153", "provision": "provision-Tulip-7719", "record": "record-Tulip-8821",
    "redis": "redis-Tulip-9931", "recordings": "ab" * 32, "admin": "admin Tulip password",
    "wrong": "wrong Tulip password", "agent": "agent Tulip password",
}  # fmt: skip


def environment(folder: Path, ami: int) -> dict[str, str]:
    node = {
        "name": "ast1", "port": ami, "secret": _SECRETS["ami"],
        "provision_secret": _SECRETS["provision"], "record_secret": _SECRETS["record"],
        "phones_file": str(folder / "phones.conf"),
    }  # fmt: skip
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("DIALER_")},
        "DIALER_FOLDER": str(folder), "DIALER_SECRET": _SECRETS["signing"],
        "DIALER_NODES": json.dumps([node]), "DIALER_RECORDINGS__KEY": _SECRETS["recordings"],
        "DIALER_REDIS": f"redis://:{_SECRETS['redis']}@127.0.0.1:{free_port()}/0",
        "DIALER_LOG_LEVEL": "DEBUG", "DIALER_DRAIN": "0",
    }  # fmt: skip


async def command(folder: Path, env: dict[str, str], *words: str, typed: str = "") -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "api", *words, env=env,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate(f"{typed}\n".encode())
    with (folder / "commands.log").open("ab") as log:
        log.write(out)
    assert process.returncode == 0, out.decode()


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def at_work(http: httpx.AsyncClient) -> list[str]:
    """What people do all day, right and wrong; returns the tokens and passwords made on the way."""
    made: list[str] = []

    async def ask(method: str, path: str, token: str = "", **kwargs: Any) -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = await http.request(method, f"/api/v1{path}", headers=headers, **kwargs)
        return answer.json() if answer.content else {}

    await ask("POST", "/tokens", json={"login": "admin", "password": _SECRETS["wrong"]})
    await ask(
        "POST", "/tokens", json={"login": _SECRETS["wrong"].replace(" ", "-"), "password": "x"}
    )
    signed_in = await ask("POST", "/tokens", json={"login": "admin", "password": _SECRETS["admin"]})
    token = signed_in["token"]
    made.append(token)
    await ask("GET", "/me", token=token[:-3] + "xxx")
    agent = {"name": "Bo", "endpoint": "bo", "login": "bo", "password": _SECRETS["agent"]}
    made.append((await ask("POST", "/agents", token, json=agent))["phone_password"])
    await ask("POST", "/agents", token, json=agent)  # twice: a conflict
    campaign = await ask("POST", "/campaigns", token, json={"name": "a"})
    await ask("POST", f"/campaigns/{campaign['id']}/leads", token, content=b"{")
    await ask("GET", f"/recordings/{campaign['id']}/sound?signature={token}")
    await ask("DELETE", "/tokens", token)
    return made


@pytest.mark.full
async def test_no_secret_is_told(tmp_path: Path) -> None:
    async with ScriptedAmi(secret=_SECRETS["ami"]) as ami:
        env = environment(tmp_path, ami.port)
        setup = {**env, "DIALER_REDIS": ""}
        await command(tmp_path, setup, "setup",
                      typed=_SECRETS["admin"])  # fmt: skip
        port = free_port()
        log = tmp_path / "serve.log"
        child = await Child.start(
            "dialer", [sys.executable, "-m", "api", "serve"], log=log,
            env={**env, "DIALER_PORT": str(port)},
        )  # fmt: skip
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:
                await until(lambda: not child.alive or listening(port), timeout=150,
                            what="the dialer at work")  # fmt: skip
                assert child.alive, child.tail()
                made = await at_work(http)
                pages = ""
                for page in ("/metrics", "/readyz", "/healthz", "/api/v1/openapi.json"):
                    pages += (await http.get(page)).text
            command_line = Path(f"/proc/{child.process.pid}/cmdline").read_text()
        finally:
            await child.stop()
    told = {
        "output": log.read_text() + (tmp_path / "commands.log").read_text(),
        "command line": command_line, "pages": pages,
    }  # fmt: skip
    assert "sign_in_refused" in told["output"], "it did say something"
    for place, text in told.items():
        for name, secret in {**_SECRETS, **{f"made {n}": s for n, s in enumerate(made)}}.items():
            assert secret not in text, f"{name} is in the {place}"
            assert secret.replace(" ", "-") not in text, f"{name} is in the {place}"
        assert not re.search(r"eyJ[A-Za-z0-9_-]{10,}\.eyJ", text), f"a token is in the {place}"
    readable = [
        file for file in tmp_path.rglob("*")
        if file.is_file() and stat.S_IMODE(file.stat().st_mode) & 0o077
        and any(secret.encode() in file.read_bytes() for secret in [*_SECRETS.values(), *made])
    ]  # fmt: skip
    assert readable == [], "secrets in files that others may read"
