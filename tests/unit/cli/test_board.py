"""The terminal board: what it shows of given figures, and what it never lets through."""

from __future__ import annotations

import io
import json
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from api.cli.board.figures import Figures, clean, merged
from api.cli.board.plain import line, summary
from api.cli.board.view import Scene, draw
from api.cli.board.words import bar, gauge, judged, percent, seconds

pytestmark = pytest.mark.unit

NOW = datetime(2026, 3, 2, 12, 0, 30, tzinfo=UTC)


def campaign(**changes: Any) -> dict[str, Any]:
    return {
        "id": "c1", "name": "Spring", "state": "running", "mode": "ratio", "reason": "",
        "outcomes": {"busy": 30, "ended_by_agent": 60, "abandoned": 2}, "attempts": 92,
        "live_answers": 62, "abandoned": 2, "abandon_low": 0.0089, "abandon_high": 0.11,
        "abandon_cap": 0.03, "abandon_hours": 24.0, "calls_per_minute": 40,
        "leads": {"total": 200, "done": 80, "blocked": 5, "dialing": 6, "due": 100, "later": 9},
        "next_due": None, "decision": {"calls": 2, "reason": "2 calls for 1 free agent"},
        "recent": [
            {"call": "k1", "at": "2026-03-02T12:00:20+00:00", "agent": "Agent 7",
             "outcome": "ended_by_agent", "waited": 0.002, "talked": 65.2},
            {"call": "k2", "at": "2026-03-02T12:00:25+00:00", "agent": "",
             "outcome": "abandoned", "waited": 2.0, "talked": 0.0},
        ],
        **changes,
    }  # fmt: skip


def figures(**changes: Any) -> dict[str, Any]:
    return {
        "at": NOW.isoformat(), "pool": "p1", "agents": {"on_call": 6, "ready": 1, "signed_out": 2},
        "longest": {"on_call": 95.0}, "calls": {"ringing": 4, "waiting": 1},
        "waiting": {"persons": 1, "longest": 0.8}, "occupancy": 0.725,
        "campaigns": [campaign()], "calls_per_minute": 40,
        "trunks": [{"name": "t1", "node": "n1", "up": True, "lines": 60, "used": 10,
                    "breaker": "closed", "reason": ""}],
        "nodes": [{"name": "n1", "up": False}], "answer_to_bridge_ms": {"p50": 3.1, "p99": 8.25},
        **changes,
    }  # fmt: skip


def drawn(
    data: Mapping[str, Any] | None, *, width: int = 120, height: int = 50, **scene: Any
) -> str:
    """The board as the bytes that a terminal would get, colours included."""
    out = io.StringIO()
    console = Console(
        file=out, width=width, height=height, force_terminal=True, color_system="truecolor"
    )
    read = Figures.model_validate(data) if data is not None else None
    console.print(draw(Scene(figures=read, now=NOW, **scene), console))
    return out.getvalue()


def words(text: str) -> str:
    """Without colours, spaces made single."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())


def test_everything_that_was_promised_is_on_the_board() -> None:
    text = words(drawn(figures(), people={"k1": "Ada Bauer"}, notes=[Text("API http://here")]))
    for part in (
        "agents 7 signed in", "on call 6", "1:35", "calls 5 under way", "calls a minute 40",
        "72% of the last 5 min", "1 person, 0.8 s", "p50 3.1 ms p99 8.2 ms", "● t1 10/60 lines",
        "Spring ratio running", "85 of 200 done (5 blocked) 6 dialing 100 due 9 later",
        "3.2 % (95 %: 0.9 % to 11 %; cap 3.0 %): 2 of 62", "2 calls for 1 free agent", "last 24 h",
        "ended by agent 60", "busy 30", "12:00:20 Ada Bauer with Agent 7, 1:05 ended by agent",
        "12:00:25 - nobody came abandoned waited 2.0 s", "API http://here", "● live 12:00:30",
    ):  # fmt: skip
        assert part in text, (part, text)


def test_before_the_first_figures_and_with_empty_ones() -> None:
    assert "no figures yet" in words(drawn(None, problem="connecting"))
    empty = words(drawn({}))
    for part in ("agents 0 signed in", "waiting nobody", "to one bridge -", "trunks none"):
        assert part in empty
    bare = words(drawn({"campaigns": [{}]}))
    assert "none loaded" in bare
    assert "nobody answered yet" in bare


def test_what_is_wrong_is_said() -> None:
    assert "● no figures for 9 s" in words(drawn(figures(), age=9.0))
    assert "● no connection" in words(drawn(figures(), age=9.0, problem="no connection"))
    broken = figures(
        trunks=[{"name": "t1", "up": False, "lines": 9, "used": 0, "breaker": "open",
                 "reason": "503 of 9 calls"}]
    )  # fmt: skip
    assert "503 of 9 calls" in words(drawn(broken))
    halted = campaign(state="halted", reason="laboratory_needs_loopback_trunks")
    assert "laboratory_needs_loopback_trunks" in words(drawn(figures(campaigns=[halted])))


def test_a_finished_campaign_says_so_and_why() -> None:
    over = campaign(state="finished", reason="every lead is done", leads={"total": 3, "done": 3})
    text = words(drawn(figures(campaigns=[over])))
    assert "finished" in text
    assert "every lead is done" in text
    assert "2 calls for" not in text


HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\n\x9b31m\u202egnirps\u2066[bold]x[/bold]\ud800\u2028"


def shown(text: str) -> None:
    """No byte that a terminal obeys, but the colours and line ends of our own."""
    left = re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\n", "")
    bad = {c for c in left if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert not bad, bad


def test_control_characters_never_reach_the_terminal() -> None:
    data = figures(
        agents={HOSTILE: 1}, calls={HOSTILE: 2}, longest={HOSTILE: 3.0},
        campaigns=[
            campaign(
                name=HOSTILE, state=HOSTILE, mode=HOSTILE, outcomes={HOSTILE: 4},
                decision={"calls": 1, "reason": HOSTILE},
                recent=[{"call": "k1", "at": NOW.isoformat(), "agent": HOSTILE,
                         "outcome": HOSTILE}],
            ),
            campaign(name="b", reason=HOSTILE),
        ],
        trunks=[{"name": HOSTILE, "up": True, "breaker": HOSTILE, "reason": HOSTILE}],
        nodes=[{"name": HOSTILE, "up": True}],
    )  # fmt: skip
    text = drawn(data, people={"k1": HOSTILE}, title=HOSTILE, problem=HOSTILE)
    shown(text)
    assert "[bold]x[/bold]" in words(text)  # markup is text
    many = drawn({**data, "campaigns": data["campaigns"] * 3})
    shown(many)
    read = Figures.model_validate(data)
    shown(line(read))
    shown("".join(summary(read.campaigns[0], read)))


def test_long_and_wide_names_do_not_break_the_frame() -> None:
    wide = campaign(name="界" * 500, reason="e\u0301" * 500)
    for width in (60, 80, 120, 200):
        text = drawn(figures(campaigns=[wide]), width=width)
        console = Console(width=width)
        for row in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines():
            assert console.measure(Text(row)).maximum <= width


@pytest.mark.parametrize("height", [10, 16, 24, 30, 60])
def test_what_matters_least_is_left_out_on_a_small_screen(height: int) -> None:
    text = drawn(figures(), width=100, height=height, notes=[Text("API here")])
    assert "agents" in text
    assert "abandoned" in text
    rows = len(text.splitlines())
    assert rows <= max(height, 20)
    assert ("answered last" in text) is (height >= 24)


def test_many_campaigns_become_a_table() -> None:
    many = [campaign(id=str(n), name=f"C{n:02}") for n in range(30)]
    many[17] = campaign(id="x", name="last one", state="finished")
    text = words(drawn(figures(campaigns=many), height=40))
    assert "30 campaigns" in text
    assert "C00 running 85/200 40 3.2 % (0.9 %-11 %) / 3.0 %" in text
    assert "and 4 more" in text
    assert "last one" not in text  # what runs comes first


ODD: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.sampled_from(sorted(figures())), ODD),
    st.dictionaries(st.sampled_from(sorted(campaign())), ODD),
)
def test_no_value_at_all_breaks_the_board(outer: dict[str, Any], inner: dict[str, Any]) -> None:
    data = {**figures(campaigns=[campaign(**inner), inner]), **outer}
    shown(drawn(data, width=90, height=30))
    read = merged([Figures.model_validate(data), Figures.model_validate(figures(pool="p2"))])
    assert read is not None
    shown(line(read))
    for one in read.campaigns:
        shown("".join(summary(one, read)))


def test_two_pools_are_one_board() -> None:
    first = Figures.model_validate(figures())
    second = Figures.model_validate(
        figures(
            pool="p2", agents={"ready": 3}, occupancy=0.1, calls={"ringing": 1},
            answer_to_bridge_ms={"p50": None, "p99": 20.0}, campaigns=[campaign(name="B")],
        )
    )  # fmt: skip
    both = merged([first, second])
    assert both is not None
    assert both.agents == {"on_call": 6, "ready": 4, "signed_out": 2}
    assert both.calls == {"ringing": 5, "waiting": 1}
    assert [c.name for c in both.campaigns] == ["Spring", "B"]
    assert (both.waiting.persons, both.calls_per_minute, len(both.trunks)) == (2, 80, 1)
    assert (both.answer_to_bridge_ms.p50, both.answer_to_bridge_ms.p99) == (3.1, 20.0)
    assert both.occupancy == pytest.approx((9 * 0.725 + 3 * 0.1) / 12)
    assert merged([]) is None
    assert merged([first]) is first


def test_the_plain_line_and_the_summary_can_be_read_by_themselves() -> None:
    read = Figures.model_validate(figures())
    assert line(read) == (
        "Spring running, 85 of 200 leads done, abandoned 3.2 % (95 %: 0.9 % to 11 %; cap 3.0 %): "
        "2 of 62 | 40 calls a minute, 5 now | agents: 6 on call, 1 ready"
    )
    assert [words(part) for part in summary(read.campaigns[0], read)] == [
        "Spring: running", "leads 85 of 200 done", "calls 92, last 24 h:", "ended by agent 60",
        "busy 30", "abandoned 2",
        "abandoned 3.2 % (95 %: 0.9 % to 11 %; cap 3.0 %): 2 of 62",
        "to bridge p50 3.1 ms, p99 8.2 ms",
    ]  # fmt: skip


def test_the_abandon_rate_is_judged_by_its_interval() -> None:
    def judge(**changes: Any) -> str:
        return judged(Figures.model_validate({"campaigns": [campaign(**changes)]}).campaigns[0])

    assert judge(live_answers=0, abandoned=0) == "grey62"
    assert judge() == "bold red"  # 2 of 62 is more than 3 %
    assert judge(abandoned=1) == "yellow"  # below, but not surely
    assert judge(abandoned=1, live_answers=900, abandon_high=0.006) == "green"


def test_the_gauge_puts_rate_interval_and_cap_on_one_scale() -> None:
    read = Figures.model_validate(figures()).campaigns[0]
    scale = gauge(read, 31)
    assert len(scale) == 31
    assert scale.index("┃") == 15  # the cap in the middle
    assert scale.index("●") == int(2 / 62 / 0.06 * 30)
    assert scale[0] == "·"
    assert scale[-1] == "━"  # the interval goes beyond
    assert gauge(read, 5) == ""


def test_small_words() -> None:
    assert [seconds(s) for s in (-3, 0, 59.9, 60, 3599, 7325)] == [
        "0 s", "0 s", "59 s", "1:00", "59:59", "2:02:05"
    ]  # fmt: skip
    assert [percent(s) for s in (0.0, 0.0123, 0.0999, 0.5)] == ["0.0 %", "1.2 %", "10.0 %", "50 %"]
    assert [bar(v, 8, 4) for v in (0, 1, 4, 8, 99)] == ["", "▌", "██", "████", "████"]
    assert bar(0.001, 1000, 4) == "▏"
    assert clean("Zoë\tO'Neil\x00") == "Zoë\ufffdO'Neil\ufffd"
    assert len(clean("x" * 10_000)) == 200


def test_figures_survive_json_as_the_feed_reads_it() -> None:
    assert Figures.model_validate(json.loads(json.dumps(figures()))).campaigns[0].done == (85, 200)
