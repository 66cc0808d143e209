"""The confusion matrix as a picture."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from analysis.figures.drawing import plt, style
from analysis.stats.classes import Pairs, confusion

READABLE = 20  # up to so many classes every cell has its number


def figure(pairs: Pairs, title: str) -> Figure:
    """The confusion matrix, with the most frequent mistakes in words below; `title` is above it.

    Raises:
        ValueError: as `confusion`.
    """
    classes, shares = confusion(pairs)
    k = len(classes)
    with style(**{"axes.grid": False}):
        side = 6.2 if k <= READABLE else 8.0
        drawing, axes = plt.subplots(figsize=(side + 1, side + 0.6), layout="constrained")
        # the root spreads the few per cent of a mistake over enough of the scale to be seen beside
        # the diagonal
        picture = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 100))
        axes.spines[:].set_visible(False)
        _ticks(axes, classes)
        if k <= READABLE:
            _numbers(axes, shares)
        bar = drawing.colorbar(picture, ax=axes, shrink=0.8, ticks=[0, 1, 5, 10, 25, 50, 75, 100])
        bar.set_label("% of the true class's images (square-root scale)")
        axes.set(xlabel="predicted class", ylabel="true class")
        above = textwrap.fill(title, round(13 * side))
        axes.set_title(above, fontsize="medium", loc="left")
        drawing.supxlabel(
            textwrap.fill(_words(classes, shares), round(16 * side)),
            fontsize="small",
            x=0.01,
            ha="left",
        )
        return drawing


def _ticks(axes: Axes, classes: np.ndarray) -> None:
    step = 1 if len(classes) <= READABLE else 5 if len(classes) <= 100 else len(classes) // 20
    places = range(0, len(classes), step)
    names = [str(classes[i]) for i in places]
    axes.set_xticks(places, names, fontsize="small")
    axes.set_yticks(places, names, fontsize="small")


def _numbers(axes: Axes, shares: np.ndarray) -> None:
    """Each share in its cell, but for zeros: an empty cell reads faster."""
    for (i, j), share in np.ndenumerate(shares):
        if share > 0:
            text = f"{share:.0f}" if share >= 1 else "<1"
            colour = "white" if share > 30 else "black"
            axes.text(j, i, text, ha="center", va="center", fontsize="small", color=colour)


def _words(classes: np.ndarray, shares: np.ndarray, most: int = 5) -> str:
    mistakes = np.nan_to_num(shares)
    np.fill_diagonal(mistakes, 0)
    named = []
    for place in np.argsort(-mistakes, axis=None, kind="stable")[:most]:
        i, j = np.unravel_index(place, mistakes.shape)
        if mistakes[i, j] > 0:
            # a no-break space, so that no line begins with the sign
            named.append(f"{classes[i]} taken for {classes[j]} ({mistakes[i, j]:.1f}\u00a0%)")
    return f"Most frequent mistakes: {', '.join(named)}." if named else "No mistakes."
