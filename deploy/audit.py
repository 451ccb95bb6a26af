"""The dependencies' audit: `make audit`. Two questions, and their answers kept apart.

1. Are the lock files whole? Every package pinned to one version with its hashes, nothing from
   anywhere but a registry, everything that pyproject.toml asks for, and the installed packages are
   the locked ones. Needs no network.
2. Does anybody know a vulnerability of a locked version? Asked with pip-audit, which is installed
   for it into .lab/audit. Packages that it could not ask about are no answer.

Exit codes: 0 all good; 1 a finding; 3 the second question could not be asked (no network, or a
registry without vulnerability data): then nothing is known, and it says so.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.lock", "requirements-dev.lock")
FINDING, NOT_ASKED = 1, 3
_TOOL = "pip-audit==2.10.1"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(\[[a-z0-9,]+\])?==([^\s;\\]+)\s*(;[^\\]*)?\\?$")
_HASH = re.compile(r"^\s+--hash=sha256:[0-9a-f]{64}( \\)?$")


def name_of(text: str) -> str:
    """A project's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", text).lower()


def pins(text: str) -> tuple[dict[str, set[str]], list[str]]:
    """(name: versions) of a lock file, and what is wrong with it. One name has several versions
    where they depend on the Python."""
    found: dict[str, set[str]] = {}
    wrong: list[str] = []
    open_pin = ""  # a pin that has no hash yet
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if _HASH.match(line):
            open_pin = ""
        elif match := _PIN.match(line):
            if open_pin:
                wrong.append(f"{open_pin} has no hash")
            open_pin = name_of(match[1])
            found.setdefault(open_pin, set()).add(match[3])
        else:
            wrong.append(f"line {number} is neither a pin nor a hash: {line.strip()[:60]}")
    if open_pin:
        wrong.append(f"{open_pin} has no hash")
    return found, wrong


def asked_for(pyproject: dict[str, Any], *, dev: bool) -> Iterator[str]:
    """Names that pyproject.toml wants."""
    wanted = list(pyproject["project"]["dependencies"])
    if dev:
        wanted += pyproject["dependency-groups"]["dev"]
    for text in wanted:
        match = re.match(r"[A-Za-z0-9._-]+", text)
        assert match is not None
        yield name_of(match[0])


def locks() -> list[str]:
    """What is wrong with the lock files and what is installed by them."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wrong: list[str] = []
    for file in LOCKS:
        found, mistakes = pins((ROOT / file).read_text())
        wrong += [f"{file}: {mistake}" for mistake in mistakes]
        missing = set(asked_for(pyproject, dev="dev" in file)) - found.keys()
        wrong += [f"{file}: {name} is not locked" for name in sorted(missing)]
        if "dev" not in file:
            continue
        for package in importlib.metadata.distributions():
            name = name_of(package.metadata["Name"])
            if name in found and package.version not in found[name]:
                locked = ", ".join(sorted(found[name]))
                wrong.append(f"{name} {package.version} is installed, {locked} is locked")
    return wrong


def judged(report: dict[str, Any]) -> tuple[list[str], list[str]]:
    """(vulnerabilities, packages nobody was asked about) of pip-audit's JSON."""
    bad, unknown = [], []
    for package in report["dependencies"]:
        if "skip_reason" in package:
            unknown.append(package["name"])
        for vulnerability in package.get("vulns", []):
            fixed = ", ".join(vulnerability["fix_versions"]) or "nothing yet"
            what = f"{package['name']} {package['version']}: {vulnerability['id']}"
            bad.append(f"{what}, fixed in {fixed}")
    return bad, unknown


def ask(lock: Path) -> tuple[list[str], list[str] | None]:
    """Like `judged`; None for "nobody could be asked at all"."""
    folder = ROOT / ".lab/audit"
    tool = folder / "bin/pip-audit"
    try:
        if not tool.exists():
            subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=120)
            subprocess.run([folder / "bin/pip", "install", "-q", _TOOL], check=True, timeout=240)
        done = subprocess.run(
            [tool, "-r", lock, "--no-deps", "--disable-pip", "--progress-spinner", "off",
             "--format", "json"],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        return judged(json.loads(done.stdout))
    except (OSError, subprocess.SubprocessError, ValueError):
        return [], None


def main() -> int:
    if wrong := locks():
        print("audit: the lock files do not hold:", *wrong, sep="\n  ")
        return FINDING
    print("audit: every dependency is pinned with its hashes; what is installed is what is locked")
    bad, unknown = ask(ROOT / LOCKS[1])
    if bad:
        print("audit: known vulnerabilities:", *bad, sep="\n  ")
        return FINDING
    if unknown is None or unknown:
        whom = (
            "anything"
            if unknown is None
            else f"{len(unknown)} packages ({', '.join(unknown[:5])}...)"
        )
        print(f"audit: NOT ASKED: no vulnerability data about {whom} can be reached from here")
        return NOT_ASKED
    print("audit: no known vulnerability in any locked version")
    return 0


if __name__ == "__main__":
    sys.exit(main())
