"""The command line as people and programs use it: a process, its output, its exit code."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
from pathlib import Path

import pytest

from tests.integration.ws.office import PASSWORD, open_office

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = [
    "serve", "migrate", "import", "report", "user", "doctor", "setup", "openapi", "board",
    "simulate",
]  # fmt: skip


async def dialer(
    folder: Path, *arguments: str, text: str = "", **environment: str
) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("DIALER_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "api", *arguments,
        cwd=ROOT, env={**env, "DIALER_FOLDER": str(folder), "COLUMNS": "120", **environment},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(text.encode()), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, out.decode(), err.decode()


async def test_help_names_every_command_and_its_parameters(tmp_path: Path) -> None:
    code, out, _ = await dialer(tmp_path, "--help")
    assert code == 0
    shown = re.findall(r"^│ ([a-z]+) ", out, re.MULTILINE)
    assert set(shown) == set(COMMANDS)
    _, out, _ = await dialer(tmp_path, "import", "--help")
    assert "--json" in out
    assert "--no-json" not in out
    for word in ("campaign's id", "CSV", "country", "DIALER_TOKEN"):
        assert word in out


async def test_expected_failures_are_one_line_and_an_exit_code(tmp_path: Path) -> None:
    campaign = "01890000-0000-7000-8000-000000000000"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        cases: list[tuple[int, str, list[str], dict[str, str]]] = [
            (2, "port", ["migrate"], {"DIALER_PORT": "x"}),
            (2, "32 characters", ["migrate"], {"DIALER_SECRET": "short"}),
            (2, "hex digits", ["migrate"], {"DIALER_RECORDINGS__KEY": "short"}),
            (2, "postgresql+asyncpg", ["migrate"], {"DIALER_DATABASE": "mysql://root:pw@h/d"}),
            (1, "Connect call failed", ["migrate"],
             {"DIALER_DATABASE": "postgresql+asyncpg://u:pw@127.0.0.1:1/d"}),
            (1, "run `dialer migrate`", ["user", "list"], {}),
            (2, "DIALER_TOKEN", ["report", campaign], {}),
            (1, "does not answer", ["report", campaign],
             {"DIALER_TOKEN": "x", "DIALER_API": "http://127.0.0.1:1"}),
            (1, "in use", ["serve"], {"DIALER_PORT": port}),
        ]  # fmt: skip
        two = asyncio.Semaphore(2)  # processors

        async def run(arguments: list[str], environment: dict[str, str]) -> tuple[int, str, str]:
            async with two:
                return await dialer(tmp_path, *arguments, **environment)

        results = await asyncio.gather(*(run(case[2], case[3]) for case in cases))
        for (expected, word, arguments, _), (code, out, err) in zip(cases, results, strict=True):
            assert (code, out) == (expected, ""), (arguments, err)
            assert word in err, (arguments, err)
            assert "Traceback" not in err
            assert "pw" not in err


async def test_accounts_from_the_command_line(tmp_path: Path) -> None:
    assert (await dialer(tmp_path, "setup", text=f"{PASSWORD}\n"))[0] == 0
    code, _, err = await dialer(tmp_path, "setup", text=f"{PASSWORD}\n")
    assert (code, err.count("\n")) == (1, 1), "a second house"
    add = ("user", "add", "ines", "--role", "quality")
    assert (await dialer(tmp_path, *add, text="short\n"))[0] == 2
    assert (await dialer(tmp_path, *add, text=f"{PASSWORD}\n"))[0] == 0
    assert (await dialer(tmp_path, *add, text=f"{PASSWORD}\n"))[0] == 1
    assert (await dialer(tmp_path, "user", "disable", "ines"))[0] == 0
    assert (await dialer(tmp_path, "user", "disable", "nobody"))[0] == 1
    _, out, _ = await dialer(tmp_path, "user", "list", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert {r["login"]: (r["role"], r["disabled"]) for r in rows} == {
        "admin": ("admin", False), "ines": ("quality", True),
    }  # fmt: skip
    assert PASSWORD not in out


async def test_a_file_is_imported_and_reported(tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    lines = ["number,name,consent,plan", "+12125550101,Ada,yes,gold", "nonsense,B,,", ""]
    file.write_text("\n".join(lines))
    async with open_office(tmp_path) as office:
        key = await office.make_campaign("imported")
        token = office.http.headers["Authorization"].removeprefix("Bearer ")
        api = {"DIALER_API": office.address, "DIALER_TOKEN": token}
        code, out, err = await dialer(tmp_path, "import", key, str(file), "--json", **api)
        assert code == 0, err
        done = json.loads(out)
        assert done["accepted"] == 1
        assert [r["row"] for r in done["rejected"]] == [1]
        assert "leads" in err, "progress goes to standard error"
        code, out, _ = await dialer(tmp_path, "report", key, "--json", **api)
        assert (code, json.loads(out)["leads"]) == (0, {"new": 1})
        code, out, err = await dialer(tmp_path, "import", key, str(tmp_path / "none.csv"), **api)
        assert (code, out) == (2, "")
        assert "No such file" in err
        token_of_agent = {**api, "DIALER_TOKEN": office.token}
        code, _, err = await dialer(tmp_path, "report", key, **token_of_agent)
        assert (code, "Not allowed" in err) == (1, True)
