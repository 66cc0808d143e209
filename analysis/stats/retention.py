"""Does a variant keep a part of the baseline's accuracy? Non-inferiority of a ratio.

Judged by the contrast d = t - ratio * r of each seed and test image, where t and r are whether the
variant and the baseline have the image right: its mean is positive where the variant keeps the
ratio. So no ratio of two noisy means is formed (D. Hauschke et al., Stat. Med. 1999). The interval
of the ratio itself is E. C. Fieller's (J. R. Stat. Soc. B 1954): all ratios whose contrast is not
rejected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from analysis.stats.summary import LEVEL, Spread, two_way
from analysis.stats.verdicts import holm

POWER = 0.8
KEEPS, LOSES, OPEN = "keeps", "does not keep", "open"
WIDEST = 10.0  # a ratio beyond this is taken for unbounded
STEPS = 60  # of a bisection


@dataclass(frozen=True)
class Retention:
    """A variant's share of the baseline's accuracy.

    Attributes:
        seeds: that both have; with one, other seeds are not allowed for.
        ratio: of the mean accuracies, and `low` to `high`, its interval; None: unbounded.
        contrast, error: mean of d and its standard error, in percentage points.
        p: one-sided, that the ratio is not kept; by Holm over the variants.
        verdict: KEEPS, LOSES or OPEN, at one-sided 95 %.
        shown: the ratio that this design shows with 80 % power for a variant like the baseline.
    """

    seeds: int
    ratio: float
    low: float | None
    high: float | None
    contrast: float
    error: float
    p: float
    verdict: str
    shown: float


def retention(
    right: Mapping[str, tuple[np.ndarray, np.ndarray]], ratio: float
) -> dict[str, Retention]:
    """Every variant against `ratio` of the baseline.

    Args:
        right: variant -> whether it has each image right, and whether the baseline has; (seeds,
            images) booleans of the seeds that both have.
    """
    spreads = {}
    for variant, (mine, base) in right.items():
        # without a spread there is nothing to judge by
        if base.any() and (spread := _contrast(mine, base, ratio)).error:
            spreads[variant] = spread
    keeping = [_below(s, -1) for s in spreads.values()]
    losing = [_below(s, 1) for s in spreads.values()]
    found = {}
    for variant, keep, lose in zip(spreads, holm(keeping), holm(losing), strict=True):
        verdict = KEEPS if keep < 1 - LEVEL else LOSES if lose < 1 - LEVEL else OPEN
        found[variant] = _judged(*right[variant], spreads[variant], keep, verdict)
    return found


def _contrast(mine: np.ndarray, base: np.ndarray, ratio: float) -> Spread:
    """Of 100 * (t - ratio * r): its mean, for other images and, of several seeds, other seeds."""
    values = 100.0 * (mine.astype(float) - ratio * base)
    if len(values) > 1:
        return two_way(values)
    n = values.size
    return Spread(float(values.mean()), float(values.std(ddof=1)) / math.sqrt(n), n - 1)


def _below(spread: Spread, sign: int) -> float:
    """One-sided p of t with this sign."""
    return float(special.stdtr(spread.df, sign * spread.mean / spread.error))


def _judged(
    mine: np.ndarray, base: np.ndarray, spread: Spread, p: float, verdict: str
) -> Retention:
    ratio = float(mine.mean() / base.mean())
    power = float(special.stdtrit(spread.df, LEVEL) + special.stdtrit(spread.df, POWER))
    return Retention(
        len(mine),
        ratio,
        _bound(mine, base, ratio, 0.0),
        _bound(mine, base, ratio, WIDEST),
        spread.mean,
        spread.error,
        p,
        verdict,
        max(0.0, 1 - power * spread.error / (100.0 * float(base.mean()))),
    )


def _bound(mine: np.ndarray, base: np.ndarray, inside: float, outside: float) -> float | None:
    """Where Fieller's interval ends between a ratio in it and one beyond it; None: nowhere."""

    def rejected(ratio: float) -> bool:
        spread = _contrast(mine, base, ratio)
        limit = float(special.stdtrit(spread.df, (1 + LEVEL) / 2)) * spread.error
        return abs(spread.mean) > limit

    if not rejected(outside):
        return None
    for _ in range(STEPS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if rejected(middle) else (middle, outside)
    return inside
