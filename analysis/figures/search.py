"""A search's front, its progress, and the importance of its parameters."""

from __future__ import annotations

import functools

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.drawing import legend_label, listed, plt, style, wrap
from analysis.figures.tradeoff import HOLLOW
from analysis.tables import Table
from runners.plan import space
from runners.search import searching as search
from runners.search.importance import importances
from runners.search.proposal import Proposal
from runners.search.study import Study
from runners.store import label


def front(table: Table) -> Figure:
    """Validation accuracy against multiply-adds of every trained cell, the front as a line.

    Those that were confirmed have their number, the paper's points are hollow.
    """
    study = table.studies[0]
    with style():
        figure, axes = plt.subplots()
        points = [_place(p) for p in _finished(study)]
        axes.scatter(*zip(*points, strict=True), s=18, color="0.7", label="trained, one seed each")
        # steps: between two points the cheaper one is the best that is known
        best = [_place(p) for p in search.front(study.proposals)]
        axes.plot(
            *zip(*best, strict=True),
            color="#0072B2",
            marker="o",
            markersize=5,
            drawstyle="steps-post",
            label="front",
        )
        picks = search.picks(study)
        for i, p in enumerate(picks):
            # one entry in the legend for all rings
            _compared(axes, p, "" if i else "compared")
        listed(axes, [f"#{p.number} {space.name(p.cell)}" for p in picks])
        axes.set(
            xlabel="multiply-adds per image (millions)",
            ylabel=f"validation {label(table.primary)} (%)",
        )
        axes.margins(0.15)
        _paper_points(table, axes)
        axes.set_title(wrap(table.sweep.question, 80))
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=4)
        return figure


def _compared(axes: Axes, p: Proposal, label: str) -> None:
    """A ring around a point, and its number."""
    axes.plot(
        *_place(p),
        marker="o",
        markersize=9,
        markerfacecolor="none",
        color="#D55E00",
        linestyle="none",
        label=label,
    )
    axes.annotate(
        f"#{p.number}",
        _place(p),
        (7, -10),
        textcoords="offset points",
        fontsize="small",
        color="#D55E00",
    )


def _place(p: Proposal) -> tuple[float, float]:
    return p.cost["macs_m"], p.score or 0.0


def _paper_points(table: Table, axes: Axes) -> None:
    """The paper's points by their share of its own baseline's FLOPs.

    It was another network, so only their places to that baseline compare.
    """
    base = next((row for row in table.rows if row.variant == table.sweep.baseline), None)
    printed = table.reference.rows.get(table.sweep.baseline)
    if not (base and base.result and printed and printed.flops_m):
        return
    macs = base.result.macs / 1e6
    # an axis of their own: accuracies on other data must not share a scale with these
    other = axes.twinx()
    for name, row in table.reference.rows.items():
        if not row.flops_m:
            continue
        where = (macs * row.flops_m / printed.flops_m, row.top1)
        other.plot(*where, **HOLLOW)  # type: ignore[arg-type]
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
    where = "paper, at its share of\nits baseline (right axis)"
    axes.plot([], [], label=where, **HOLLOW)  # type: ignore[arg-type]
    to_share, to_macs = (
        functools.partial(np.multiply, 1 / macs),
        functools.partial(np.multiply, macs),
    )
    share = axes.secondary_xaxis("top", functions=(to_share, to_macs))
    share.set_xlabel(f"share of {table.sweep.baseline}'s multiply-adds", fontsize="small")


def history(table: Table) -> Figure:
    """Left: what the search had after so many trials. Right: what mattered."""
    with style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
        _progress(left, table)
        _importances(right, table)
        if len(table.studies) > 1:
            left.legend(fontsize="x-small")
        return figure


def _progress(axes: Axes, table: Table) -> None:
    """The front's hypervolume, or the best accuracy, after so many finished trials."""
    pareto = table.studies[0].written.mode == "front"
    for study in table.studies:
        points = [_place(p) for p in _finished(study)]
        values = _volumes(points) if pareto else _best(points)
        trials = range(1, len(points) + 1)
        name = legend_label(study.variant or "the search")
        axes.plot(trials, values, drawstyle="steps-post", label=name)
        if not pareto:
            axes.scatter(trials, [score for _, score in points], s=8, alpha=0.4)
    what = (
        "hypervolume of the front\n(% of the last)"
        if pareto
        else f"best validation {label(table.primary)} so far (%)"
    )
    axes.set(xlabel="finished trials, as proposed", ylabel=what)


def _volumes(points: list[tuple[float, float]]) -> list[float]:
    # against all points, so that the reference corner stays where it is
    volumes = [search.hypervolume(points[: i + 1], points) for i in range(len(points))]
    return [100 * volume / volumes[-1] for volume in volumes]


def _best(points: list[tuple[float, float]]) -> list[float]:
    best: list[float] = []
    for _, score in points:
        best.append(max(best[-1], score) if best else score)
    return best


def _importances(axes: Axes, table: Table) -> None:
    """Each parameter's share of the variance of validation accuracy."""
    shares = [importances(study) for study in table.studies]
    names = [p.name for p in table.studies[0].search.parameters]
    # the bars of all studies share a parameter's place
    height = 0.8 / len(shares)
    for i, found in enumerate(shares):
        places = [k + i * height for k in range(len(names))]
        axes.barh(places, [found.get(name, 0.0) for name in names], height=height)
    middles = [k + 0.4 - height / 2 for k in range(len(names))]
    axes.set_yticks(middles, [name.removeprefix("options.") for name in names])
    what = "share of the variance of validation accuracy (fANOVA)"
    axes.set(xlabel=what if any(shares) else "too few trials to estimate importance", xlim=(0, 1))
    axes.invert_yaxis()


def _finished(study: Study) -> list[Proposal]:
    return [p for p in study.proposals if p.trained and p.score is not None]
