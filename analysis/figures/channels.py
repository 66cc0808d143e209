"""Accuracy by the number of channels that are there: one line per variant."""

from __future__ import annotations

import statistics

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.drawing import colours, fewer, legend_label, plt, style, wrap
from analysis.stats.conditions import guessing
from analysis.tables.conditions import Conditions

APART = 0.04  # of one channel, between two variants' marks


def channels(found: Conditions) -> Figure:
    """The mean over seeds and over the subsets of a size, and each subset's own mean as a dot."""
    table = found.table
    with style():
        figure, axes = plt.subplots()
        rows, note = fewer(table)
        rows = [row for row in rows if found.trials.get(row.variant)]
        for i, (row, colour) in enumerate(zip(rows, colours(table, rows), strict=True)):
            aside = APART * (i - (len(rows) - 1) / 2)
            by_size = _by_size(found, row.variant)
            sizes = [size + aside for size in by_size]
            means = [statistics.fmean(values) for values in by_size.values()]
            line = ("-", "--", ":")[i // 8 % 3]
            label = legend_label(wrap(row.variant, 30))
            axes.plot(sizes, means, f"o{line}", color=colour, markersize=5, label=label)
            for size, values in by_size.items():
                axes.plot([size + aside] * len(values), values, ".", color=colour, alpha=0.4)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _mark_guessing(found, axes)
        axes.set(xlabel=f"channels of the test image that are there{note}", ylabel="test top-1 (%)")
        axes.set_ylim(bottom=0)
        axes.set_title(wrap(table.sweep.question, 80))
        axes.legend(
            loc="center left",
            bbox_to_anchor=(1, 0.5),
            title="mean over subsets\n(dots) and seeds",
            title_fontsize="small",
            alignment="left",
        )
        return figure


def _mark_guessing(found: Conditions, axes: Axes) -> None:
    done = next(iter(found.measure.evaluations.values()))
    chance, low, high = guessing(done.classes, len(done.labels()))
    axes.axhspan(low, high, color="0.5", alpha=0.15, linewidth=0)
    axes.axhline(chance, color="0.5", linewidth=0.8)
    axes.annotate(
        "guessing",
        (0.99, low),
        xycoords=("axes fraction", "data"),
        ha="right",
        va="top",
        fontsize="small",
        color="0.4",
    )


def _by_size(found: Conditions, variant: str) -> dict[int, list[float]]:
    """Number of channels -> the mean over seeds of each subset of that size."""
    by: dict[int, list[float]] = {}
    some = next(iter(found.trials[variant].values()))
    for name, scores in some.items():
        if scores.size is None:
            values = found.figures[name][variant].values()
            by.setdefault(sum(scores.mask), []).append(statistics.fmean(values))
    return dict(sorted(by.items()))
