"""Accuracy over the epochs."""

from __future__ import annotations

import statistics

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.drawing import (
    SMALL_LINE,
    colours,
    fewer,
    grow,
    legend_label,
    plt,
    style,
    wrap,
)
from analysis.tables import Row, Table
from runners.store import Epoch, label

GAP, MARGIN = 0.06, 0.3  # of a legend, in inches


def curves(table: Table) -> Figure:
    """The mean over finished trials at every epoch, and the range over seeds as a band."""
    with style():
        figure, axes = plt.subplots()
        rows, note = fewer(table)
        epochs = [e for row in rows for r in row.records for e in r.epochs]
        # validation for all variants or for none: the two are not comparable
        with_val = all(e.val_score is not None for e in epochs)
        for i, (row, colour) in enumerate(zip(rows, colours(table, rows), strict=True)):
            # the colours come round again
            line = ("-", "--", ":")[i // 8 % 3]
            _curve(axes, row, with_val, colour, line)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        of = "validation" if with_val else "training"
        axes.set(xlabel=f"epoch{note}", ylabel=f"{of} {label(table.primary)} (%)")
        axes.set_title(wrap(table.sweep.question, 80))
        legend = axes.legend(
            loc="center left",
            bbox_to_anchor=(1, 0.5),
            title="mean, and range\nover seeds",
            title_fontsize="small",
            alignment="left",
        )
        _make_room(axes, [text.get_text() for text in legend.get_texts()])
        return figure


def _make_room(axes: Axes, labels: list[str]) -> None:
    """A figure as tall as its legend: two lines of title, then the labels with gaps between."""
    lines = 2 + sum(label.count("\n") + 1 for label in labels)
    needed = SMALL_LINE * lines + GAP * len(labels) + MARGIN
    grow(axes, needed - plt.rcParams["figure.figsize"][1])


def _curve(axes: Axes, row: Row, with_val: bool, colour: str, line: str) -> None:
    series = []
    for record in row.records:
        series.append([_score(e, with_val) for e in record.epochs])
    # the mean is of the seeds that still trained; a dot is where one of the others stopped
    columns = still_training(series)
    epochs = range(1, len(columns) + 1)
    ends = [(len(values), values[-1]) for values in series if len(values) < len(columns)]
    if ends:
        axes.plot(*zip(*ends, strict=True), ".", color=colour, markersize=7)
    label = legend_label(wrap(f"{row.variant} (n={len(series)})", 30))
    means = [statistics.fmean(column) for column in columns]
    axes.plot(epochs, means, color=colour, linestyle=line, label=label)
    low, high = [min(column) for column in columns], [max(column) for column in columns]
    axes.fill_between(epochs, low, high, color=colour, alpha=0.12, linewidth=0)


def still_training(series: list[list[float]]) -> list[list[float]]:
    """At every epoch the values of the seeds that have it."""
    columns = []
    for i in range(max(map(len, series), default=0)):
        columns.append([values[i] for values in series if i < len(values)])
    return columns


def _score(epoch: Epoch, with_val: bool) -> float:
    return epoch.val_score if with_val and epoch.val_score is not None else epoch.train_score
