"""Settings with anything in them: taken, or refused in words that hold none of the secrets."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from api.cli.start import load_settings
from api.settings import Settings
from tests.lab.fuzz import SECONDS, mutated, rounds, text

pytestmark = pytest.mark.unit

SECRET = "Hunter2-tulip-secret"


def environment(rng: random.Random) -> dict[str, str]:
    name, port = rng.choice(("a", "A!", text(rng))), rng.choice((1, -1))
    nodes = [{"name": name, "secret": SECRET, "port": port}]
    raw = json.dumps(nodes)
    if rng.random() < 0.5:
        raw = mutated(rng, raw.encode())[:5000].decode("utf-8", "replace").replace("\0", "")
    found = {
        "DIALER_NODES": raw, "DIALER_SECRET": SECRET[: rng.randrange(20)],
        "DIALER_DATABASE": f"postgres://dialer:{SECRET}@h/d", "DIALER_REDIS": f"redis://:{SECRET}@h",
        "DIALER_RECORDINGS__KEY": SECRET, "DIALER_PORT": text(rng).replace("\0", ""),
        "DIALER_SURPRISE": SECRET,
    }  # fmt: skip
    clean = {k: v.encode("utf-8", "replace").decode() for k, v in found.items()}
    return {k: v for k, v in clean.items() if rng.random() < 0.6}


@pytest.mark.parametrize("seconds", SECONDS)
def test_settings(
    seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    refused = 0
    for rng in rounds("settings", seconds):
        with monkeypatch.context() as changed:
            for name, content in environment(rng).items():
                changed.setenv(name, content)
            if rng.random() < 0.5:
                file = tmp_path / "dialer.toml"
                node = f'[[nodes]]\nname = "a"\nsecret = "{SECRET}"\n'
                toml = f'secret = "{SECRET}"\nport = 1\n{node}'
                file.write_bytes(mutated(rng, toml.encode()))
                changed.setenv("DIALER_CONFIG", str(file))
            try:
                settings: Any = load_settings()
            except SystemExit as ended:
                assert ended.code == 2
                refused += 1
                printed = "".join(capsys.readouterr())
                assert "the settings do not fit" in printed and SECRET not in printed
            else:
                assert isinstance(settings, Settings) and SECRET not in repr(settings)
    assert refused > 10
