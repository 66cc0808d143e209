"""Accuracy against what it costs: the SCConv paper's Figure 4."""

from __future__ import annotations

from collections import defaultdict

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import ScaledTranslation, Transform

from analysis.figures.drawing import colours, fewer, listed, plt, style, wrap
from analysis.figures.letters import unwarned
from analysis.tables import Row, Table
from analysis.tables.table import OTHER_PROTOCOL

LONG = 24  # letters of a name that no longer stands at its point
# what accuracy may be drawn against -> (axis label, its unit's size, whether less is better)
AXES = {
    "macs": ("multiply-adds per image (millions)", 1e6, True),
    "params": ("parameters (millions)", 1e6, True),
    "images_per_s": ("training speed (images/s)", 1, False),
    "peak_memory_gb": ("peak memory (GB)", 1, True),
    "minutes": ("training time (minutes)", 1, True),
}
LEAST = 0.1  # of the dearest cost, that the axis spans
SIDE = 7  # points on paper between markers of variants that cost the same
ROW = 35  # points on paper that a row of such markers may take
HOLLOW = {
    "marker": "D",
    "markersize": 6,
    "markerfacecolor": "none",
    "color": "0.45",
    "linestyle": "none",
}


def tradeoff(table: Table, x: str = "macs") -> Figure:
    """Test accuracy with its 95 % interval against a cost, a label at each variant.

    Every variant stands at its own cost; markers that would cover one another are moved on paper,
    by their own width, or by less where a row of them would be longer than ROW. The Pareto front is
    a line. The paper's points are hollow, and are there for the variants whose training was the
    paper's.

    Args:
        x: a key of AXES.
    """
    axis, unit, less = AXES[x]
    with style():
        figure, axes = plt.subplots()
        places = {
            row.variant: (float(row.mean(x) or 0) / unit, row.score.mean)
            for row in table.rows
            if row.score
        }
        rows, note = fewer(table)
        # those without a colour stay in sight as grey dots
        if note:
            axes.scatter(*zip(*places.values(), strict=True), s=6, color="0.75", zorder=0)
        shown = [row.variant for row in rows]
        beside = dict(zip(shown, _beside([places[v][0] for v in shown]), strict=True))
        far = [row.variant for row in rows if len(row.variant) > LONG]
        numbers = {variant: f"({i + 1})" for i, variant in enumerate(far)}
        for row, colour in zip(rows, colours(table, rows), strict=True):
            name = numbers.get(row.variant, row.variant)
            seeds, at = [*table.scores[row.variant].values()], places[row.variant][0]
            _point(axes, row, seeds, at, beside[row.variant], colour, name)
        _front(axes, pareto(places, less_is_better=less), places)
        if x in ("macs", "params"):
            _printed(axes, rows, x)
        axes.set(xlabel=f"{axis}{note}", ylabel=f"test {table.measure.label} (%)")
        axes.set_title(wrap(table.sweep.question, 80))
        axes.margins(x=0.12, y=0.1)
        _widen(axes, [cost for cost, _ in places.values()])
        _legend(axes, rows)
        listed(axes, [f"{number} {variant}" for variant, number in numbers.items()])
        _apart(axes)
        return figure


def costs_differ(table: Table, x: str) -> bool:
    """Whether there is a cost to weigh: not all of several variants with a score cost the same."""
    costs = [row.mean(x) for row in table.rows if row.score]
    return len({*costs}) > 1 or len(costs) == 1


def _legend(axes: Axes, rows: list[Row]) -> None:
    """With an entry for the points, which are drawn without one."""
    spread = any(row.score and row.score.low is not None for row in rows)
    what = "mean, 95 % interval, seeds" if spread else "one seed"
    yerr = [] if spread else None
    axes.errorbar([], [], yerr=yerr, color="0.3", marker="o", linestyle="none", label=what)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3)


def pareto(places: dict[str, tuple[float, float]], *, less_is_better: bool = True) -> list[str]:
    """The variants that no other beats in cost or accuracy without losing in the other.

    From cheap to dear.

    Args:
        places: variant -> (cost, accuracy).
    """
    sign = 1 if less_is_better else -1
    front: list[str] = []
    best = float("-inf")
    for v in sorted(places, key=lambda v: (sign * places[v][0], -places[v][1])):
        if places[v][1] > best:
            front.append(v)
            best = places[v][1]
    return front


def _front(axes: Axes, front: list[str], places: dict[str, tuple[float, float]]) -> None:
    if len(front) < 2:
        return
    axes.plot(
        [places[v][0] for v in front],
        [places[v][1] for v in front],
        color="0.6",
        linewidth=1,
        linestyle="--",
        zorder=1,
        label="Pareto front of the means",
    )


def _point(
    axes: Axes, row: Row, seeds: list[float], x: float, aside: float, colour: str, name: str
) -> None:
    """A variant: its seeds as dots, mean and interval, and its name.

    Args:
        seeds: the scores of the trials.
        aside: how far the marks are moved, in points on paper.
    """
    assert row.score
    mean = row.score.mean
    moved = _moved(axes, aside)
    axes.scatter([x] * len(seeds), seeds, s=8, color=colour, alpha=0.4, transform=moved)
    # a single seed, and seeds that do not differ, have no interval
    low = max(mean if row.score.low is None else row.score.low, 0)
    high = min(mean if row.score.high is None else row.score.high, 100)
    axes.plot([x, x], [low, high], "_-", color=colour, markersize=4, transform=moved)
    axes.plot([x], [mean], "o", color=colour, markersize=5, zorder=3, transform=moved)
    # marks that are moved on paper do not count for the axes' limits by themselves
    axes.update_datalim([(x, y) for y in (low, high, *seeds)])
    axes.autoscale_view()
    axes.annotate(
        wrap(name, 30),
        (x, high),
        (aside, 4),
        textcoords="offset points",
        fontsize="small",
        color=colour,
        ha="center",
    )


def _moved(axes: Axes, points: float) -> Transform:
    """The data's places, moved to the right by so much on paper."""
    figure = axes.get_figure(root=True)
    assert figure
    return axes.transData + ScaledTranslation(points / 72, 0, figure.dpi_scale_trans)


def _apart(axes: Axes) -> None:
    """Raise the names that would be printed over others."""
    # only after a drawing are their places known
    with unwarned():
        axes.figure.canvas.draw()
    placed = []
    for name in axes.texts:
        assert isinstance(name, Annotation)
        for _ in range(8):
            box = name.get_window_extent()
            if not any(box.overlaps(other) for other in placed):
                break
            name.xyann = name.xyann[0], name.xyann[1] + 5
        placed.append(name.get_window_extent())


def _span(xs: list[float]) -> float:
    """What the horizontal axis spans at least: costs that hardly differ must not look apart."""
    return max(max(xs) - min(xs), LEAST * max(xs)) or 1.0


def _widen(axes: Axes, xs: list[float]) -> None:
    """Let the axis span what `_span` says, costs in its middle."""
    if xs and (missing := _span(xs) - (max(xs) - min(xs))) > 0:
        ends = min(xs) - missing / 2, max(xs) + missing / 2
        axes.update_datalim([(x, axes.dataLim.y0) for x in ends])
        axes.autoscale_view()


def _beside(xs: list[float]) -> list[float]:
    """How far each mark is moved, in points on paper: those of (nearly) one cost stand in a row."""
    if not xs:
        return []
    span = _span(xs)
    together: dict[int, list[int]] = defaultdict(list)
    for i, x in enumerate(xs):
        together[round(50 * x / span)].append(i)
    aside = [0.0] * len(xs)
    for group in together.values():
        step = min(SIDE, ROW / max(1, len(group) - 1))
        for rank, i in enumerate(group):
            aside[i] = step * (rank - (len(group) - 1) / 2)
    return aside


def _printed(axes: Axes, rows: list[Row], x: str) -> None:
    """The paper's points, of the variants that were trained as the paper did."""
    drawn = False
    for row in rows:
        if not row.printed or row.against_paper[0] in ("", OTHER_PROTOCOL):
            continue
        at = row.printed.flops_m if x == "macs" else row.printed.params_m
        label = {} if drawn else {"label": "paper"}
        drawn = True
        axes.plot([at], [row.printed.top1], **HOLLOW, **label)  # type: ignore[arg-type]
        axes.annotate(
            wrap(row.variant, 30),
            (at, row.printed.top1),
            (5, -9),
            textcoords="offset points",
            fontsize="x-small",
            color="0.45",
        )
