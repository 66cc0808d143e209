"""Each variant's difference to the baseline with its interval: the picture of the answer.

A forest plot, as in S. Lewis and M. Clarke, BMJ 2001, doi:10.1136/bmj.322.7300.1479.
"""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.drawing import colours, fewer, plt, style, wrap
from analysis.stats import Difference
from analysis.tables import Row, Table
from analysis.tables.text import interval

LINE = 0.34  # height of one variant's line, in inches
AROUND = 1.5  # height of title, axis and its label
WIDE = 30  # letters of a name before it is broken


@dataclass(frozen=True)
class Line:
    """A line of the plot: a name, its colour, its difference, and each seed's own difference."""

    name: str
    colour: str
    difference: Difference
    seeds: list[float]


def forest(table: Table) -> Figure:
    """The variants' differences to the baseline, in percentage points, in the table's order.

    Dots are the differences within each seed. A variant with one seed has no interval.
    """
    baseline = table.sweep.baseline
    with style():
        rows, note = fewer(table)
        lines = []
        for row, colour in zip(rows, colours(table, rows), strict=True):
            if row.difference:
                seeds = _by_seed(table, row, baseline)
                lines.append(Line(row.variant, colour, row.difference, seeds))
        method = table.comparison.method
        what = f"{table.measure.label} minus that of {baseline} (percentage points){note}"
        over = " over all looks" if table.comparison.looks else ""
        how = f"95 % intervals ({method}){over}, " if method else ""
        xlabel = f"{what}\n{how}{table.span}; small dots: one seed"
        return _draw(lines, table.sweep.question, xlabel, table.sweep.margin_pp)


def _by_seed(table: Table, row: Row, baseline: str) -> list[float]:
    base = table.scores[baseline]
    return [score - base[seed] for seed, score in table.scores[row.variant].items() if seed in base]


def _draw(lines: list[Line], title: str, xlabel: str, margin: float | None) -> Figure:
    width = plt.rcParams["figure.figsize"][0]
    heights = [wrap(line.name, WIDE).count("\n") + 1 for line in lines]
    figure, axes = plt.subplots(figsize=(width, AROUND + LINE * max(2, sum(heights))))
    at, places = 0.0, []
    for line, height in zip(lines, heights, strict=True):
        places.append(at + (height - 1) / 2)
        at += height
        _line(axes, places[-1], line)
    axes.axvline(0, color="black", linewidth=1, zorder=1)
    if margin:
        axes.axvspan(-margin, margin, color="0.5", alpha=0.15, linewidth=0, zorder=0)
        xlabel += f"; grey: the margin of ±{margin:g}"
    axes.set_yticks(places, [wrap(line.name, WIDE) for line in lines])
    for name, line in zip(axes.get_yticklabels(), lines, strict=True):
        name.set_color(line.colour)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(False, axis="y")
    axes.set_ylim(at - 0.5, -0.6)
    axes.set_xlabel(xlabel)
    axes.set_title(wrap(title, 80), loc="left")
    return figure


def _line(axes: Axes, y: float, line: Line) -> None:
    d = line.difference
    axes.plot(line.seeds, [y + 0.22] * len(line.seeds), ".", color=line.colour, alpha=0.45, ms=4)
    if d.low is not None and d.high is not None:
        axes.plot([d.low, d.high], [y, y], color=line.colour, linewidth=2, solid_capstyle="butt")
    axes.plot([d.mean], [y], "s", color=line.colour, markersize=6, zorder=3)
    axes.annotate(
        f"{d.mean:+.2f}  ({interval(d)})  {d.verdict}"
        if d.low is not None
        else f"{d.mean:+.2f}  {d.verdict}",
        (1.02, y),
        xycoords=("axes fraction", "data"),
        fontsize="small",
        va="center",
    )
