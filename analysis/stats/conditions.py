"""All variants against the baseline under several conditions: Dunnett within, Holm over them.

S. Holm, Scand. J. Stat. 1979. The p of a condition are simultaneous over the variants already. Each
is multiplied by the number of conditions in which anything is left to be judged: so with 95 % no
true null hypothesis is rejected, under any condition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy import special

from analysis.stats.additive import Scores
from analysis.stats.comparison import Comparison, compare
from analysis.stats.summary import LEVEL


def over_conditions(
    scores: Mapping[str, Scores], baseline: str
) -> tuple[dict[str, Comparison], dict[tuple[str, str], float]]:
    """Every variant against the baseline, under every condition.

    Args:
        scores: condition -> variant -> seed -> per cent.

    Returns:
        (condition -> its comparison, (condition, variant) -> p over all of the table).
    """
    compared = {name: _compared(found, baseline) for name, found in scores.items()}
    raw = {}
    for name, comparison in compared.items():
        for variant, difference in comparison.differences.items():
            if difference.p is not None:
                raw[name, variant] = difference.p
    return compared, adjusted(raw)


def _compared(scores: Scores, baseline: str) -> Comparison:
    """One condition. Variants with the very same scores are one training and count once: a second
    time they would only pass for more evidence.
    """
    first: dict[str, str] = {}
    for variant in [baseline, *scores]:
        same = (v for v in first if first[v] == v and scores[v] == scores.get(variant))
        first[variant] = next(same, variant) if scores.get(variant) else variant
    once = {v: found for v, found in scores.items() if first[v] == v}
    comparison = compare(once, baseline)
    found = {}
    for variant in scores:
        if difference := comparison.differences.get(first[variant]):
            found[variant] = difference
    return replace(comparison, differences=found)


def adjusted(raw: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """(condition, variant) -> p by Holm over the conditions, of p that hold within each."""
    left = [name for name, _ in raw]
    found, highest = {}, 0.0
    for key, p in sorted(raw.items(), key=lambda item: item[1]):
        highest = max(highest, min(1.0, len({*left}) * p))
        found[key] = highest
        left.remove(key[0])
    return found


def guessing(classes: int, images: int) -> tuple[float, float, float]:
    """The accuracy of a network that guesses, and 95 % of what it reaches on so many images; in per
    cent.
    """
    chance, tail = 1 / classes, (1 - LEVEL) / 2
    counts = np.arange(images + 1)
    below = special.bdtr(counts, images, chance)
    low = int(np.searchsorted(below, tail))
    high = int(np.searchsorted(below, 1 - tail))
    return 100 * chance, 100 * low / images, 100 * high / images
