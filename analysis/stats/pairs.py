"""Every pair of variants, with simultaneous intervals.

J. W. Tukey's range test; P. A. Games and J. F. Howell, J. Educ. Stat. 1976.
"""

from __future__ import annotations

import itertools
import math

from analysis.stats.additive import Scores, additive
from analysis.stats.summary import LEVEL
from analysis.stats.verdicts import Difference, judged


def all_pairs(
    scores: Scores, only: tuple[str, str] | None = None, *, unequal: bool = False
) -> dict[tuple[str, str], Difference]:
    """Tukey's simultaneous intervals in the additive model; Games and Howell's where `unequal`.

    Seeds that not every variant has are left out. There are no pairs with fewer than two such
    seeds, or without spread.

    Args:
        only: this pair alone, adjusted for all of them nevertheless.
        unequal: the variants have variances of their own.
    """
    present = {v: s for v, s in scores.items() if s}
    common = sorted(set.intersection(*(set(s) for s in present.values()))) if present else []
    if len(present) < 2 or len(common) < 2:
        return {}
    from scipy.stats import studentized_range  # half a second that most tables do not need

    shared = {}
    for v, found in present.items():
        shared[v] = {seed: found[seed] for seed in common}
    fit = additive(shared)
    (k, n), pairs = fit.values.shape, {}
    values = dict(zip(present, fit.values, strict=True))
    for a, b in [only] if only else itertools.combinations(present, 2):
        parts = [float(values[v].var(ddof=1)) / n if unequal else fit.mse / n for v in (a, b)]
        if not sum(parts):
            continue
        df = sum(parts) ** 2 / sum(p**2 / (n - 1) for p in parts) if unequal else fit.df
        # the studentised range is of means, whose error is smaller than a difference's by root two
        d, error = float(values[b].mean() - values[a].mean()), math.sqrt(sum(parts) / 2)
        half = float(studentized_range.ppf(LEVEL, k, df)) * error
        p = float(studentized_range.sf(abs(d) / error, k, df))
        pairs[a, b] = judged(n, d, half, p)
    return pairs
