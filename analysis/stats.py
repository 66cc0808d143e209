"""Means and differences over seeds. The place for tests and intervals: whatever a verdict needs belongs here."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """`sd` is the sample's (n - 1), None for one value."""

    n: int
    mean: float
    sd: float | None


def summarise(values: list[float]) -> Summary | None:
    """None for no values."""
    if not values:
        return None
    return Summary(len(values), statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


def paired(variant: Mapping[int, float], baseline: Mapping[int, float]) -> Summary | None:
    """The differences seed by seed: a seed is a block in which both saw the same data in the same order. None without a common seed."""
    return summarise([variant[seed] - baseline[seed] for seed in variant if seed in baseline])
