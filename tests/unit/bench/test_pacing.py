"""The pacing report judges at equal compliance: who is busier but breaks the law does not win."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pacing.simulator import Progressive, Scenario, run
from tests.bench import pacing
from tests.bench.pacing_report import plots, tables
from tests.bench.pacing_report.families import FAMILIES
from tests.bench.pacing_report.measure import Row, best, row

pytestmark = pytest.mark.unit

TINY = Scenario(name="common 5", agents=5, warm_up=0.0, duration=300.0)


@pytest.fixture(scope="module")
def plain() -> Row:
    return row(run(TINY, Progressive(), seeds=[1, 2]), FAMILIES["progressive"], "1:1", 0.1)


def test_the_busiest_lawful_setting_is_chosen(plain: Row) -> None:
    busy = replace(plain, setting="busy", occupancy=0.9, over=0.06)
    good = replace(plain, setting="good", occupancy=0.8, over=0.05)
    idle = replace(plain, setting="idle", occupancy=0.7, over=0.0)
    assert best([busy, good, idle])[plain.scenario, plain.family] is good
    assert best([busy, replace(busy, over=0.5)])[plain.scenario, plain.family] is busy


def test_a_window_that_rolls_on_is_judged_in_the_long_run(plain: Row) -> None:
    assert replace(plain, endless=True, abandon=0.03, over=0.5).lawful
    assert not replace(plain, endless=True, abandon=0.031, over=0.0).lawful


def test_tables_show_what_breaks_the_law_in_brackets(plain: Row) -> None:
    rows = [plain, replace(plain, family="marginal", setting="x", occupancy=0.8765, over=1.0)]
    text = tables.markdown(rows, {plain.scenario: "a note"})
    assert "(87.7)" in text or "(87.6)" in text
    assert "A note." in text
    assert tables.json_lines(rows).count("\n") == 2


def test_pictures_are_drawn(plain: Row, tmp_path: Path) -> None:
    rows = [plain, replace(plain, family="engine"), replace(plain, scenario="spikes")]
    made = plots.draw(rows, tmp_path)
    assert len(made) == 4
    assert all(path.stat().st_size > 5000 for path in made)


def test_cells_can_be_chosen_by_word() -> None:
    some = list(pacing.cells(quick=False, seeds=3, only="spikes, progressive"))
    assert [(c.scenario.name, c.family, c.seeds) for c in some] == [
        ("answer rate spikes", "progressive", 3)
    ]
    every = list(pacing.cells(quick=False, seeds=0, only=""))
    assert {c.seeds for c in every if c.scenario.name == "common 20"} == {200, 8}
    assert {c.seeds for c in every if c.scenario.name == "common 100"} == {40, 8}
