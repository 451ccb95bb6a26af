"""The audit of the dependencies says what it knows, and that it does not know."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
HASH = f"    --hash=sha256:{'0' * 64}"


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / "deploy/audit.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_our_lock_files_hold(audit: ModuleType) -> None:
    assert audit.locks() == []


@pytest.mark.parametrize(
    ("lock", "word"),
    [
        ("a==1 \\\nb==2 \\\n" + HASH, "a has no hash"),
        ("a==1", "a has no hash"),
        ("a>=1 \\\n" + HASH, "neither a pin"),
        ("a @ https://192.0.2.1/a.whl \\\n" + HASH, "neither a pin"),
        ("-e .\n", "neither a pin"),
        ("--index-url http://192.0.2.1\n", "neither a pin"),
        ("a==1 \\\n    --hash=md5:0\n", "neither a pin"),
    ],
)
def test_a_lock_file_with_a_hole_is_a_finding(audit: ModuleType, lock: str, word: str) -> None:
    wrong = audit.pins(lock)[1]
    assert any(word in line for line in wrong), wrong
    assert audit.pins("a==1 ; sys_platform == 'x' \\\n" + HASH + "\n# why\n") == ({"a": {"1"}}, [])


def test_who_was_not_asked_has_not_answered(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """pip-audit calls a package that it found nowhere "no known vulnerabilities"."""
    report = {
        "dependencies": [
            {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]},
            {"name": "b", "skip_reason": "not found"},
            {"name": "c", "version": "1", "vulns": []},
        ]
    }
    bad, unknown = audit.judged(report)
    assert bad == ["a 1: CVE-1, fixed in 2"] and unknown == ["b"]
    for answer, code in (
        ((bad, unknown), 1), (([], unknown), 3), (([], None), 3), (([], []), 0),
    ):  # fmt: skip
        monkeypatch.setattr(audit, "ask", lambda lock, answer=answer: answer)
        assert audit.main() == code
    assert "NOT ASKED" in capsys.readouterr().out
