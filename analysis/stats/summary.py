"""One variant's scores in figures: mean, standard deviation, and the interval of the mean."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

LEVEL = 0.95  # of every interval


@dataclass(frozen=True)
class Summary:
    """`sd` is the sample's (n - 1); `low` and `high` bound the mean by Student's t.

    One value, and values that do not differ, have no bounds.
    """

    n: int
    mean: float
    sd: float | None
    low: float | None = None
    high: float | None = None


def summarise(values: Sequence[float]) -> Summary | None:
    """None for no values."""
    if not values:
        return None
    n, mean = len(values), statistics.fmean(values)
    if n == 1:
        return Summary(1, mean, None)
    sd = statistics.stdev(values)
    if sd == 0:
        return Summary(n, mean, sd)
    half = float(special.stdtrit(n - 1, (1 + LEVEL) / 2)) * sd / math.sqrt(n)
    return Summary(n, mean, sd, mean - half, mean + half)


@dataclass(frozen=True)
class Spread:
    """A mean with its standard error and its degrees of freedom."""

    mean: float
    error: float
    df: float


def seeds_by_images(values: np.ndarray) -> Summary | None:
    """The mean of (seeds, images) with an interval for other seeds AND other test images.

    None for one seed or one image.
    """
    n, m = values.shape
    if n < 2 or m < 2:
        return None
    found = two_way(values)
    half = float(special.stdtrit(found.df, (1 + LEVEL) / 2)) * found.error if found.error else 0.0
    return Summary(n, found.mean, found.error, found.mean - half, found.mean + half)


def two_way(values: np.ndarray) -> Spread:
    """The mean of (seeds, images), both random in a two-way layout.

    Its variance is (MS_seeds + MS_images - MS_rest) / (seeds images), its degrees of freedom are
    Satterthwaite's. There are at least two of each.
    """
    n, m = values.shape
    rows, columns, mean = values.mean(1), values.mean(0), float(values.mean())
    seeds = m * float(((rows - mean) ** 2).sum()) / (n - 1)
    images = n * float(((columns - mean) ** 2).sum()) / (m - 1)
    total = float(((values - mean) ** 2).sum())
    rest = max(0.0, total - seeds * (n - 1) - images * (m - 1)) / ((n - 1) * (m - 1))
    # the difference of mean squares may come out too small, so either alone is a lower bound
    variance = max(seeds + images - rest, seeds, images) / (n * m)
    if variance == 0:
        return Spread(mean, 0.0, 1.0)
    parts = seeds**2 / (n - 1) + images**2 / (m - 1) + rest**2 / ((n - 1) * (m - 1))
    df = (seeds + images - rest) ** 2 / parts
    return Spread(mean, math.sqrt(variance), max(df, 1.0))
