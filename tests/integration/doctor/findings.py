"""What the doctor said, by check."""

from __future__ import annotations

from api.cli.doctor.findings import Finding, State


class Findings:
    def __init__(self, found: list[Finding]) -> None:
        self._by_check = {f.check: f for f in found}
        assert len(self._by_check) == len(found), "each check once"

    def __getitem__(self, check: str) -> Finding:
        return self._by_check[check]

    def __contains__(self, check: str) -> bool:
        return check in self._by_check

    def problems(self) -> set[str]:
        return {f.check for f in self._by_check.values() if f.state is State.PROBLEM}

    def repaired(self) -> set[str]:
        return {f.check for f in self._by_check.values() if f.state is State.REPAIRED}
