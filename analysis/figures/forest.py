"""Each variant's difference to the baseline with its interval: the picture of the answer.

A forest plot, as in S. Lewis and M. Clarke, BMJ 2001, doi:10.1136/bmj.322.7300.1479.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.drawing import colours, fewer, plt, style, wrap
from analysis.stats.retention import WIDEST
from analysis.tables import Row, Table, retention
from analysis.tables.text import interval, quoted

LINE = 0.34  # height of one variant's line, in inches
AROUND = 1.5  # height of title, axis and its label
WIDE = 30  # letters of a name before it is broken


@dataclass(frozen=True)
class Line:
    """A line of the plot: a name, its colour, a value with its interval, each seed's own value.

    `low` and `high` are None where there is no interval; `said` stands beside the line.
    """

    name: str
    colour: str
    mean: float
    low: float | None
    high: float | None
    said: str
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
            if d := row.difference:
                seeds = [ours - base for ours, base in _pairs(table, row)]
                within = f"({interval(d)})  " if d.low is not None else ""
                said = f"{d.mean:+.2f}  {within}{d.verdict}"
                lines.append(Line(row.variant, colour, d.mean, d.low, d.high, said, seeds))
        method = table.comparison.method
        what = f"{table.measure.label} minus that of {quoted(baseline)} (percentage points){note}"
        over = " over all looks" if table.comparison.looks else ""
        how = f"95 % intervals ({method}){over}, " if method else ""
        xlabel = f"{what}\n{how}{table.span}; small dots: one seed"
        figure, axes = draw(lines, table.sweep.question)
        axes.axvline(0, color="black", linewidth=1, zorder=1)
        if margin := table.sweep.margin_pp:
            axes.axvspan(-margin, margin, color="0.5", alpha=0.15, linewidth=0, zorder=0)
            xlabel += f"; grey: the margin of ±{margin:g}"
        axes.set_xlabel(xlabel)
        return figure


def kept(table: Table) -> Figure:
    """What each variant keeps of the baseline's accuracy, and the part that the sweep asks for.

    Dots are the ratios within each seed. An interval without an end leaves the picture.
    """
    found, part = retention.retained(table), table.sweep.at_least
    assert part is not None
    with style():
        lines = []
        # all of them: those with the lowest accuracies are those that do not keep
        for row, colour in zip(table.rows, colours(table, table.rows), strict=True):
            if r := found.get(row.variant):
                seeds = [ours / base for ours, base in _pairs(table, row) if base]
                said = f"{r.ratio:.3f}  ({retention.interval(r)})  {r.verdict}"
                low, high = r.low or 0.0, WIDEST if r.high is None else r.high
                lines.append(Line(row.variant, colour, r.ratio, low, high, said, seeds))
        figure, axes = draw(lines, table.sweep.question)
        axes.axvline(part, color="black", linewidth=1, zorder=1)
        inside = [part]
        for line in lines:
            ends = [x for x in (line.low, line.high) if x is not None and x < WIDEST]
            inside += [line.mean, *line.seeds, *ends]
        room = 0.05 * (max(inside) - min(inside)) or 0.05
        axes.set_xlim(min(inside) - room, max(inside) + room)
        axes.set_xlabel(
            f"{table.measure.label} as a part of {quoted(table.sweep.baseline)}'s; "
            f"line: the {part:g} that is asked for; small dots: one seed\n"
            f"intervals: 95 % each (Fieller); verdicts: one-sided 95 %, by Holm; {table.span}"
        )
        return figure


def _pairs(table: Table, row: Row) -> Sequence[tuple[float, float]]:
    """(the variant's score, the baseline's) of each seed that both have."""
    base = table.scores[table.sweep.baseline]
    return [(x, base[seed]) for seed, x in table.scores[row.variant].items() if seed in base]


def draw(lines: list[Line], title: str) -> tuple[Figure, Axes]:
    """The lines from above to below; what the horizontal axis is, its caller says."""
    width = plt.rcParams["figure.figsize"][0]
    heights = [wrap(line.name, WIDE).count("\n") + 1 for line in lines]
    figure, axes = plt.subplots(figsize=(width, AROUND + LINE * max(2, sum(heights))))
    at, places = 0.0, []
    for line, height in zip(lines, heights, strict=True):
        places.append(at + (height - 1) / 2)
        at += height
        _line(axes, places[-1], line)
    axes.set_yticks(places, [wrap(line.name, WIDE) for line in lines])
    for name, line in zip(axes.get_yticklabels(), lines, strict=True):
        name.set_color(line.colour)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(False, axis="y")
    axes.set_ylim(at - 0.5, -0.6)
    axes.set_title(wrap(title, 80), loc="left")
    return figure, axes


def _line(axes: Axes, y: float, line: Line) -> None:
    axes.plot(line.seeds, [y + 0.22] * len(line.seeds), ".", color=line.colour, alpha=0.45, ms=4)
    if line.low is not None and line.high is not None:
        ends = [line.low, line.high]
        axes.plot(ends, [y, y], color=line.colour, linewidth=2, solid_capstyle="butt")
    axes.plot([line.mean], [y], "s", color=line.colour, markersize=6, zorder=3)
    axes.annotate(
        line.said,
        (1.02, y),
        xycoords=("axes fraction", "data"),
        fontsize="small",
        va="center",
    )
