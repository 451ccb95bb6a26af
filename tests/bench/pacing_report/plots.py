"""The figures as pictures: occupancy against abandons, by pool size, by scenario, worst times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from tests.bench.pacing_report.measure import WORST, Row, best

# One colour and one mark per family, the same in all pictures (Okabe and Ito's colours).
_LOOKS = {
    "progressive": ("#000000", "s"),
    "fixed ratio": ("#E69F00", "o"),
    "2 per free agent": ("#999999", "P"),
    "VICIdial default": ("#CC79A7", "v"),
    "VICIdial in hindsight": ("#56B4E9", "^"),
    "marginal": ("#0072B2", "D"),
    "clairvoyant": ("#009E73", "_"),
}
_ENGINE = ("#D55E00", "*")


def _look(family: str) -> tuple[str, str]:
    return _LOOKS.get(family, _ENGINE)


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """All pictures that `rows` are enough for."""
    made = []
    cells = [r for r in rows if r.scenario.startswith("common ")]
    plain = [r for r in cells if r.scenario == f"common {r.agents}"]
    others = [r for r in rows if not r.scenario.startswith("common ")]
    if cells:
        made.append(_trade(cells, folder / "occupancy-against-abandons.png"))
    if plain:
        made.append(_sizes(plain, folder / "pool-sizes.png"))
    if others:
        made.append(_scenarios(others, folder / "scenarios.png"))
        made.append(_worst([r for r in others if not r.bound], folder / "worst-half-hour.png"))
    plt.close("all")
    return made


def _trade(rows: Sequence[Row], path: Path) -> Path:
    names = list(dict.fromkeys(r.scenario for r in rows))
    across = min(len(names), 4)
    down = -(-len(names) // across)
    figure, axes = plt.subplots(
        down, across, layout="constrained", figsize=(4.2 * across, 3.6 * down + 0.8), squeeze=False
    )
    for axis, name in zip(axes.flat, names, strict=False):
        mine = [r for r in rows if r.scenario == name]
        for family in dict.fromkeys(r.family for r in mine):
            points = sorted((r for r in mine if r.family == family), key=lambda r: r.abandon)
            colour, mark = _look(family)
            x, y = [100 * r.abandon for r in points], [100 * r.occupancy for r in points]
            axis.plot(x, y, "-", color=colour, linewidth=1, alpha=0.6)
            for lawful, fill in ((True, colour), (False, "none")):
                some = [i for i, r in enumerate(points) if r.lawful is lawful]
                axis.scatter(
                    [x[i] for i in some],
                    [y[i] for i in some],
                    s=110 if mark == "*" else 34,
                    marker=mark,
                    facecolors=colour if mark == "_" else fill,
                    edgecolors=None if mark == "_" else colour,
                    linewidths=1.6 if mark == "_" else 1.2,
                    zorder=3,
                )
        axis.axvline(100 * mine[0].cap, color="#B00000", linestyle=":", linewidth=1)
        axis.set_xlim(-0.2, max(5.0, 1.05 * min(8.0, max(100 * r.abandon for r in mine))))
        axis.set_ylim(60, 100.8)
        axis.set_title(name, fontsize=10)
        axis.grid(alpha=0.25)
    for axis in list(axes.flat)[len(names) :]:
        axis.set_visible(False)
    for axis in axes[-1]:
        axis.set_xlabel("abandoned, %", fontsize=9)
    for axis in axes[:, 0]:
        axis.set_ylabel("occupancy, %", fontsize=9)
    _legend(figure, rows, "Occupancy against abandon rate (hollow: over 5 % of runs above the cap)")
    return _save(figure, path)


def _sizes(rows: Sequence[Row], path: Path) -> Path:
    figure, axis = plt.subplots(layout="constrained", figsize=(8, 5.4))
    chosen = best(rows)
    for family in dict.fromkeys(r.family for r in rows):
        points = sorted((r for (_, f), r in chosen.items() if f == family), key=lambda r: r.agents)
        colour, mark = _look(family)
        x, y = [r.agents for r in points], [100 * r.occupancy for r in points]
        axis.plot(x, y, "-", color=colour, linewidth=1.2)
        for point, at, height in zip(points, x, y, strict=True):
            axis.scatter(
                [at],
                [height],
                marker=mark,
                s=110 if mark == "*" else 36,
                facecolors=colour if point.lawful or mark == "_" else "white",
                edgecolors=None if mark == "_" else colour,
                zorder=3,
            )
    axis.set_xscale("log")
    sizes = sorted({r.agents for r in rows})
    axis.set_xticks(sizes, [str(n) for n in sizes])
    axis.minorticks_off()
    axis.set_xlabel("agents")
    axis.set_ylabel("occupancy, %")
    axis.grid(alpha=0.25)
    _legend(figure, rows, "Best setting of each policy (hollow: none keeps the law)")
    return _save(figure, path)


def _scenarios(rows: Sequence[Row], path: Path) -> Path:
    figure, axis, names = _lanes(rows)
    chosen = best(rows)
    for (name, family), each in chosen.items():
        _dot(axis, 100 * each.occupancy, names.index(name), family, each.lawful)
    axis.set_xlabel("occupancy, %")
    _legend(figure, rows, "By scenario, at equal compliance (hollow: no setting keeps the law)")
    return _save(figure, path)


def _worst(rows: Sequence[Row], path: Path) -> Path:
    figure, axis, names = _lanes(rows)
    for (name, family), each in best(rows).items():
        _dot(axis, 100 * each.worst, names.index(name), family, each.worst <= WORST)
    axis.axvline(100 * WORST, color="#B00000", linestyle=":", linewidth=1)
    axis.set_xlabel("worst half hour with 100 answers, % abandoned (95 % of the runs are below)")
    axis.set_xlim(left=-0.2)
    _legend(figure, rows, "Worst half hour of the same settings (hollow: above 6 %)")
    return _save(figure, path)


def _lanes(rows: Sequence[Row]) -> tuple[plt.Figure, Axes, list[str]]:
    names = list(dict.fromkeys(r.scenario for r in rows))[::-1]
    figure, axis = plt.subplots(layout="constrained", figsize=(9, 0.36 * len(names) + 2.2))
    axis.set_yticks(range(len(names)), names, fontsize=9)
    axis.set_ylim(-0.7, len(names) - 0.3)
    axis.grid(alpha=0.25)
    return figure, axis, names


def _dot(axis: Axes, x: float, y: float, family: str, filled: bool) -> None:
    colour, mark = _look(family)
    if mark == "_":
        axis.scatter([x], [y], marker="|", s=90, color=colour, linewidths=2, zorder=3)
        return
    axis.scatter(
        [x],
        [y],
        marker=mark,
        s=120 if mark == "*" else 40,
        facecolors=colour if filled else "white",
        edgecolors=colour,
        zorder=4 if mark == "*" else 3,
    )


def _legend(figure: plt.Figure, rows: Sequence[Row], title: str) -> None:
    families = list(dict.fromkeys(r.family for r in rows))
    handles = [
        plt.Line2D(
            [],
            [],
            color=_look(f)[0],
            marker=_look(f)[1],
            linestyle="",
            markersize=11 if _look(f)[1] == "*" else 7,
            markeredgewidth=2 if _look(f)[1] == "_" else 1,
        )
        for f in families
    ]
    figure.suptitle(title, fontsize=12)
    figure.legend(
        handles, families, loc="outside lower center", ncols=min(4, len(families)), fontsize=9
    )


def _save(figure: plt.Figure, path: Path) -> Path:
    figure.savefig(path, dpi=110)
    return path
