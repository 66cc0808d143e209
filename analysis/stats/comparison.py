"""From the trials' accuracies to what may be concluded: intervals, tests and verdicts, each by a method that has a name.

A seed is a block: all variants of one seed saw the same data in the same order, so differences are taken within seeds. The methods:
C. W. Dunnett, "A multiple comparison procedure for comparing several treatments with a control", JASA 1955; J. W. Tukey's range test;
B. L. Welch, Biometrika 1947, with S. Holm, Scand. J. Stat. 1979; M. B. Brown and A. B. Forsythe, JASA 1974; D. J. Schuirmann's two
one-sided tests, J. Pharmacokinet. Biopharm. 1987; Q. McNemar, Psychometrika 1947. Held to scipy's values and to simulation (make validate).
"""

from __future__ import annotations

import functools
import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special
from scipy import stats as scipy_stats

LEVEL = 0.95
POWER = 0.8
UNEQUAL = 3  # variances within this ratio pass as one
SCREENING = 5  # fewer seeds than these are a screening
Scores = Mapping[str, Mapping[int, float]]  # variant -> seed -> per cent


@dataclass(frozen=True)
class Summary:
    """`sd` is the sample's (n - 1); `low` and `high` bound the mean by Student's t. No bounds for one value, or values that do not differ."""

    n: int
    mean: float
    sd: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Difference:
    """A variant against the baseline, in percentage points; interval and `p` adjusted for the number of comparisons.

    `equivalent_p` belongs to the two one-sided tests against the margin, where one is declared.
    """

    n: int
    mean: float
    low: float | None
    high: float | None
    p: float | None
    equivalent_p: float | None
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """All variants against the baseline. `method` is "Dunnett", "Welch" or ""; `why` says what decided it.

    `icc`: the share of the variance that is the seeds'. `detectable`: the smallest true difference that this design shows with 80 % power.
    """

    method: str
    why: str
    differences: dict[str, Difference]
    df: float | None = None
    icc: float | None = None
    detectable: float | None = None


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


def compare(scores: Scores, baseline: str, margin: float | None = None) -> Comparison:
    """Every variant against the baseline.

    With complete blocks and variances that are not plainly unequal: one additive model, variant + seed, with Dunnett's simultaneous
    intervals. Else Welch's t for each pair: p by Holm, which decides; intervals by Bonferroni, which can be a little wider than that p.

    Args:
        margin: percentage points below which a difference does not matter; asks for equivalence.
    """
    others = [v for v in scores if v != baseline and scores[v]]
    if not scores.get(baseline) or not others:
        return Comparison("", "there is nothing to compare with", {})
    present = {v: scores[v] for v in [baseline, *others]}
    why = _not_additive(present)
    return _welch(present, baseline, margin, why) if why else _dunnett(present, baseline, margin)


def _not_additive(scores: Scores) -> str:
    """Why one model with a common variance does not fit; empty where it does."""
    if len({frozenset(s) for s in scores.values()}) > 1:
        return "not every seed has finished in every variant"
    values = [[*s.values()] for s in scores.values()]
    if len(values[0]) > 2:
        variances = [statistics.variance(v) for v in values]
        ratio = max(variances) / min(variances) if min(variances) else math.inf
        # scipy divides by zero where every group's deviations from its median are alike
        with np.errstate(divide="ignore", invalid="ignore"):
            p = float(scipy_stats.levene(*values, center="median").pvalue)
        if p < 0.05 and ratio > UNEQUAL:
            most = (
                f"largest to smallest {ratio:.0f}"
                if min(variances)
                else "one variant's seeds do not differ"
            )
            return f"the variances are unequal (Brown-Forsythe p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}, {most})"
    return ""


@dataclass(frozen=True)
class Additive:
    """The additive model of a complete layout: `values` (variants, seeds), residual mean square and its degrees of freedom."""

    values: np.ndarray
    mse: float
    df: int
    icc: float


def additive(scores: Scores) -> Additive:
    """The least-squares fit of variant + seed; every variant has the same seeds."""
    seeds = sorted(next(iter(scores.values())))
    y = np.array([[s[seed] for seed in seeds] for s in scores.values()])
    k, n = y.shape
    rows, columns, mean = y.mean(1, keepdims=True), y.mean(0, keepdims=True), y.mean()
    df = (k - 1) * (n - 1)
    mse = float(((y - rows - columns + mean) ** 2).sum() / df) if df else 0.0
    if mse <= 1e-12 * max(1.0, float(mean) ** 2):  # nothing but rounding
        mse = 0.0
    between = k * float(((columns - mean) ** 2).sum()) / (n - 1) if n > 1 else 0.0
    total = between + (k - 1) * mse
    return Additive(y, mse, df, max(0.0, (between - mse) / total) if total > 0 else 0.0)


def _dunnett(scores: Scores, baseline: str, margin: float | None) -> Comparison:
    order = [baseline, *(v for v in scores if v != baseline)]
    fit = additive({v: scores[v] for v in order})
    means, n, m = fit.values.mean(1), fit.values.shape[1], len(order) - 1
    if not fit.mse:
        why = (
            "the differences are the same in every seed, so there is no spread to judge them by"
            if fit.df
            else "one seed has no spread"
        )
        rows = {
            v: Difference(n, float(x - means[0]), None, None, None, None, "inconclusive")
            for v, x in zip(order[1:], means[1:], strict=True)
        }
        return Comparison("", why, rows)
    error = math.sqrt(2 * fit.mse / n)
    critical = dunnett_critical(m, fit.df)
    ps = [1 - dunnett_cdf(abs(float(x - means[0])) / error, m, fit.df) for x in means[1:]]
    equivalence = _equivalence(
        [float(x - means[0]) for x in means[1:]], [error] * m, [fit.df] * m, margin
    )
    rows = {}
    for v, x, p, q in zip(order[1:], means[1:], ps, equivalence, strict=True):
        d = float(x - means[0])
        rows[v] = Difference(
            n, d, d - critical * error, d + critical * error, p, q, _verdict(d, p, q)
        )
    detectable = (critical + float(special.stdtrit(fit.df, POWER))) * error
    return Comparison("Dunnett", "", rows, fit.df, fit.icc, detectable)


def _welch(scores: Scores, baseline: str, margin: float | None, why: str) -> Comparison:
    base = [*scores[baseline].values()]
    others = [v for v in scores if v != baseline]
    found: dict[
        str, tuple[float, float, float]
    ] = {}  # difference, its standard error, degrees of freedom
    for v in others:
        values = [*scores[v].values()]
        if len(base) > 1 and len(values) > 1:
            parts = [statistics.variance(x) / len(x) for x in (base, values)]
            if sum(parts) > 0:
                df = sum(parts) ** 2 / sum(
                    p**2 / (len(x) - 1) for p, x in zip(parts, (base, values), strict=True)
                )
                found[v] = (
                    statistics.fmean(values) - statistics.fmean(base),
                    math.sqrt(sum(parts)),
                    df,
                )
    raw = {v: 2 * float(special.stdtr(df, -abs(d) / error)) for v, (d, error, df) in found.items()}
    ps = dict(zip(raw, holm([*raw.values()]), strict=True))
    estimates = [*found.values()]
    tested = _equivalence(
        [d for d, _, _ in estimates],
        [e for _, e, _ in estimates],
        [df for _, _, df in estimates],
        margin,
    )
    equivalence = dict(zip(found, tested, strict=True))
    rows = {}
    for v in others:
        n = len(scores[v])
        if v not in found:
            d = statistics.fmean(scores[v].values()) - statistics.fmean(base)
            rows[v] = Difference(n, d, None, None, None, None, "inconclusive")
            continue
        d, error, df = found[v]
        half = float(special.stdtrit(df, 1 - (1 - LEVEL) / 2 / len(found))) * error
        rows[v] = Difference(
            n, d, d - half, d + half, ps[v], equivalence[v], _verdict(d, ps[v], equivalence[v])
        )
    return Comparison("Welch" if found else "", why, rows)


def _equivalence(
    differences: list[float], errors: list[float], dfs: Sequence[float], margin: float | None
) -> list[float | None]:
    """Schuirmann's two one-sided tests against ±margin: the larger of the two p, by Holm over the variants."""
    if margin is None:
        return [None] * len(differences)
    ps = [
        max(
            float(special.stdtr(df, -(margin - d) / e)), float(special.stdtr(df, -(margin + d) / e))
        )
        for d, e, df in zip(differences, errors, dfs, strict=True)
    ]
    return [*holm(ps)]


def _verdict(difference: float, p: float, equivalent_p: float | None) -> str:
    """A difference that is shown to be smaller than the declared margin is called so, even where it is shown not to be zero."""
    if equivalent_p is not None and equivalent_p < 1 - LEVEL:
        return "equivalent"
    if p < 1 - LEVEL:
        return "better" if difference > 0 else "worse"
    return "inconclusive"


def holm(ps: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given (Holm 1979)."""
    adjusted, highest = [0.0] * len(ps), 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[i]))
        adjusted[i] = highest
    return adjusted


@functools.cache
def _nodes(df: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Nodes and weights: of a standard normal, and of the root of a chi-squared over its df."""
    z, wz = np.polynomial.hermite_e.hermegauss(80)
    u, wu = np.polynomial.legendre.leggauss(80)
    s = np.sqrt(
        special.chdtri(df, 1 - (u + 1) / 2) / df
    )  # quantiles of the whole range, so that the weights are the density's
    return z, wz / wz.sum(), s, wu / 2


def dunnett_cdf(t: float, comparisons: int, df: float) -> float:
    """P(max |T_i| <= t) for `comparisons` studentised differences to one control of equal size (their correlation is 1/2).

    A double integral over the control and the common standard deviation, by Gauss quadrature; agrees with scipy.stats.dunnett, whose
    quasi-random integration serves one-way layouts alone.
    """
    z, wz, s, ws = _nodes(df)
    near = special.ndtr(z[:, None] + math.sqrt(2) * t * s) - special.ndtr(
        z[:, None] - math.sqrt(2) * t * s
    )
    return float(np.clip(wz @ near**comparisons @ ws, 0, 1))


@functools.cache
def dunnett_critical(comparisons: int, df: float, level: float = LEVEL) -> float:
    """The two-sided critical value of Dunnett's test with equal group sizes."""
    return float(optimize.brentq(lambda t: dunnett_cdf(t, comparisons, df) - level, 0.1, 1e3))  # type: ignore[arg-type]


def all_pairs(
    scores: Scores, only: tuple[str, str] | None = None, *, unequal: bool = False
) -> dict[tuple[str, str], Difference]:
    """Every pair of variants: Tukey's simultaneous intervals in the additive model; with `unequal` variances, Games and Howell's (1976).

    Seeds that not all have are left out. Fewer than two such seeds, or no spread: no pairs.

    Args:
        only: this pair alone, adjusted for all of them nevertheless.
    """
    present = {v: s for v, s in scores.items() if s}
    common = sorted(set.intersection(*(set(s) for s in present.values()))) if present else []
    if len(present) < 2 or len(common) < 2:
        return {}
    fit = additive({v: {seed: s[seed] for seed in common} for v, s in present.items()})
    (k, n), pairs = fit.values.shape, {}
    values = dict(zip(present, fit.values, strict=True))
    for a, b in [only] if only else itertools.combinations(present, 2):
        parts = [float(values[v].var(ddof=1)) / n if unequal else fit.mse / n for v in (a, b)]
        if not sum(parts):
            continue
        df = sum(parts) ** 2 / sum(p**2 / (n - 1) for p in parts) if unequal else fit.df
        d, error = float(values[b].mean() - values[a].mean()), math.sqrt(sum(parts) / 2)
        half = float(scipy_stats.studentized_range.ppf(LEVEL, k, df)) * error
        p = float(scipy_stats.studentized_range.sf(abs(d) / error, k, df))
        pairs[a, b] = Difference(n, d, d - half, d + half, p, None, _verdict(d, p, None))
    return pairs


def sign_flip(differences: Sequence[float]) -> tuple[float, float] | None:
    """Exact two-sided p of the mean under all flips of sign, and the smallest p that so many can reach. None for fewer than 6 or more than 16."""
    n = len(differences)
    if not 6 <= n <= 16:
        return None
    sums = np.zeros(1)
    for d in differences:
        sums = np.concatenate([sums + d, sums - d])
    return float((np.abs(sums) >= abs(sum(differences)) - 1e-9).mean()), 2 / 2**n


def mcnemar(a: np.ndarray, b: np.ndarray) -> tuple[int, int, float]:
    """Which images only a, and only b, has right ((n,) booleans each), and the exact two-sided p that both are equally likely."""
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    return (
        only_a,
        only_b,
        min(1.0, 2 * float(special.bdtr(min(only_a, only_b), only_a + only_b, 0.5))),
    )


def seeds_by_images(values: np.ndarray) -> Summary | None:
    """The mean of (seeds, images) with an interval for other seeds AND other test images; both are random in a two-way layout.

    The mean's variance is (MS_seeds + MS_images - MS_rest) / (seeds images), its degrees of freedom are Satterthwaite's. None for one seed.
    """
    n, m = values.shape
    if n < 2 or m < 2:
        return None
    rows, columns, mean = values.mean(1), values.mean(0), float(values.mean())
    seeds = m * float(((rows - mean) ** 2).sum()) / (n - 1)
    images = n * float(((columns - mean) ** 2).sum()) / (m - 1)
    total = float(((values - mean) ** 2).sum())
    rest = max(0.0, total - seeds * (n - 1) - images * (m - 1)) / ((n - 1) * (m - 1))
    variance = max(seeds + images - rest, seeds, images) / (
        n * m
    )  # never below what one of the two alone says
    if variance == 0:
        return Summary(n, mean, 0.0, mean, mean)
    df = (seeds + images - rest) ** 2 / (
        seeds**2 / (n - 1) + images**2 / (m - 1) + rest**2 / ((n - 1) * (m - 1))
    )
    half = float(special.stdtrit(max(df, 1.0), (1 + LEVEL) / 2)) * math.sqrt(variance)
    return Summary(n, mean, math.sqrt(variance), mean - half, mean + half)
