"""Accuracy against what it costs: the SCConv paper's Figure 4."""

from __future__ import annotations

from collections import defaultdict

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from analysis.figures.drawing import colours, fewer, listed, plt, style, wrap
from analysis.figures.letters import unwarned
from analysis.tables import Row, Table
from runners.store import label

LONG = 24  # letters of a name that no longer stands at its point
# what accuracy may be drawn against -> (axis label, its unit's size, whether less is better)
AXES = {
    "macs": ("multiply-adds per image (millions)", 1e6, True),
    "params": ("parameters (millions)", 1e6, True),
    "images_per_s": ("training speed (images/s)", 1, False),
    "peak_memory_gb": ("peak memory (GB)", 1, True),
    "minutes": ("training time (minutes)", 1, True),
}
HOLLOW = {
    "marker": "D",
    "markersize": 6,
    "markerfacecolor": "none",
    "color": "0.45",
    "linestyle": "none",
}


def tradeoff(table: Table, x: str = "macs") -> Figure:
    """Test accuracy with its 95 % interval against a cost, a label at each variant.

    The Pareto front is a line, the paper's points are hollow.

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
        beside = dict(zip(places, _beside([cost for cost, _ in places.values()]), strict=True))
        far = [row.variant for row in rows if len(row.variant) > LONG]
        numbers = {variant: f"({i + 1})" for i, variant in enumerate(far)}
        for row, colour in zip(rows, colours(table, rows), strict=True):
            name = numbers.get(row.variant, row.variant)
            _point(axes, row, beside[row.variant], colour, name)
        _front(axes, pareto(places, less_is_better=less), places, beside)
        if x in ("macs", "params") and any(row.printed for row in rows):
            _printed(axes, rows, x)
        axes.set(xlabel=f"{axis}{note}", ylabel=f"test {label(table.primary)} (%)")
        axes.set_title(wrap(table.sweep.question, 80))
        axes.margins(x=0.12, y=0.1)
        _legend(axes)
        listed(axes, [f"{number} {variant}" for variant, number in numbers.items()])
        _apart(axes)
        return figure


def _legend(axes: Axes) -> None:
    """With an entry for the points, which are drawn without one."""
    what = "mean, 95 % interval, seeds;\none cost: side by side"
    axes.errorbar([], [], yerr=[], color="0.3", marker="o", linestyle="none", label=what)
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


def _front(
    axes: Axes,
    front: list[str],
    places: dict[str, tuple[float, float]],
    beside: dict[str, float],
) -> None:
    if len(front) < 2:
        return
    axes.plot(
        [beside[v] for v in front],
        [places[v][1] for v in front],
        color="0.6",
        linewidth=1,
        linestyle="--",
        zorder=1,
        label="Pareto front of the means",
    )


def _point(axes: Axes, row: Row, x: float, colour: str, name: str) -> None:
    """A variant: its seeds as dots, mean and interval, and its name."""
    assert row.score
    mean = row.score.mean
    seeds = [r.result.score for r in row.records if r.result]
    axes.scatter([x] * len(seeds), seeds, s=8, color=colour, alpha=0.4)
    # a single seed, and seeds that do not differ, have no interval
    low = max(mean if row.score.low is None else row.score.low, 0)
    high = min(mean if row.score.high is None else row.score.high, 100)
    axes.errorbar(
        [x],
        [mean],
        yerr=[[mean - low], [high - mean]],
        color=colour,
        marker="o",
        markersize=5,
        capsize=2,
        zorder=3,
    )
    axes.annotate(
        wrap(name, 30),
        (x, high),
        (0, 4),
        textcoords="offset points",
        fontsize="small",
        color=colour,
        ha="center",
    )


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


def _beside(xs: list[float]) -> list[float]:
    """The places of points along the cost axis; those of (nearly) one cost stand side by side."""
    if not xs:
        return []
    # points of one cost would hide one another
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
    """The paper's figures, on an axis of their own.

    It was another training, so only the points' places to each other compare.
    """
    other = axes.twinx()
    for row in rows:
        if not row.printed:
            continue
        at = row.printed.flops_m if x == "macs" else row.printed.params_m
        ours = float(row.mean(x) or 1) / AXES[x][1]
        # another network's cost would shrink the measured points into a corner
        if not 0.5 < at / ours < 2:
            continue
        other.plot([at], [row.printed.top1], **HOLLOW)  # type: ignore[arg-type]
        other.annotate(
            wrap(row.variant, 30),
            (at, row.printed.top1),
            (5, -9),
            textcoords="offset points",
            fontsize="x-small",
            color="0.45",
        )
    if not other.lines:
        other.remove()
        return
    other.set_ylabel("paper's top-1 (%)", color="0.45")
    other.tick_params(colors="0.45")
    other.grid(False)
    other.margins(y=0.25)
    axes.plot([], [], label="paper (right axis)", **HOLLOW)  # type: ignore[arg-type]
