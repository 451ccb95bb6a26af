"""A real Prometheus, unpacked by `make setup`: its checker, a server, and what PromQL names."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import yaml

from tests.lab.process import Child, free_port, until

ROOT = Path(__file__).resolve().parents[2]
_BINARIES = ROOT / ".lab/prometheus/usr/bin"
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'')
_BRACES = re.compile(r"\{[^{}]*\}|\[[^\[\]]*\]")
_LABELS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)")
_WORD = re.compile(r"\b[a-zA-Z_:][a-zA-Z0-9_:]*\b(?!\s*\()")
_KEYWORDS = frozenset(
    {"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring", "inf", "nan"}
)


def metrics_in(expression: str) -> set[str]:
    """The metrics that a PromQL expression reads."""
    bare = _STRING.sub("", expression)
    bare = _LABELS.sub("", _BRACES.sub("", bare))
    bare = re.sub(r"\b\d+[smhdwy]\b", "", bare)
    return {word for word in _WORD.findall(bare) if word.lower() not in _KEYWORDS}


def alerts() -> Iterator[Mapping[str, Any]]:
    """The rules that are shipped."""
    for group in yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())["groups"]:
        yield from group["rules"]


def exported(text: str) -> set[str]:
    """The names of samples that an exposition can have, from its types."""
    names: set[str] = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        names.add(name)
        if kind == "histogram":
            names |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"}
    return names


def promtool() -> str:
    """The checker; a machine without it is a failed test, not a skipped one."""
    path = _BINARIES / "promtool"
    if not path.exists():
        raise RuntimeError("promtool is not there: run make setup")
    return str(path)


class LabPrometheus:
    """`async with LabPrometheus(target) as server:`; the shipped configuration and rules, except
    for the target and how often it looks."""

    def __init__(self, target: str) -> None:
        self._target, self.port = target, free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="dialer-prometheus-"))
        self._child: Child | None = None

    async def __aenter__(self) -> LabPrometheus:
        config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["scrape_configs"][0]["static_configs"][0]["targets"] = [self._target]
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        shutil.copy(ROOT / "deploy/prometheus/rules.yml", self._folder)
        self._child = await Child.start(
            "prometheus",
            [
                str(_BINARIES / "prometheus"), f"--config.file={self._folder}/prometheus.yml",
                f"--storage.tsdb.path={self._folder}/data",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            log=self._folder / "log",
        )  # fmt: skip
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=10)
        await until(self._ready, timeout=20, what="Prometheus")
        return self

    async def _ready(self) -> bool:
        try:
            return (await self.http.get("/-/ready")).status_code == 200
        except httpx.HTTPError:
            return False

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query; raises for one that is refused."""
        answer = await self.http.get("/api/v1/query", params={"query": expression})
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    async def firing(self) -> set[str]:
        """Names of the alerts that fire."""
        answer = (await self.http.get("/api/v1/alerts")).json()["data"]["alerts"]
        return {a["labels"]["alertname"] for a in answer if a["state"] == "firing"}

    async def rules(self) -> list[dict[str, Any]]:
        groups = (await self.http.get("/api/v1/rules")).json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.http.aclose()
        if self._child is not None:
            await self._child.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
