"""Which classes a variant knows and which it mistakes: per-class scores and the confusion matrix.

Everything starts from true and predicted class numbers, one pair of arrays (n,) per seed, all of
the same images in the same order. Shares are in per cent. scikit-learn counts; means and deviations
are over seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.stats.summary import Summary, summarise

# per seed: true classes (n,), predicted classes (n,)
Pairs = Sequence[tuple[np.ndarray, np.ndarray]]
MACRO, WEIGHTED = "macro", "weighted"


@dataclass(frozen=True)
class Score:
    """One class, or a mean over all of them, in per cent over the seeds.

    `name`: "macro" is the plain mean, "weighted" the one by the classes' images.

    `support` is its number of images.
    """

    name: str
    support: int
    precision: Summary
    recall: Summary
    f1: Summary


def scores(pairs: Pairs) -> list[Score]:
    """A score for every class that has images, in their order, and last the macro average.

    A class that a seed never predicts has precision and F1 of 0 in that seed, as scikit-learn has
    it. The macro average is taken within a seed, then over seeds, so that its deviation is between
    trainings.

    Raises:
        ValueError: no pairs, arrays of different lengths, or other true classes in another seed.
    """
    present, support, values = _by_class(pairs)
    table = []
    for i, (number, images) in enumerate(zip(present, support, strict=True)):
        table.append(_score(str(number), images, values[:, :, i]))
    return [*table, _score(MACRO, support.sum(), values.mean(2))]


def weighted(pairs: Pairs) -> Score:
    """The average over classes, each weighted by its images, within a seed; then over seeds.

    Raises:
        ValueError: as `scores`.
    """
    _, support, values = _by_class(pairs)
    return _score(WEIGHTED, support.sum(), np.average(values, axis=2, weights=support))


def _by_class(pairs: Pairs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes that have images (k,), their images (k,), and precision, recall and F1 in per cent:
    (seeds, 3, k).
    """
    # a second that a report without classes does not need
    from sklearn.metrics import precision_recall_fscore_support

    truth = _truth(pairs)
    present, support = np.unique(truth, return_counts=True)
    per_seed = []
    for _, predicted in pairs:
        found = precision_recall_fscore_support(
            truth,
            predicted,
            labels=present,
            average=None,
            zero_division=0,  # type: ignore[arg-type]
        )
        per_seed.append(found[:3])
    values = 100 * np.array(per_seed)  # (seeds, 3, classes)
    return present, support, values


def confusion(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """(classes (k,), shares (k, k)): of the row's images, how many were taken for the column's.

    Shares are in per cent, the mean over seeds. The classes are all that occur, true or predicted.
    A row without images has nothing to take a share of: it is nan.

    Raises:
        ValueError: as `scores`.
    """
    from sklearn.metrics import confusion_matrix

    truth = _truth(pairs)
    classes = np.unique(np.concatenate([truth, *(predicted for _, predicted in pairs)]))
    matrices = [confusion_matrix(truth, predicted, labels=classes) for _, predicted in pairs]
    counts = np.array(matrices)  # (seeds, k, k)
    images = counts.sum(2, keepdims=True).astype(float)
    return classes, (100 * counts / np.where(images, images, np.nan)).mean(0)


def _truth(pairs: Pairs) -> np.ndarray:
    if not pairs:
        raise ValueError(
            "`pairs` is empty: at least one seed's true and predicted classes are needed"
        )
    truth = np.asarray(pairs[0][0])
    for i, (labels, predicted) in enumerate(pairs):
        if np.shape(labels) != np.shape(predicted):
            raise ValueError(
                f"`pairs[{i}]` has {len(labels)} true and {len(predicted)} predicted classes; "
                "give one of each per image"
            )
        if not np.array_equal(labels, truth):
            raise ValueError(
                f"`pairs[{i}]` has other true classes than `pairs[0]`; "
                "give the same images in the same order for every seed"
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
