"""What a design can show, before it is run: the smallest difference to the baseline that it finds
with 80 % power, and the seeds that a smaller one needs.

As in `comparison`: complete blocks, Dunnett's simultaneous intervals at 95 %.
"""

from __future__ import annotations

import math

from scipy import special

from analysis.stats.comparison import POWER
from analysis.stats.dunnett import dunnett_critical
from analysis.stats.sequential import levels
from analysis.stats.summary import LEVEL

MOST = 1000  # seeds; a difference that needs more is not worth a plan


def detectable(sd: float, comparisons: int, seeds: int, looks: tuple[int, ...] = ()) -> float:
    """The smallest true difference that shows with 80 % power, in the unit of `sd`.

    Args:
        sd: the standard deviation of one variant's scores over seeds.
        comparisons: variants besides the baseline.
        seeds: of each variant, at least 2.
        looks: the seeds at each look, where they grow; it shows at the last one, if not before.
    """
    df = comparisons * (seeds - 1)
    level = levels(comparisons, looks)[-1] if looks else LEVEL
    critical = dunnett_critical(comparisons, df, level)
    return (critical + float(special.stdtrit(df, POWER))) * sd * math.sqrt(2 / seeds)


def seeds_for(difference: float, sd: float, comparisons: int) -> int | None:
    """The fewest seeds with which a true difference of that size shows; None: more than MOST."""
    low, high = 2, MOST
    if detectable(sd, comparisons, high) > difference:
        return None
    while low < high:
        middle = (low + high) // 2
        if detectable(sd, comparisons, middle) <= difference:
            high = middle
        else:
            low = middle + 1
    return low
