"""Which classes a variant knows and which it mistakes: per-class scores over the seeds, and the confusion matrix.

Everything starts from true and predicted class numbers, one pair of arrays (n,) per seed, all of the same images in the same order.
Shares are in per cent. scikit-learn counts; means and deviations are over seeds.
"""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from analysis.figures import STYLE, plt
from analysis.stats.comparison import Summary, summarise

Pairs = Sequence[
    tuple[np.ndarray, np.ndarray]
]  # per seed: true classes (n,), predicted classes (n,)
MACRO = "macro"
READABLE = 20  # up to so many classes every cell has its number


@dataclass(frozen=True)
class Score:
    """One class, or the plain mean over all of them (`name` "macro"): its number of images, and scores in per cent over the seeds."""

    name: str
    support: int
    precision: Summary
    recall: Summary
    f1: Summary


def scores(pairs: Pairs) -> list[Score]:
    """A score for every class that has images, in their order, and last the macro average.

    A class that a seed never predicts has precision and F1 of 0 in that seed, as scikit-learn has it. The macro average is taken within a
    seed, then over seeds, so that its deviation is between trainings.

    Raises:
        ValueError: no pairs, arrays of different lengths, or other true classes in another seed.
    """
    truth = _truth(pairs)
    present, support = np.unique(truth, return_counts=True)
    per_seed = [
        precision_recall_fscore_support(
            truth,
            p,
            labels=present,
            average=None,
            zero_division=0,  # type: ignore[arg-type]
        )[:3]
        for _, p in pairs
    ]
    values = 100 * np.array(per_seed)  # (seeds, 3, classes)
    per_class = [
        _score(str(c), n, values[:, :, i])
        for i, (c, n) in enumerate(zip(present, support, strict=True))
    ]
    return [*per_class, _score(MACRO, len(truth), values.mean(2))]


def to_csv(table: Sequence[Score]) -> str:
    """One line per score: class, support, n (seeds), then mean and sd of each share in per cent; no sd for one seed."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    shares = ("precision", "recall", "f1")
    writer.writerow(
        [
            "class",
            "support",
            "n",
            *(f"{share}_{part}" for share in shares for part in ("mean", "sd")),
        ]
    )
    for score in table:
        pairs = [getattr(score, share) for share in shares]
        writer.writerow(
            [
                score.name,
                score.support,
                score.f1.n,
                *(_text(x) for s in pairs for x in (s.mean, s.sd)),
            ]
        )
    return out.getvalue()


def confusion(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """(classes (k,), per cent (k, k)): of the images of the row's class, how many were taken for the column's, the mean over seeds.

    The classes are all that occur, true or predicted. A row without images has nothing to take a share of: it is nan.

    Raises:
        ValueError: as `scores`.
    """
    truth = _truth(pairs)
    classes = np.unique(np.concatenate([truth, *(predicted for _, predicted in pairs)]))
    counts = np.array(
        [confusion_matrix(truth, predicted, labels=classes) for _, predicted in pairs]
    )  # (seeds, k, k)
    images = counts.sum(2, keepdims=True).astype(float)
    return classes, (100 * counts / np.where(images, images, np.nan)).mean(0)


def figure(pairs: Pairs, title: str) -> Figure:
    """The confusion matrix as a picture, with the most frequent mistakes in words below; `title` says of what."""
    classes, shares = confusion(pairs)
    k = len(classes)
    with plt.style.context([STYLE, {"axes.grid": False}]):
        side = 6.2 if k <= READABLE else 8.0
        drawing, axes = plt.subplots(figsize=(side + 1, side + 0.6), layout="constrained")
        # the root spreads the few per cent of a mistake over enough of the scale to be seen beside the diagonal
        picture = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 100))
        axes.spines[:].set_visible(False)
        _ticks(axes, classes)
        if k <= READABLE:
            _numbers(axes, shares)
        bar = drawing.colorbar(picture, ax=axes, shrink=0.8, ticks=[0, 1, 5, 10, 25, 50, 75, 100])
        bar.set_label("% of the true class's images (square-root scale)")
        axes.set(xlabel="predicted class", ylabel="true class")
        axes.set_title(
            textwrap.fill(title, round(13 * side)), fontsize="medium", loc="left", parse_math=False
        )
        drawing.supxlabel(
            textwrap.fill(_words(classes, shares), round(16 * side)),
            fontsize="small",
            x=0.01,
            ha="left",
            parse_math=False,
        )
        return drawing


def _truth(pairs: Pairs) -> np.ndarray:
    if not pairs:
        raise ValueError(
            "`pairs` is empty: at least one seed's true and predicted classes are needed"
        )
    truth = np.asarray(pairs[0][0])
    for i, (labels, predicted) in enumerate(pairs):
        if np.shape(labels) != np.shape(predicted):
            raise ValueError(
                f"`pairs[{i}]` has {len(labels)} true and {len(predicted)} predicted classes; give one of each per image"
            )
        if not np.array_equal(labels, truth):
            raise ValueError(
                f"`pairs[{i}]` has other true classes than `pairs[0]`; give the same images in the same order for every seed"
            )
    return truth


def _score(name: str, support: int, values: np.ndarray) -> Score:
    """From (seeds, 3): precision, recall and F1."""
    precision, recall, f1 = (_summary(column) for column in values.T)
    return Score(name, int(support), precision, recall, f1)


def _summary(values: np.ndarray) -> Summary:
    summary = summarise(values.tolist())
    assert summary
    return summary


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _ticks(axes: Axes, classes: np.ndarray) -> None:
    step = 1 if len(classes) <= READABLE else 5 if len(classes) <= 100 else len(classes) // 20
    places = range(0, len(classes), step)
    axes.set_xticks(places, [str(classes[i]) for i in places], fontsize="small")
    axes.set_yticks(places, [str(classes[i]) for i in places], fontsize="small")


def _numbers(axes: Axes, shares: np.ndarray) -> None:
    """Each share in its cell, but for zeros: an empty cell reads faster."""
    for (i, j), share in np.ndenumerate(shares):
        if share > 0:
            text = f"{share:.0f}" if share >= 1 else "<1"
            axes.text(
                j,
                i,
                text,
                ha="center",
                va="center",
                fontsize="small",
                color="white" if share > 30 else "black",
            )


def _words(classes: np.ndarray, shares: np.ndarray, most: int = 5) -> str:
    mistakes = np.nan_to_num(shares)
    np.fill_diagonal(mistakes, 0)
    ranked = [
        np.unravel_index(i, mistakes.shape)
        for i in np.argsort(-mistakes, axis=None, kind="stable")[:most]
    ]
    # no-break spaces, so that no line begins with the sign
    named = [
        f"{classes[i]} taken for {classes[j]} ({mistakes[i, j]:.1f}\u00a0%)"
        for i, j in ranked
        if mistakes[i, j] > 0
    ]
    return f"Most frequent mistakes: {', '.join(named)}." if named else "No mistakes."
