"""Dunnett's distribution: the largest of several studentised differences to one control.

C. W. Dunnett, "A multiple comparison procedure for comparing several treatments with a control",
JASA 1955. The values agree with scipy.stats.dunnett, whose quasi-random integration serves one-way
layouts alone; these take any degrees of freedom.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy import optimize, special

from analysis.stats.summary import LEVEL


@functools.cache
def _nodes(df: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Nodes and weights of a standard normal's right half, since what is averaged is symmetrical,
    as far as it weighs anything; and of the root of a chi-squared over its df.
    """
    z, wz = np.polynomial.hermite_e.hermegauss(80)
    counts = (z > 0) & (wz > wz.max() * 1e-20)
    z, wz = z[counts], wz[counts]
    u, wu = np.polynomial.legendre.leggauss(80)
    # quantiles of the whole range, so that the weights are the density's
    s = np.sqrt(special.chdtri(df, 1 - (u + 1) / 2) / df)
    return z, wz / wz.sum(), s, wu / 2


def dunnett_cdf(t: float, comparisons: int, df: float) -> float:
    """P(max |T_i| <= t) for `comparisons` studentised differences to one control of equal size.

    Their correlation is 1/2. A double integral over the control and the common standard
    deviation, by Gauss quadrature.
    """
    z, wz, s, ws = _nodes(df)
    above = special.ndtr(z[:, None] + math.sqrt(2) * t * s)
    near = above - special.ndtr(z[:, None] - math.sqrt(2) * t * s)
    return float(np.clip(wz @ near**comparisons @ ws, 0, 1))


@functools.cache
def dunnett_critical(comparisons: int, df: float, level: float = LEVEL) -> float:
    """The two-sided critical value of Dunnett's test with equal group sizes."""

    def beyond(t: float) -> float:
        return dunnett_cdf(t, comparisons, df) - level

    return float(optimize.brentq(beyond, 0.1, 1e3))  # type: ignore[arg-type]
