"""Figures of a sweep, each as SVG and PNG: accuracy over the epochs, and accuracy against what it costs."""

from __future__ import annotations

import functools
import re
import statistics
import textwrap
from collections import defaultdict
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import MaxNLocator

from analysis.tables import Row, Table
from runners.plan import space
from runners.search import searching as search
from runners.search.study import Proposal, Study, importances

STYLE = str(Path(__file__).with_name("style.mplstyle"))
LONG = 24  # letters of a name that no longer stands at its point
MOST = 16  # variants that a reader can tell apart
# what accuracy may be drawn against -> (axis label, its unit's size, whether less is better)
AXES = {
    "macs": ("multiply-adds per image (millions)", 1e6, True),
    "params": ("parameters (millions)", 1e6, True),
    "images_per_s": ("training speed (images/s)", 1, False),
    "peak_memory_gb": ("peak memory (GB)", 1, True),
    "minutes": ("training time (minutes)", 1, True),
}


def curves(table: Table) -> Figure:
    """Accuracy over the epochs: the mean over finished trials, and the range over seeds as a band."""
    with plt.style.context(STYLE):
        figure, axes = plt.subplots()
        rows, note = _fewer(table)
        with_val = all(
            e.val_score is not None for row in rows for r in row.records for e in r.epochs
        )
        for i, (row, colour) in enumerate(zip(rows, _colours(table, rows), strict=True)):
            series = [
                [
                    e.val_score if e.val_score is not None and with_val else e.train_score
                    for e in r.epochs
                ]
                for r in row.records
            ]
            if series:
                columns = [*zip(*series, strict=False)]
                epochs = range(1, len(columns) + 1)
                label = " " + _wrap(
                    f"{row.variant} (n={len(series)})", 30
                )  # matplotlib hides labels that begin with an underscore
                style = ("-", "--", ":")[i // 8 % 3]  # the colours come round again
                axes.plot(
                    epochs,
                    [statistics.fmean(c) for c in columns],
                    color=colour,
                    linestyle=style,
                    label=label,
                )
                axes.fill_between(
                    epochs,
                    [min(c) for c in columns],
                    [max(c) for c in columns],
                    color=colour,
                    alpha=0.12,
                    linewidth=0,
                )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(
            xlabel=f"epoch{note}", ylabel=f"{'validation' if with_val else 'training'} top-1 (%)"
        )
        axes.set_title(_wrap(table.sweep.question, 80))
        axes.legend(
            loc="center left",
            bbox_to_anchor=(1, 0.5),
            title="mean, and range\nover seeds",
            title_fontsize="small",
            alignment="left",
        )
        return figure


def tradeoff(table: Table, x: str = "macs") -> Figure:
    """Test accuracy with its 95 % interval against a cost, a label at each variant, the Pareto front as a line, the paper's points hollow.

    Args:
        x: a key of AXES.
    """
    label, unit, less = AXES[x]
    with plt.style.context(STYLE):
        figure, axes = plt.subplots()
        places = {
            row.variant: (float(row.mean(x) or 0) / unit, row.top1.mean)
            for row in table.rows
            if row.top1
        }
        rows, note = _fewer(table)
        if note:
            axes.scatter(*zip(*places.values(), strict=True), s=6, color="0.75", zorder=0)
        front = pareto(places, less_is_better=less)
        beside = dict(zip(places, _beside([x for x, _ in places.values()]), strict=True))
        colours = _colours(table, rows)
        long = {
            row.variant: f"({i + 1})"
            for i, row in enumerate(r for r in rows if len(r.variant) > LONG)
        }
        for row, colour in zip(rows, colours, strict=True):
            _point(axes, row, beside[row.variant], colour, long.get(row.variant, row.variant))
        if len(front) > 1:
            axes.plot(
                *zip(*((beside[v], places[v][1]) for v in front), strict=True),
                color="0.6",
                linewidth=1,
                linestyle="--",
                zorder=1,
                label="Pareto front of the means",
            )
        if x in ("macs", "params") and any(row.printed for row in rows):
            _printed(axes, rows, x)
        axes.set(xlabel=f"{label}{note}", ylabel="test top-1 (%)")
        axes.set_title(_wrap(table.sweep.question, 80))
        axes.margins(x=0.12, y=0.1)
        axes.errorbar(
            [],
            [],
            yerr=[],
            color="0.3",
            marker="o",
            linestyle="none",
            label="mean, 95 % interval, seeds;\none cost: side by side",
        )
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3)
        _listed(axes, [f"{short} {variant}" for variant, short in long.items()])
        _apart(axes)
        return figure


def _listed(axes: Axes, names: list[str]) -> None:
    """Names too long to stand at their points, below the legend."""
    if names:
        text = "\n".join(_wrap(name, 90) for name in names)
        axes.annotate(
            text,
            (0, -0.28),
            xycoords="axes fraction",
            fontsize="small",
            va="top",
            linespacing=1.4,
            annotation_clip=False,
        )


def front(table: Table) -> Figure:
    """Validation accuracy against multiply-adds of every trained cell, the front as a line, what was confirmed named, the paper's points hollow."""
    study = table.studies[0]
    with plt.style.context(STYLE):
        figure, axes = plt.subplots()
        points = [(p.cost["macs_m"], p.top1) for p in _finished(study)]
        axes.scatter(*zip(*points, strict=True), s=18, color="0.7", label="trained, one seed each")
        best = [(p.cost["macs_m"], p.top1 or 0.0) for p in search.front(study.proposals)]
        axes.plot(
            *zip(*best, strict=True),
            color="#0072B2",
            marker="o",
            markersize=5,
            drawstyle="steps-post",
            label="front",
        )
        for i, p in enumerate(search.picks(study)):
            where = (p.cost["macs_m"], p.top1 or 0.0)
            axes.plot(
                *where,
                marker="o",
                markersize=9,
                markerfacecolor="none",
                color="#D55E00",
                linestyle="none",
                label="" if i else "compared",
            )
            axes.annotate(
                f"#{p.number}",
                where,
                (7, -10),
                textcoords="offset points",
                fontsize="small",
                color="#D55E00",
            )
        _listed(axes, [f"#{p.number} {space.name(p.cell)}" for p in search.picks(study)])
        axes.set(xlabel="multiply-adds per image (millions)", ylabel="validation top-1 (%)")
        axes.margins(0.15)
        _paper_points(table, axes)
        axes.set_title(_wrap(table.sweep.question, 80))
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=4)
        return figure


def _paper_points(table: Table, axes: Axes) -> None:
    """The paper's points by their share of its own baseline's FLOPs: another network, so only their place to that baseline compares."""
    base = next((row for row in table.rows if row.variant == table.sweep.baseline), None)
    printed = table.reference.rows.get(table.sweep.baseline)
    if not (base and base.result and printed):
        return
    macs = base.result.macs / 1e6
    other = axes.twinx()
    for name, row in table.reference.rows.items():
        where = (macs * row.flops_m / printed.flops_m, row.top1)
        other.plot(
            *where, marker="D", markersize=6, markerfacecolor="none", color="0.45", linestyle="none"
        )
        other.annotate(
            f"{name}, paper",
            where,
            (5, -9),
            textcoords="offset points",
            fontsize="x-small",
            color="0.45",
        )
    other.set_ylabel("paper's test top-1 (%)", color="0.45")
    other.tick_params(colors="0.45")
    other.grid(False)
    other.margins(0.25)
    axes.plot(
        [],
        [],
        marker="D",
        markerfacecolor="none",
        color="0.45",
        linestyle="none",
        label="paper, at its share of\nits baseline (right axis)",
    )
    share = axes.secondary_xaxis(
        "top",
        functions=(functools.partial(np.multiply, 1 / macs), functools.partial(np.multiply, macs)),
    )
    share.set_xlabel(f"share of {table.sweep.baseline}'s multiply-adds", fontsize="small")


def history(table: Table) -> Figure:
    """Left: what the search had after so many trials. Right: each parameter's share of the variance of validation accuracy."""
    with plt.style.context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
        pareto = table.studies[0].written.mode == "front"
        for study in table.studies:
            done = _finished(study)
            points = [(p.cost["macs_m"], p.top1 or 0.0) for p in done]
            if pareto:
                volumes = [search.hypervolume(points[: i + 1], points) for i in range(len(points))]
                values = [100 * v / volumes[-1] for v in volumes]
            else:
                values = [max(top1 for _, top1 in points[: i + 1]) for i in range(len(points))]
            left.plot(
                range(1, len(done) + 1),
                values,
                drawstyle="steps-post",
                label=study.variant or "the search",
            )
            if not pareto:
                left.scatter(range(1, len(done) + 1), [p.top1 for p in done], s=8, alpha=0.4)
        left.set(
            xlabel="finished trials, as proposed",
            ylabel="hypervolume of the front\n(% of the last)"
            if pareto
            else "best validation top-1 so far (%)",
        )
        shares = {study.variant: importances(study) for study in table.studies}
        names = [p.name for p in table.studies[0].search.parameters]
        height = 0.8 / len(shares)
        for i, found in enumerate(shares.values()):
            right.barh(
                [k + i * height for k in range(len(names))],
                [found.get(n, 0.0) for n in names],
                height=height,
            )
        right.set_yticks(
            [k + 0.4 - height / 2 for k in range(len(names))],
            [n.removeprefix("options.") for n in names],
        )
        right.set(
            xlabel="share of the variance of validation accuracy (fANOVA)"
            if any(shares.values())
            else "too few trials to say what mattered",
            xlim=(0, 1),
        )
        right.invert_yaxis()
        if len(shares) > 1:
            left.legend(fontsize="x-small")
        return figure


def _finished(study: Study) -> list[Proposal]:
    return [p for p in study.proposals if p.trained and p.top1 is not None]


def pareto(places: dict[str, tuple[float, float]], *, less_is_better: bool = True) -> list[str]:
    """The variants that no other beats in cost without losing accuracy, nor in accuracy without costing more; from cheap to dear."""
    sign = 1 if less_is_better else -1
    front: list[str] = []
    best = float("-inf")
    for v in sorted(places, key=lambda v: (sign * places[v][0], -places[v][1])):
        if places[v][1] > best:
            front.append(v)
            best = places[v][1]
    return front


def _point(axes: Axes, row: Row, x: float, colour: str, name: str) -> None:
    """A variant: its seeds as dots, mean and interval, and its name."""
    assert row.top1
    axes.scatter(
        [x] * len(row.records),
        [r.result.test_top1 for r in row.records if r.result],
        s=8,
        color=colour,
        alpha=0.4,
    )
    low, high = (
        (row.top1.low, row.top1.high)
        if row.top1.low is not None and row.top1.high is not None
        else (row.top1.mean,) * 2
    )
    bars = [[row.top1.mean - max(low, 0)], [min(high, 100) - row.top1.mean]]
    axes.errorbar(
        [x], [row.top1.mean], yerr=bars, color=colour, marker="o", markersize=5, capsize=2, zorder=3
    )
    axes.annotate(
        _wrap(name, 30),
        (x, min(high, 100)),
        (0, 4),
        textcoords="offset points",
        fontsize="small",
        color=colour,
        ha="center",
    )


def _apart(axes: Axes) -> None:
    """Raise the names that would be printed over others."""
    axes.figure.canvas.draw()  # only then are places known
    placed = []
    for name in axes.texts:
        assert isinstance(name, Annotation)
        for _ in range(8):
            box = name.get_window_extent()
            if not any(box.overlaps(other) for other in placed):
                break
            name.xyann = name.xyann[0], name.xyann[1] + 5
        placed.append(name.get_window_extent())


def _beside(xs: list[float]) -> list[float]:
    """The places of points along the cost axis, those of (nearly) one cost side by side around it."""
    span = (max(xs) - min(xs)) or max(xs) or 1.0
    together: dict[int, list[int]] = defaultdict(list)
    for i, x in enumerate(xs):
        together[round(50 * x / span)].append(i)
    moved = list(xs)
    for group in together.values():
        for rank, i in enumerate(group):
            moved[i] += 0.06 * span * (rank - (len(group) - 1) / 2)
    return moved


def _printed(axes: Axes, rows: list[Row], x: str) -> None:
    """The paper's figures, on an axis of their own: another training, so only their places to each other compare."""
    other = axes.twinx()
    for row in rows:
        if row.printed:
            at = row.printed.flops_m if x == "macs" else row.printed.params_m
            ours = float(row.mean(x) or 1) / AXES[x][1]
            if (
                0.5 < at / ours < 2
            ):  # else another network's, and the axis would shrink the measured ones
                other.plot(
                    [at],
                    [row.printed.top1],
                    marker="D",
                    markersize=6,
                    markerfacecolor="none",
                    color="0.45",
                    linestyle="none",
                )
                other.annotate(
                    _wrap(row.variant, 30),
                    (at, row.printed.top1),
                    (5, -9),
                    textcoords="offset points",
                    fontsize="x-small",
                    color="0.45",
                )
    if other.lines:
        other.set_ylabel("paper's top-1 (%)", color="0.45")
        other.tick_params(colors="0.45")
        other.grid(False)
        other.margins(y=0.25)
        axes.plot(
            [],
            [],
            marker="D",
            markerfacecolor="none",
            color="0.45",
            linestyle="none",
            label="paper (right axis)",
        )
    else:
        other.remove()


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem`.svg and `stem`.png."""
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("svg", "png")]
    figure.canvas.draw()  # the layout of a second axis needs one drawing more to come to rest
    for path in paths:
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
    return paths


def _fewer(table: Table) -> tuple[list[Row], str]:
    """At most MOST rows, the baseline and the best of the others, and a note where some are left out."""
    rows = [row for row in table.rows if row.top1]
    if len(rows) <= MOST:
        return rows, ""
    rest = sorted(
        (r for r in rows if r.variant != table.sweep.baseline),
        key=lambda r: -r.top1.mean if r.top1 else 0,
    )
    kept = {table.sweep.baseline, *(r.variant for r in rest[: MOST - 1])}
    return [
        r for r in rows if r.variant in kept
    ], f" (in colour: the baseline and the {MOST - 1} best of {len(rest)} others)"


def _colours(table: Table, rows: list[Row]) -> list[str]:
    cycle = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    others = iter(range(len(rows)))
    return [
        "black"
        if row.variant == table.sweep.baseline
        else f"#{cycle[next(others) % len(cycle)].lstrip('#')}"
        for row in rows
    ]


def _wrap(text: str, width: int) -> str:
    text = (
        text if len(text) <= width else re.sub(r",(?=\S)", ", ", text)
    )  # a cell's name may break between its settings
    return "\n".join(textwrap.wrap(text, width)).replace(
        "$", r"\$"
    )  # matplotlib reads mathematics between dollars
