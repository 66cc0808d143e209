"""The door for runners.inspect: arrays come in; tables, figures and lines to print go out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from analysis.figures import confusion, features, save
from analysis.figures.features import Side
from analysis.stats import Summary, summarise
from analysis.stats.classes import scores
from analysis.stats.redundancy import constant, redundancy
from analysis.tables.classes import to_csv

__all__ = ["Side", "constant", "redundancy", "seen", "write_classes", "write_features"]


def write_classes(
    variant: str,
    pairs: Mapping[int, tuple[np.ndarray, np.ndarray]],
    dataset: str,
    epochs: int,
    folder: Path,
) -> tuple[str, list[Path]]:
    """Write per-class scores and the confusion matrix of one variant.

    Args:
        pairs: seed -> (true, predicted) classes, (n,) each, of the same images in the same order.
        dataset, epochs: what the variant was trained on, and for how long.

    Returns:
        (a line with the macro F1, the files).
    """
    found = [*pairs.values()]
    table = scores(found)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"classes-{_stem(variant)}.csv"
    path.write_text(to_csv(table), encoding="utf-8")
    seeds = f"{len(pairs)} seed{'s' if len(pairs) > 1 else ''} ({', '.join(map(str, pairs))})"
    macro = table[-1]
    line = (
        f"{variant}: macro F1 {_plus_minus(macro.f1, '.2f', ' %')}; "
        f"{macro.support} test images of {dataset}, {seeds}"
    )
    title = (
        f"{variant}: test set of {dataset}, {epochs} epochs, mean over {seeds}; "
        f"macro F1 {macro.f1.mean:.1f} %"
    )
    drawn = save(confusion.figure(found, title), folder / f"confusion-{_stem(variant)}")
    return line, [path, *drawn]


def seen(side: Side, shares: list[float]) -> str:
    """A line: how redundant a variant's maps are, and how many channels are constant.

    `shares` are those of the seeds.
    """
    flat = 100 * sum(shares) / len(shares)
    alike = _plus_minus(summarise([*side.redundancy.values()]), ".3f")
    return (
        f"{side.variant}: redundancy {alike}, {flat:.1f} % of the channels constant; "
        f"first stage, {side.images} test images"
    )


def write_features(
    image: np.ndarray, left: Side, right: Side, caption: str, folder: Path
) -> tuple[str, list[Path]]:
    """Draw two variants' maps of one image, bytes (h, w, 3), side by side.

    Returns:
        (a line with their difference in redundancy, right minus left, the files).
    """
    # a seed is a block: only seeds of both sides are compared
    both = [s for s in right.redundancy if s in left.redundancy]
    difference = summarise([right.redundancy[s] - left.redundancy[s] for s in both])
    line = (
        f"{right.variant} - {left.variant}: "
        f"redundancy {_plus_minus(difference, '+.3f')}, paired by seed"
    )
    stem = f"features-{_stem(left.variant)}-{_stem(right.variant)}"
    return line, save(features.figure(image, left, right, caption), folder / stem)


def _plus_minus(summary: Summary | None, form: str, unit: str = "") -> str:
    assert summary  # there is at least one finished trial
    sd = f" ± {summary.sd:{form.lstrip('+')}}" if summary.sd is not None else ""
    return f"{summary.mean:{form}}{sd}{unit} (n={summary.n})"


def _stem(variant: str) -> str:
    """A variant's name as a part of a file's: letters that shells or file systems interpret go."""
    return re.sub(r"[^\w.+=,-]+", "_", variant)
