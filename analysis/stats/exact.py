"""Exact tests of paired outcomes, which assume no distribution.

Q. McNemar, Psychometrika 1947.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special


def sign_flip(differences: Sequence[float]) -> tuple[float, float] | None:
    """Exact two-sided p of the mean under all flips of sign, and the smallest that n can reach.

    None for fewer than 6 or more than 16 differences.
    """
    n = len(differences)
    if not 6 <= n <= 16:
        return None
    sums = np.zeros(1)
    for d in differences:
        sums = np.concatenate([sums + d, sums - d])
    return float((np.abs(sums) >= abs(sum(differences)) - 1e-9).mean()), 2 / 2**n


def mcnemar(a: np.ndarray, b: np.ndarray) -> tuple[int, int, float]:
    """How many images only a, and only b, has right ((n,) booleans each), and the p of that.

    The p is exact and two-sided: that both are equally likely.
    """
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    p = 2 * float(special.bdtr(min(only_a, only_b), only_a + only_b, 0.5))
    return only_a, only_b, min(1.0, p)
