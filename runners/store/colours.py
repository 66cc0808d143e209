"""One colour per variant, the same in the figures and in MLflow: the baseline is black."""

from __future__ import annotations

from collections.abc import Iterable

BASELINE = "#000000"
# Okabe and Ito's, that colour-blind readers can tell apart
# (https://jfly.uni-koeln.de/color/)
OTHERS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#999933")


def colours(variants: Iterable[str], baseline: str) -> dict[str, str]:
    """variant -> its colour; after the seventh they come again."""
    found = {}
    for variant in variants:
        others = len(found) - (baseline in found)
        found[variant] = BASELINE if variant == baseline else OTHERS[others % len(OTHERS)]
    return found
