"""All variants against the baseline, each by a method that has a name.

A seed is a block: all variants of one seed saw the same data in the same order, so differences
are taken within seeds. The methods: Dunnett's intervals (dunnett.py) in an additive model;
B. L. Welch, Biometrika 1947, with Holm's p (verdicts.py); M. B. Brown and A. B. Forsythe, JASA
1974. Compared with scipy's values in tests, and validated by simulation (make validate).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from analysis.stats.additive import Scores, additive
from analysis.stats.dunnett import dunnett_cdf, dunnett_critical
from analysis.stats.summary import LEVEL
from analysis.stats.verdicts import Difference, Estimate, equivalence, holm, judged, unjudged

POWER = 0.8
UNEQUAL = 3  # variances within this ratio pass as one
SCREENING = 5  # fewer seeds than these are a screening


@dataclass(frozen=True)
class Comparison:
    """`method` is "Dunnett", "Welch" or ""; `why` is the reason where it is not Dunnett's.

    `icc`: the share of the variance that is the seeds'. `detectable`: the smallest true difference
    that this design shows with 80 % power. `looks`: the seeds at each look at a comparison whose
    seeds grow.
    """

    method: str
    why: str
    differences: dict[str, Difference]
    df: float | None = None
    icc: float | None = None
    detectable: float | None = None
    looks: tuple[int, ...] = ()


def compare(
    scores: Scores,
    baseline: str,
    margin: float | None = None,
    level: float = LEVEL,
    comparisons: int | None = None,
) -> Comparison:
    """Every variant against the baseline.

    With complete blocks and variances that are not plainly unequal: one additive model,
    variant + seed, with Dunnett's simultaneous intervals. Else Welch's t for each pair: p by Holm,
    which decides; intervals by Bonferroni, which can be a little wider than that p.

    Args:
        margin: percentage points below which a difference does not matter; asks for equivalence.
        level: of the intervals, and what 1 - p has to reach for a verdict.
        comparisons: to adjust for; as many as there are here, where it is not given.
    """
    others = [v for v in scores if v != baseline and scores[v]]
    if not scores.get(baseline) or not others:
        return Comparison("", "there is nothing to compare with", {})
    present = {v: scores[v] for v in [baseline, *others]}
    m = max(len(others), comparisons or 0)
    if why := _not_additive(present):
        return _welch(present, baseline, margin, why, level, m)
    return _dunnett(present, baseline, margin, level, m)


def _not_additive(scores: Scores) -> str:
    """Why one model with a common variance does not fit; empty where it does."""
    if len({frozenset(s) for s in scores.values()}) > 1:
        return "not every seed has finished in every variant"
    values = [[*s.values()] for s in scores.values()]
    if len(values[0]) < 3:
        return ""
    # the mean of equal numbers is not always the number
    variances = np.where(np.ptp(values, axis=1) == 0, 0, np.var(values, axis=1, ddof=1))
    smallest, largest = float(variances.min()), float(variances.max())
    ratio = largest / smallest if smallest else math.inf
    if ratio <= UNEQUAL or (p := _unequal(np.array(values))) >= 0.05:
        return ""
    most = f"largest to smallest {ratio:.0f}" if smallest else "one variant's seeds do not differ"
    shown = "< 0.001" if p < 0.001 else f"= {p:.3f}"
    return f"the variances are unequal (Brown-Forsythe p {shown}, {most})"


def _unequal(values: np.ndarray) -> float:
    """p of Brown and Forsythe's test that the variances of groups (k, n) are equal: an analysis of
    variance of the distances from each group's median.

    M. B. Brown, A. B. Forsythe, "Robust tests for the equality of variances", JASA 1974. As
    scipy.stats.levene's, whose import takes half a second.
    """
    k, n = values.shape
    apart = abs(values - np.median(values, axis=1, keepdims=True))
    within = apart.var(axis=1).sum() * n / (k * (n - 1))
    between = apart.mean(axis=1).var() * k * n / (k - 1)
    if not within:
        return 1.0 if not between else 0.0
    return float(special.fdtrc(k - 1, k * (n - 1), between / within))


def _dunnett(
    scores: Scores, baseline: str, margin: float | None, level: float, m: int
) -> Comparison:
    order = [baseline, *(v for v in scores if v != baseline)]
    fit = additive({v: scores[v] for v in order})
    means, n = fit.values.mean(1), fit.values.shape[1]
    differences = [float(x - means[0]) for x in means[1:]]
    if not fit.mse:
        why = (
            "the differences are the same in every seed, so there is no spread to judge them by"
            if fit.df
            else "one seed has no spread"
        )
        rows = {v: unjudged(n, d) for v, d in zip(order[1:], differences, strict=True)}
        return Comparison("", why, rows)
    error = math.sqrt(2 * fit.mse / n)
    critical = dunnett_critical(m, fit.df, level)
    tested = equivalence([Estimate(d, error, fit.df) for d in differences], margin)
    rows = {}
    for v, d, q in zip(order[1:], differences, tested, strict=True):
        p = 1 - dunnett_cdf(abs(d) / error, m, fit.df)
        rows[v] = judged(n, d, critical * error, p, q, level)
    detectable = (critical + float(special.stdtrit(fit.df, POWER))) * error
    return Comparison("Dunnett", "", rows, fit.df, fit.icc, detectable)


def _welch(
    scores: Scores, baseline: str, margin: float | None, why: str, level: float, m: int
) -> Comparison:
    others = [v for v in scores if v != baseline]
    found: dict[str, Estimate] = {}
    for v in others:
        if estimate := _welch_estimate(scores[baseline], scores[v]):
            found[v] = estimate
    raw = [2 * float(special.stdtr(df, -abs(d) / error)) for d, error, df in found.values()]
    # those that are not here stand first in Holm's order
    ps = dict(zip(found, holm(raw, m - len(others)), strict=True))
    tested = dict(zip(found, equivalence([*found.values()], margin), strict=True))
    rows, spread = {}, len(found) + m - len(others)
    for v in others:
        n = len(scores[v])
        if v not in found:
            d = statistics.fmean(scores[v].values()) - statistics.fmean(scores[baseline].values())
            rows[v] = unjudged(n, d)
            continue
        d, error, df = found[v]
        half = float(special.stdtrit(df, 1 - (1 - level) / 2 / spread)) * error
        rows[v] = judged(n, d, half, ps[v], tested[v], level)
    return Comparison("Welch" if found else "", why, rows)


def _welch_estimate(base: Mapping[int, float], other: Mapping[int, float]) -> Estimate | None:
    """None where one of the two has one seed, or both have no spread."""
    groups = [*base.values()], [*other.values()]
    if min(map(len, groups)) < 2:
        return None
    parts = [statistics.variance(x) / len(x) for x in groups]
    if not sum(parts):
        return None
    terms = [p**2 / (len(x) - 1) for p, x in zip(parts, groups, strict=True)]
    difference = statistics.fmean(groups[1]) - statistics.fmean(groups[0])
    return Estimate(difference, math.sqrt(sum(parts)), sum(parts) ** 2 / sum(terms))
