"""`dialer simulate`: what a way of dialing would bring, without calling anybody."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import datetime
from math import isfinite
from typing import Annotated, Any, Literal
from uuid import UUID

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from api.cli.start import Json
from api.cli.work import asked, opened

_Mode = Literal["progressive", "ratio", "predictive"]
_MOST = 20_000  # recorded calls that are replayed
_SHOWN = {
    "occupancy": ("occupancy", "{:.1%}"),
    "idle": ("an agent waits, s", "{:.1f}"),
    "wait": ("a person waits, s", "{:.2f}"),
    "answers": ("people who answer", "{:.0f}"),
    "abandoned": ("abandoned", "{:.1f}"),
    "abandon_rate": ("abandoned share", "{:.2%}"),
    "calls": ("calls", "{:.0f}"),
    "given_up": ("given up ringing", "{:.0f}"),
    "finish": ("last lead dialed, s", "{:.0f}"),
}


def simulate(
    *,
    campaign: Annotated[UUID | None, Parameter(help="a campaign's id, for its own figures")] = None,
    replay: Annotated[
        bool, Parameter(negative="", help="go through the campaign's recorded calls again")
    ] = False,
    mode: Annotated[_Mode | None, Parameter(help="how to dial; predictive without --campaign")] = (
        None
    ),
    target: Annotated[float | None, Parameter(help="share of answers to be abandoned")] = None,
    ratio: Annotated[float | None, Parameter(help="calls per free agent, in ratio mode")] = None,
    minutes: Annotated[float, Parameter(help="how far to look ahead")] = 30.0,
    agents: Annotated[int | None, Parameter(help="agents; of a replay: those who spoke")] = None,
    answer_share: Annotated[float, Parameter(help="of the calls")] = 0.30,
    rings: Annotated[float, Parameter(help="mean seconds to an answer")] = 12.0,
    talk: Annotated[float, Parameter(help="mean seconds of a conversation")] = 120.0,
    wrap_up: Annotated[float, Parameter(help="mean seconds")] = 15.0,
    give_up_after: Annotated[float, Parameter(help="s of ringing; 0 = never")] = 15.0,
    runs: Annotated[int, Parameter(help="how many futures")] = 12,
    as_json: Json = False,
) -> None:
    """Try a way of dialing in the simulator: nobody is called, and nothing is changed.

    With --campaign: the next minutes of that campaign from its live state, under its present
    settings and under the changed ones. With --replay too: its recorded calls gone through again
    under the changed settings, beside what was recorded. Without: a centre as described, under
    these settings and progressively. Needs the API for campaigns (DIALER_API, DIALER_TOKEN).
    """
    if replay and campaign is None:
        print("--replay needs --campaign", file=sys.stderr)
        raise SystemExit(2)
    changes = {
        name: value
        for name, value in (("mode", mode), ("target_abandon", target), ("dial_ratio", ratio))
        if value is not None
    }
    if campaign is None:
        columns = _centre(
            changes, agents or 20, minutes, answer_share, rings, talk, wrap_up, give_up_after, runs
        )
    elif replay:
        columns = _replayed(campaign, changes, agents, runs)
    else:
        with opened() as http:
            body = {**changes, "minutes": minutes}
            found = asked(http, "POST", f"/campaigns/{campaign}/forecast", json=body)
        columns = {name: found[name] for name in ("current", "changed", "difference")}
    if as_json:
        print(json.dumps(columns))
        return
    _show(columns)


def _centre(
    changes: Mapping[str, Any],
    agents: int,
    minutes: float,
    answer_share: float,
    rings: float,
    talk: float,
    wrap_up: float,
    give_up_after: float,
    runs: int,
) -> dict[str, Any]:
    from dialer.forecasts.worker import plain
    from pacing.simulator.forecast import difference, forecast, future
    from pacing.simulator.scenario import Campaign, Spread
    from pacing.simulator.start import Start

    try:
        if agents < 1 or runs < 1 or not 0 <= answer_share < 1 or not 0 < minutes <= 1440:
            raise ValueError("expected agents, runs, minutes up to a day and a share below 1")
        campaign = Campaign(
            p=answer_share,
            ring=Spread(rings, 0.5),
            talk=talk,
            wrap=Spread(wrap_up, 0.5),
            cancel_after=give_up_after or float("inf"),
        )
        settings = [_setting({"mode": "progressive"}), _setting(changes)]
        start = Start(free=agents, windows=((0.0, 0.0, 0.5),))
        found = forecast(campaign, start, settings, seconds=minutes * 60.0, runs=runs, tick=1.0)
    except ValueError as error:
        print(f"cannot be simulated: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    return {
        "progressive": plain(future(found[0])),
        "changed": plain(future(found[1])),
        "difference": plain(difference(found[0], found[1])),
    }


def _setting(changes: Mapping[str, Any]) -> Any:
    from pacing.simulator.forecast import Setting
    from pacing.state import Mode

    chosen = Setting()
    return Setting(
        mode=Mode[str(changes.get("mode", "predictive")).upper()],
        target_abandon=changes.get("target_abandon", chosen.target_abandon),
        ratio=changes.get("dial_ratio", chosen.ratio),
        ratio_cap=max(changes.get("dial_ratio", 1.0), chosen.ratio_cap),
    )


def _replayed(
    campaign: UUID, changes: Mapping[str, Any], agents: int | None, runs: int
) -> dict[str, Any]:
    from dialer.forecasts.worker import plain
    from pacing.simulator.forecast import future
    from pacing.simulator.replay import replay

    with opened() as http:
        settings = asked(http, "GET", f"/campaigns/{campaign}")["settings"]
        calls = list(reversed(_calls(http, campaign)))
    spoke = {c["agent_id"] for c in calls if c["connected_at"]}
    usual = {k: settings[k] for k in ("mode", "target_abandon", "dial_ratio")}
    if usual["mode"] in ("preview", "manual"):
        usual["mode"] = "progressive"
    try:
        (found,) = replay(
            recorded_of(calls, settings["ring_timeout"]),
            [_setting({**usual, **changes})],
            agents=agents or max(len(spoke), 1),
            timeout=settings["ring_timeout"],
            window=settings["connect_window"],
            cancel_after=settings.get("give_up_after", 0) or float("inf"),
            runs=runs,
        )
    except ValueError as error:
        print(f"cannot be replayed: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    return {"recorded": _as_recorded(calls), "replayed": plain(future(found))}


def _calls(http: Any, campaign: UUID) -> list[dict[str, Any]]:
    """The last ones, newest first; those that left and ended, and that no agent asked for."""
    found: list[dict[str, Any]] = []
    cursor = None
    while len(found) < _MOST:
        query = {
            "campaign_id": str(campaign),
            "limit": 500,
            **({"cursor": cursor} if cursor else {}),
        }
        page = asked(http, "GET", "/calls", params=query)
        found += [
            c
            for c in page["items"]
            if c["outcome"] not in (None, "expired") and c["mode"] not in ("preview", "manual")
        ]
        cursor = page["next"]
        if cursor is None:
            break
    return found[:_MOST]


def recorded_of(calls: list[dict[str, Any]], timeout: float) -> Any:
    """The API's calls, oldest first, as the replay takes them. The dialer's own time until a call
    left, some milliseconds, counts as ringing. A machine ends like a call that failed then."""
    import numpy as np

    from pacing.seen import Kind
    from pacing.simulator.replay import Recorded

    kinds, seconds, talks = [], [], []
    for call in calls:
        begun, ended = _at(call["intended_at"]), _at(call["ended_at"] or call["intended_at"])
        answered, connected = call["answered_at"], call["connected_at"]
        age = (ended - begun).total_seconds()
        talk = float("nan")
        if call["outcome"] == "machine":
            kind = Kind.FAILED
        elif answered:
            kind, age = Kind.ANSWERED, (_at(answered) - begun).total_seconds()
            if connected:
                talk = max((ended - _at(connected)).total_seconds(), 0.1)
        elif call["outcome"] in ("cancelled", "unknown"):
            kind = Kind.CANCELLED
        elif call["outcome"] == "no_answer" and age >= timeout - 1.0:
            kind = Kind.RANG_OUT
        else:
            kind = Kind.FAILED
        kinds.append(int(kind))
        seconds.append(min(max(age, 0.01), timeout))
        talks.append(talk)
    return Recorded(
        kind=np.array(kinds, dtype=np.int64),
        seconds=np.array(seconds),
        talk=np.array(talks),
        wrap=np.full(len(calls), np.nan),
    )


def _as_recorded(calls: list[dict[str, Any]]) -> dict[str, Any]:
    """What the records themselves say; null: they do not."""
    live = sum(bool(c["connected_at"]) or c["outcome"] == "abandoned" for c in calls)
    gone = sum(c["outcome"] == "abandoned" for c in calls)
    given_up = sum(c["outcome"] == "cancelled" for c in calls)
    span = (_at(calls[-1]["intended_at"]) - _at(calls[0]["intended_at"])).total_seconds()
    known = {
        "answers": live, "abandoned": gone, "abandon_rate": gone / live if live else 0.0,
        "calls": len(calls), "given_up": given_up, "finish": span,
    }  # fmt: skip
    return {name: {"mean": known.get(name), "low": None, "high": None} for name in _SHOWN}


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _show(columns: Mapping[str, Any]) -> None:
    table = Table("", *columns, caption="mean, and where nine of ten lie")
    for name, (label, form) in _SHOWN.items():
        table.add_row(label, *(_cell(column.get(name), form) for column in columns.values()))
    Console().print(table)


def _cell(figure: Mapping[str, float | None] | None, form: str) -> str:
    if figure is None or figure["mean"] is None:
        return "-"
    low, high = figure["low"], figure["high"]
    mean = form.format(figure["mean"])
    if low is None or high is None or not (isfinite(low) and isfinite(high)):
        return mean
    return f"{mean}  ({form.format(low)} to {form.format(high)})"
