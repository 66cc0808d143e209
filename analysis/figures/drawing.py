"""The parts that all figures share: style, colours, wrapped text, and how they are written."""

from __future__ import annotations

import contextlib
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import letters
from analysis.tables import Row, Table
from runners.store.colours import colours as by_variant

STYLE = Path(__file__).with_name("style.mplstyle")
MOST = 16  # variants that a reader can distinguish
FEW = 4  # lines below the axes that a figure of usual height has room for
SMALL_LINE = 0.17  # height of a line of small text, in inches


@contextlib.contextmanager
def style(**settings: object) -> Iterator[None]:
    """The figures' style, whatever style the user's own matplotlibrc has."""
    with plt.style.context([STYLE, settings], after_reset=True):
        yield


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem`.svg and `stem`.png, and close the figure."""
    return saved(figure, stem)[0]


def saved(figure: Figure, stem: Path) -> tuple[list[Path], bool]:
    """What `save` does; and whether the figures' own font has all letters, so that the figure would
    be the same with other fonts on this machine.
    """
    svg, png = (stem.with_name(f"{stem.name}.{kind}") for kind in ("svg", "png"))
    # texts that are only made while drawing, such as those at ticks, take their style now
    with style(), letters.unwarned():
        # the layout of a second axis needs one drawing more to come to rest
        figure.canvas.draw()
        missing, own = letters.find_fonts(figure)
        # a browser has fonts that this machine lacks: there the text stays text
        with plt.rc_context({"svg.fonttype": "none"} if missing else {}):
            figure.savefig(svg, metadata={"Date": None})
        letters.spell(figure, missing)
        figure.savefig(png, dpi=150)
    plt.close(figure)
    return [svg, png], own


def wrap(text: str, width: int) -> str:
    """The text in lines of at most `width` letters."""
    if len(text) > width:
        # a cell's name may break between its settings
        text = re.sub(r",(?=\S)", ", ", text)
    return "\n".join(textwrap.wrap(text, width))


def legend_label(text: str) -> str:
    """A label that a legend shows: matplotlib hides those that begin with an underscore."""
    return f" {text}"


def fewer(table: Table) -> tuple[list[Row], str]:
    """At most MOST rows: the baseline and the best others; and a note where some are left out."""
    rows = [row for row in table.rows if row.score]
    if len(rows) <= MOST:
        return rows, ""
    others = [row for row in rows if row.variant != table.sweep.baseline]
    ranked = sorted(others, key=lambda row: -row.score.mean if row.score else 0)
    kept = {table.sweep.baseline, *(row.variant for row in ranked[: MOST - 1])}
    note = f" (in colour: the baseline and the {MOST - 1} best of {len(others)} others)"
    return [row for row in rows if row.variant in kept], note


def colours(table: Table, rows: list[Row]) -> list[str]:
    """One of each row, the same in every figure and in MLflow; the baseline is black."""
    every = [row.variant for row in table.rows]
    # of many variants few are shown, in colours that differ
    names = every if len(every) <= MOST else [row.variant for row in rows]
    found = by_variant(names, table.sweep.baseline)
    return [found[row.variant] for row in rows]


def listed(axes: Axes, names: list[str]) -> None:
    """Names too long to stand at their points, below the legend."""
    if not names:
        return
    text = "\n".join(wrap(name, 90) for name in names)
    axes.annotate(
        text,
        (0, -0.28),
        xycoords="axes fraction",
        fontsize="small",
        va="top",
        linespacing=1.4,
        annotation_clip=False,
    )
    # a longer list gets paper of its own, so that the axes keep their height
    grow(axes, SMALL_LINE * (text.count("\n") + 1 - FEW))


def grow(axes: Axes, inches: float) -> None:
    """Make the figure taller by so much, if it is more than nothing."""
    figure = axes.get_figure(root=True)
    assert figure
    figure.set_figheight(figure.get_figheight() + max(0.0, inches))
