"""`dialer simulate`: tables and JSON from the simulator, and from an API's answers."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from api.cli import simulation as command
from pacing.seen import Kind

pytestmark = pytest.mark.unit

ID = "0198c0de-0000-7000-8000-000000000002"


def call(second: int, outcome: str, **times: float) -> dict[str, Any]:
    def at(s: float) -> str:
        return f"2026-03-02T15:{int((second + s) // 60):02}:{(second + s) % 60:06.3f}+00:00"

    named = {name: at(s) for name, s in times.items()}
    return {
        "outcome": outcome, "mode": "predictive", "intended_at": at(0), "answered_at": None,
        "connected_at": None, "ended_at": at(25), "agent_id": "a" if times else None, **named,
    }  # fmt: skip


CALLS = [
    call(0, "no_answer"),
    call(1, "ended_by_customer", answered_at=8, connected_at=8.5, ended_at=40),
    call(2, "busy", ended_at=4),
    call(3, "cancelled", ended_at=15),
    call(4, "abandoned", answered_at=9, ended_at=12),
    call(5, "machine", answered_at=6, ended_at=8),
]


def test_the_apis_calls_are_replayed_as_what_they_were() -> None:
    found = command.recorded_of(CALLS, 25.0)
    assert [Kind(k) for k in found.kind] == [
        Kind.RANG_OUT, Kind.ANSWERED, Kind.FAILED, Kind.CANCELLED, Kind.ANSWERED, Kind.FAILED,
    ]  # fmt: skip
    assert found.seconds.tolist() == [25.0, 8.0, 4.0, 15.0, 9.0, 8.0]
    assert found.talk[1] == pytest.approx(31.5)
    assert [bool(t == t) for t in found.talk] == [False, True, False, False, False, False]


def test_a_centre_is_described_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    command.simulate(agents=4, minutes=5.0, runs=2, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"progressive", "changed", "difference"}
    assert found["progressive"]["abandoned"]["mean"] == 0
    command.simulate(agents=4, minutes=5.0, runs=2, mode="progressive")
    assert "occupancy" in capsys.readouterr().out


def test_what_makes_no_sense_ends_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ({"talk": -1.0}, {"agents": -3}, {"replay": True}):
        with pytest.raises(SystemExit) as end:
            command.simulate(**wrong)  # type: ignore[arg-type]
        assert end.value.code == 2
    assert "cannot be simulated" in capsys.readouterr().err


def test_a_campaigns_calls_are_replayed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {
        "mode": "ratio", "target_abandon": 0.03, "dial_ratio": 2.0, "ring_timeout": 25.0,
        "connect_window": 2.0, "give_up_after": 15.0,
    }  # fmt: skip
    pages = {None: (CALLS[3:][::-1], "more"), "more": (CALLS[:3][::-1], None)}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith(f"/campaigns/{ID}"):
            return httpx.Response(200, json={"settings": settings})
        items, following = pages[request.url.params.get("cursor")]
        return httpx.Response(200, json={"items": items, "next": following})

    monkeypatch.setattr(
        command, "opened",
        lambda: httpx.Client(transport=httpx.MockTransport(answer), base_url="http://api/api/v1"),
    )  # fmt: skip
    from uuid import UUID

    command.simulate(campaign=UUID(ID), replay=True, runs=2, mode="predictive", as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["recorded"]["calls"]["mean"] == found["replayed"]["calls"]["mean"] == 6
    assert found["recorded"]["abandon_rate"]["mean"] == 0.5
