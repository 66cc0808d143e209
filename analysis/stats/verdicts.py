"""A difference in accuracy with its interval and its verdict; p-values adjusted for their number.

S. Holm, Scand. J. Stat. 1979; D. J. Schuirmann's two one-sided tests, J. Pharmacokinet.
Biopharm. 1987.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from scipy import special

from analysis.stats.summary import LEVEL


class Estimate(NamedTuple):
    """A difference in percentage points, its standard error and its degrees of freedom."""

    mean: float
    error: float
    df: float


@dataclass(frozen=True)
class Difference:
    """A variant against another, in percentage points, over `n` seeds.

    Interval and `p` are adjusted for the number of comparisons. `equivalent_p` belongs to the two
    one-sided tests against the margin, where one is declared.
    """

    n: int
    mean: float
    low: float | None
    high: float | None
    p: float | None
    equivalent_p: float | None
    verdict: str


def unjudged(n: int, mean: float) -> Difference:
    """A difference without a spread to judge it by."""
    return Difference(n, mean, None, None, None, None, "inconclusive")


def judged(
    n: int,
    mean: float,
    half: float,
    p: float,
    equivalent_p: float | None = None,
    level: float = LEVEL,
) -> Difference:
    """A difference with its verdict at a level; `half` is half the width of its interval."""
    verdict = _verdict(mean, p, equivalent_p, 1 - level)
    return Difference(n, mean, mean - half, mean + half, p, equivalent_p, verdict)


def _verdict(difference: float, p: float, equivalent_p: float | None, alpha: float) -> str:
    # first: a difference inside the margin is equivalent, even one that is certainly not zero
    if equivalent_p is not None and equivalent_p < alpha:
        return "equivalent"
    if p < alpha:
        return "better" if difference > 0 else "worse"
    return "inconclusive"


def equivalence(estimates: Sequence[Estimate], margin: float | None) -> list[float | None]:
    """Schuirmann's two one-sided tests against ±margin: the larger of the two p, by Holm."""
    if margin is None:
        return [None] * len(estimates)
    ps = []
    for d, error, df in estimates:
        below = float(special.stdtr(df, -(margin - d) / error))
        above = float(special.stdtr(df, -(margin + d) / error))
        ps.append(max(below, above))
    return [*holm(ps)]


def holm(ps: Sequence[float], besides: int = 0) -> list[float]:
    """Adjusted p-values, in the order given (Holm 1979).

    Args:
        besides: further comparisons that all are adjusted for.
    """
    adjusted, highest = [0.0] * len(ps), 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        highest = max(highest, min(1.0, (besides + len(ps) - rank) * ps[i]))
        adjusted[i] = highest
    return adjusted
