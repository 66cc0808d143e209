"""Figures of a sweep, each as SVG and PNG: accuracy over the epochs, and accuracy against cost."""

from __future__ import annotations

import statistics
import textwrap
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.tables import Row
from runners.plan import Sweep

# Okabe and Ito's colours, that colour-blind readers can tell apart; the baseline is black
COLOURS = ["#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#F0E442"]
STYLE: dict[Any, Any] = {
    "figure.figsize": (6.4, 4.0),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "svg.hashsalt": "x",
}


def curves(sweep: Sweep, table: list[Row]) -> Figure:
    """Accuracy over the epochs: the mean over finished trials, and the range over seeds as a band."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(layout="constrained")
        with_val = all(e.val_top1 is not None for row in table for r in row.records for e in r.epochs)
        for row, colour in zip(table, _colours(sweep, table), strict=True):
            series = [[e.val_top1 if e.val_top1 is not None and with_val else e.train_top1 for e in r.epochs] for r in row.records]
            if series:
                epochs, columns = range(1, len(series[0]) + 1), list(zip(*series, strict=True))
                axes.plot(epochs, [statistics.fmean(c) for c in columns], color=colour, label=_wrap(f"{row.variant} (n={len(series)})"))
                axes.fill_between(epochs, [min(c) for c in columns], [max(c) for c in columns], color=colour, alpha=0.12, linewidth=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", ylabel=f"{'validation' if with_val else 'training'} top-1 (%)")
        _finish(axes, sweep)
        return figure


def tradeoff(sweep: Sweep, table: list[Row]) -> Figure:
    """Test accuracy against multiply-adds: every seed a dot, every variant its mean; the cells of a one-factor sweep joined."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(layout="constrained")
        line = []
        for row, colour in zip(table, _colours(sweep, table), strict=True):
            if not row.top1:
                continue
            results = [r.result for r in row.records if r.result]
            x = results[0].macs / 1e6
            axes.scatter([x] * len(results), [r.test_top1 for r in results], s=12, color=colour, alpha=0.5)
            axes.scatter([x], [row.top1.mean], s=48, color=colour, marker="D", label=_wrap(f"{row.variant} (n={row.top1.n})"), zorder=3)
            if "=" in row.variant:
                line.append((x, row.top1.mean))
        if len(sweep.factors) == 1:
            axes.plot(*zip(*sorted(line), strict=True) if line else ((), ()), color="#777777", linewidth=1, zorder=1)
        axes.set(xlabel="multiply-adds per image (millions)", ylabel="test top-1 (%)")
        _finish(axes, sweep)
        return figure


def _finish(axes: Axes, sweep: Sweep) -> None:
    axes.set_title(_wrap(sweep.question), fontsize="medium", loc="left")
    axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))  # beside the data, never on it


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem`.svg and `stem`.png."""
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("svg", "png")]
    for path in paths:
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
    return paths


def _colours(sweep: Sweep, table: list[Row]) -> list[str]:
    others = iter(range(len(table)))
    return ["black" if row.variant == sweep.baseline else COLOURS[next(others) % len(COLOURS)] for row in table]


def _wrap(text: str) -> str:
    return "\n".join(textwrap.wrap(text, 70)).replace("$", r"\$")  # matplotlib reads mathematics between dollars
