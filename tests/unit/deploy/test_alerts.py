"""Each alert fires when it should, and not before; promtool, Prometheus's own, is the judge."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.prometheus import ROOT, alerts, metrics_in, promtool

pytestmark = pytest.mark.unit

RULES = ROOT / "deploy/prometheus/rules.yml"
ME = {"instance": "d:8080", "job": "dialer"}


def series(name: str, values: str, **labels: str) -> dict[str, str]:
    both = ",".join(f'{key}="{value}"' for key, value in {**ME, **labels}.items())
    return {"series": f"{name}{{{both}}}", "values": values}


def slow(name: str, label: Mapping[str, str], le: str) -> list[dict[str, str]]:
    """A histogram whose calls all end up in the bucket above `le`."""
    return [
        series(f"{name}_bucket", "0+0x80", **label, le=le),
        series(f"{name}_bucket", "0+60x80", **label, le="5"),
        series(f"{name}_bucket", "0+60x80", **label, le="+Inf"),
    ]


def quick(name: str, label: Mapping[str, str], le: str) -> list[dict[str, str]]:
    return [
        series(f"{name}_bucket", "0+60x80", **label, le=le),
        series(f"{name}_bucket", "0+60x80", **label, le="+Inf"),
    ]


POOL, CAMPAIGN = {"pool": "p"}, {"campaign": "c"}
#: alert: what makes it fire, the labels it then has, and what looks like it and must not.
CASES: dict[str, tuple[list[dict[str, str]], dict[str, str], list[dict[str, str]]]] = {
    "DialerDown": ([series("up", "0x80")], ME, [series("up", "1x80")]),
    "DialerTaskDead": (
        [series("dialer_tasks_dead", "1x80")], ME, [series("dialer_tasks_dead", "0x80")]),
    "DialerEngineDies": (
        [series("dialer_task_deaths_total", "0+1x80", task="tick")], {**ME, "task": "tick"},
        [series("dialer_task_deaths_total", "1x80", task="tick")]),
    "DialerStoodStill": (
        [series("dialer_stale_stalls_total", "0x55 1x25")], ME,
        [series("dialer_stale_stalls_total", "1x80")]),
    "DialerLoopStalls": (
        [series("dialer_loop_stalls_total", "0+1x80")], ME,
        [series("dialer_loop_stalls_total", "0x59 1x21")]),
    "DialerLoopSlow": (
        slow("dialer_loop_lag_seconds", {}, "0.05"), {"instance": "d:8080"},
        quick("dialer_loop_lag_seconds", {}, "0.01")),
    "DialerCheckFails": (
        [series("dialer_check", "0x80", check="clock")], {"instance": "d:8080", "check": "clock"},
        [series("dialer_check", "0.5x80", check="clock")]),
    "PoolNotOwned": (
        [series("dialer_pool_owned", "0x80", **POOL)], POOL,
        [series("dialer_pool_owned", "0x80", **POOL),
         series("dialer_pool_owned", "1x80", pool="p", instance="e:8080")]),
    "PoolNotDialing": (
        [series("dialer_pool_owned", "1x80", **POOL),
         series("dialer_pool_dialing", "0x80", **POOL)], POOL,
        [series("dialer_pool_owned", "1x80", **POOL),
         series("dialer_pool_dialing", "1x80", **POOL)]),
    "LeaseOld": (
        [series("dialer_lease_age_seconds", "7x80", **POOL)], POOL,
        [series("dialer_lease_age_seconds", "4x80", **POOL)]),
    "WritesWait": (
        [series("dialer_write_backlog", "5000x80", **POOL)], {**ME, **POOL},
        [series("dialer_write_backlog", "900x80", **POOL)]),
    "WritesRefused": (
        [series("dialer_writes_refused_total", "0x30 1x50", **POOL)], {**ME, **POOL},
        [series("dialer_writes_refused_total", "1x80", **POOL)]),
    "AbandonRateHigh": (
        [series("dialer_abandon_rate", "0.04x80", **CAMPAIGN),
         series("dialer_abandon_cap", "0.03x80", **CAMPAIGN),
         series("dialer_live_answers", "50x80", **CAMPAIGN)], {**ME, **CAMPAIGN},
        [series("dialer_abandon_rate", "0.04x80", **CAMPAIGN),
         series("dialer_abandon_cap", "0.03x80", **CAMPAIGN),
         series("dialer_live_answers", "49x80", **CAMPAIGN)]),
    "AbandonRateNear": (
        [series("dialer_abandon_rate", "0.028x80", **CAMPAIGN),
         series("dialer_abandon_cap", "0.03x80", **CAMPAIGN),
         series("dialer_live_answers", "500x80", **CAMPAIGN)], {**ME, **CAMPAIGN},
        [series("dialer_abandon_rate", "0.04x80", **CAMPAIGN),
         series("dialer_abandon_cap", "0.03x80", **CAMPAIGN),
         series("dialer_live_answers", "500x80", **CAMPAIGN)]),
    "UnknownOutcomes": (
        [series("dialer_attempts", "0+1x80", **CAMPAIGN, outcome="unknown")], CAMPAIGN,
        [series("dialer_attempts", "100x80", **CAMPAIGN, outcome="unknown"),
         series("dialer_attempts", "0+9x80", **CAMPAIGN, outcome="busy")]),
    "BridgeSlow": (
        slow("dialer_bridge_seconds", POOL, "0.1"), POOL,
        quick("dialer_bridge_seconds", POOL, "0.01")),
    "PopSlow": (
        slow("dialer_pop_seconds", {}, "0.1"), {"instance": "d:8080"},
        quick("dialer_pop_seconds", {}, "0.01")),
    "OriginateLate": (
        slow("dialer_originate_seconds", POOL, "0.5"), POOL,
        quick("dialer_originate_seconds", POOL, "0.1")),
    "NodeDown": (
        [series("dialer_node_up", "0x80", node="a")], {**ME, "node": "a"},
        [series("dialer_node_up", "0x59 1x21", node="a")]),
    "AmiLinkDown": (
        [series("dialer_ami_link_up", "0x80", link="ami a")], {**ME, "link": "ami a"},
        [series("dialer_ami_link_up", "1x80", link="ami a")]),
    "AmiLinkFlaps": (
        [series("dialer_ami_connects_total", "0+1x80", link="ami a")], {**ME, "link": "ami a"},
        [series("dialer_ami_connects_total", "0x59 1x21", link="ami a")]),
    "NodeClockWrong": (
        [series("dialer_node_clock_ahead_seconds", "-3x80", node="a")], {**ME, "node": "a"},
        [series("dialer_node_clock_ahead_seconds", "1x80", node="a")]),
    "TrunkOut": (
        [series("dialer_trunk_breaker", "2x80", trunk="t")], {**ME, "trunk": "t"},
        [series("dialer_trunk_breaker", "1x80", trunk="t")]),
    "TrunkFull": (
        [series("dialer_trunk_calls", "99x80", trunk="t"),
         series("dialer_trunk_lines", "100x80", trunk="t")], {**ME, "trunk": "t"},
        [series("dialer_trunk_calls", "90x80", trunk="t"),
         series("dialer_trunk_lines", "100x80", trunk="t")]),
    "BusDown": ([series("dialer_bus_up", "0x80")], ME, [series("dialer_bus_up", "1x80")]),
    "RecordingsWait": (
        [series("dialer_recordings_oldest_seconds", "4000x80")], ME,
        [series("dialer_recordings_oldest_seconds", "3000x80")]),
    "WebhooksWait": (
        [series("dialer_webhook_oldest_seconds", "4000x80")], ME,
        [series("dialer_webhook_oldest_seconds", "3000x80")]),
    "WebhookDisabled": (
        [series("dialer_webhook_disabled", "1x80")], ME,
        [series("dialer_webhook_disabled", "0x80")]),
    "RecordingsFail": (
        [series("dialer_recordings_failed_total", "0+4x80")], ME,
        [series("dialer_recordings_failed_total", "0x59 3x21")]),
}  # fmt: skip


def judged(*arguments: str) -> str:
    done = subprocess.run(
        [promtool(), *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_and_the_configuration_are_valid() -> None:
    judged("check", "rules", str(RULES))
    judged("check", "config", "deploy/prometheus/prometheus.yml")


@pytest.mark.full
def test_each_alert_fires_on_what_it_is_for_and_on_nothing_less(tmp_path: Path) -> None:
    rules: dict[str, Mapping[str, Any]] = {str(rule["alert"]): rule for rule in alerts()}
    assert set(CASES) == set(rules)
    tests: list[dict[str, Any]] = []
    for name, (bad, labels, fine) in CASES.items():
        rule = rules[name]
        fires = {"exp_labels": {**labels, **rule["labels"]}, "exp_annotations": rule["annotations"]}
        for given, expected in ((bad, [fires]), (fine, [])):
            tests.append(
                {
                    "name": name, "interval": "1m", "input_series": given,
                    "alert_rule_test": [
                        {"eval_time": "60m", "alertname": name, "exp_alerts": expected}
                    ],
                }
            )  # fmt: skip
    file = tmp_path / "tests.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": tests}))
    judged("test", "rules", str(file))


def test_each_alert_says_what_to_do_and_where_to_read_on() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in headings}
    for rule in alerts():
        notes = rule["annotations"]
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert len(notes["summary"]) < 90 and len(notes["description"]) > 30, rule["alert"]
        where, _, anchor = notes["runbook"].partition("#")
        assert where == "docs/operations.md" and anchor in anchors, (rule["alert"], anchor)
        assert rule["alert"] in page, "the page names each alert"


def test_the_names_in_an_expression_are_found() -> None:
    assert metrics_in(
        'sum by (le, pool) (rate(a_bucket{x="not_me"}[5m])) > 0.5 and on (pool) b offset 15m '
        'or vector(0) unless max(c:d{pool=~"$pool"}) == bool 1'
    ) == {"a_bucket", "b", "c:d"}


def test_the_dashboard_is_whole() -> None:
    board = json.loads((ROOT / "deploy/grafana/dashboards/dialer.json").read_text())
    panels = board["panels"]
    assert len({p["id"] for p in panels}) == len(panels)
    boxes = [(p["title"], p["gridPos"]) for p in panels]
    for index, (title, a) in enumerate(boxes):
        assert a["x"] + a["w"] <= 24, title
        for other, b in boxes[index + 1 :]:
            apart = (
                a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
                or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
            )  # fmt: skip
            assert apart, f"{title} lies on {other}"
    for panel in panels:
        if panel["type"] != "row":
            assert panel["targets"] and all(t["expr"] for t in panel["targets"]), panel["title"]
