"""The additive model of a complete layout: score = variant + seed + rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Scores = Mapping[str, Mapping[int, float]]  # variant -> seed -> per cent


@dataclass(frozen=True)
class Additive:
    """The fit: `values` (variants, seeds), residual mean square and its degrees of freedom.

    `icc` is the share of the variance that is the seeds'.
    """

    values: np.ndarray
    mse: float
    df: int
    icc: float


def additive(scores: Scores) -> Additive:
    """The least-squares fit of variant + seed; every variant has the same seeds."""
    seeds = sorted(next(iter(scores.values())))
    y = np.stack([_row(found, seeds) for found in scores.values()])
    k, n = y.shape
    rows, columns, mean = y.mean(1, keepdims=True), y.mean(0, keepdims=True), y.mean()
    df = (k - 1) * (n - 1)
    mse = float(((y - rows - columns + mean) ** 2).sum() / df) if df else 0.0
    if mse <= 1e-12 * max(1.0, float(mean) ** 2):  # nothing but rounding
        mse = 0.0
    between = k * float(((columns - mean) ** 2).sum()) / (n - 1) if n > 1 else 0.0
    total = between + (k - 1) * mse
    return Additive(y, mse, df, max(0.0, (between - mse) / total) if total > 0 else 0.0)


def _row(found: Mapping[int, float], seeds: list[int]) -> np.ndarray:
    return np.array([found[seed] for seed in seeds])
