"""How certain a comparison must be that is looked at again and again while its seeds grow.

The family-wise error is spent over the looks by a function of the share of the seeds (K. K. G. Lan,
D. L. DeMets, Biometrika 1983; the function is of S. J. Pocock's kind), with Dunnett's correction
within each look. Dunnett's statistic at all looks is simulated, since the looks share their seeds.
The intervals are repeated confidence intervals (C. Jennison, B. W. Turnbull, J. R. Stat. Soc. B
1989): all of them, over variants and looks, hold with 95 %. Validated by simulation (make
validate).
"""

from __future__ import annotations

import functools
import math

import numpy as np

from analysis.stats.dunnett import dunnett_cdf
from analysis.stats.summary import LEVEL

DRAWS = 200_000
MOST_VALUES = 20_000_000  # of one drawn array


def spent(share: float) -> float:
    """The part of the family-wise error that may be spent with this share of the seeds."""
    return (1 - LEVEL) * math.log(1 + (math.e - 1) * share)


@functools.cache
def levels(comparisons: int, looks: tuple[int, ...]) -> tuple[float, ...]:
    """The level of Dunnett's intervals at each look, such that all of them hold with 95 %.

    Args:
        comparisons: variants besides the baseline.
        looks: the seeds of each variant at each look, growing, the first at least 2.
    """
    draws = min(DRAWS, MOST_VALUES // (comparisons + 1))
    random = np.random.default_rng([comparisons, *looks])
    alive, found, before = np.ones(draws, bool), [], 0.0
    for n, largest in zip(looks, _largest(random, draws, comparisons, looks), strict=True):
        share = spent(n / looks[-1])
        allowed = round(draws * (share - before))
        ranked = np.sort(largest[alive])
        critical = float(ranked[-allowed - 1])
        alive &= largest <= critical
        found.append(dunnett_cdf(critical, comparisons, comparisons * (n - 1)))
        before = share
    return tuple(found)


def _largest(random: np.random.Generator, draws: int, comparisons: int, looks: tuple[int, ...]):
    """Dunnett's statistic at each look where no variant differs, (draws,) each.

    A look's residual sum of squares is that before, the block's own, and what the variants' means
    before and in the block differ by.
    """
    sums, squares, before = np.zeros((draws, comparisons + 1)), np.zeros(draws), 0
    for n in looks:
        block = n - before
        new = random.normal(0, math.sqrt(block), sums.shape)
        if block > 1:
            squares += random.chisquare(comparisons * (block - 1), draws)
        if before:
            gap = sums / before - new / block
            gap -= gap.mean(1, keepdims=True)
            squares += before * block / n * (gap**2).sum(1)
        sums += new
        error = np.sqrt(2 * squares / (comparisons * (n - 1)) / n)
        yield np.abs(sums[:, 1:] - sums[:, :1]).max(1) / n / error
        before = n
