"""What a factor does: the trend over an ordered one, main effects and interactions of a full grid; seeds are blocks, as in analysis/stats.py."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from analysis.stats.comparison import LEVEL, Additive, Scores, additive


@dataclass(frozen=True)
class Effect:
    """An estimate in percentage points (a slope: per unit of the factor) with its interval and p; `n` is the number of seeds."""

    name: str
    estimate: float
    low: float
    high: float
    p: float


def trend(levels: Mapping[str, float], scores: Scores) -> list[Effect]:
    """The linear and the quadratic trend over an ordered factor, with seeds as blocks.

    Args:
        levels: variant -> the factor's value, for the variants that take part.

    Returns:
        The slope per unit, and the curvature: what the square of the factor adds, once the line is fitted. Empty without two common seeds.
    """
    common = set.intersection(*(set(scores[v]) for v in levels)) if levels else set()
    if len(levels) < 3 or len(common) < 2:
        return []
    fit = additive({v: {s: scores[v][s] for s in common} for v in levels})
    x = np.array([*levels.values()], float)
    unit = float(np.ptp(x))
    if not fit.mse or not unit:
        return []
    line = (x - x.mean()) / unit
    square = line**2 - (line**2).mean()
    square = square - line * (square @ line) / (line @ line)
    return [
        _contrast(name, c, fit, scale)
        for name, c, scale in (("linear", line, unit), ("quadratic", square, unit**2))
        if c @ c > 1e-9
    ]


def _contrast(name: str, c: np.ndarray, fit: Additive, scale: float) -> Effect:
    """The regression coefficient of the variants' means on `c` times `scale`; `c` is orthogonal to the blocks."""
    estimate = float(fit.values.mean(1) @ c / (c @ c)) / scale
    error = math.sqrt(fit.mse / (fit.values.shape[1] * float(c @ c))) / scale
    return _effect(name, estimate, error, fit.df)


def _effect(name: str, estimate: float, error: float, df: float, of: int = 1) -> Effect:
    """One of `of` effects that are read together: interval and p by Bonferroni."""
    half = float(special.stdtrit(df, 1 - (1 - LEVEL) / 2 / of)) * error
    return Effect(
        name,
        estimate,
        estimate - half,
        estimate + half,
        min(1.0, of * 2 * float(special.stdtr(df, -abs(estimate) / error))),
    )


@dataclass(frozen=True)
class Source:
    """A main effect or an interaction: its F test, and how far each level, or combination of levels, lies from what lesser effects say."""

    name: str
    f: float
    df: int
    p: float
    effects: list[Effect]


def factorial(cells: Mapping[tuple, Mapping[int, float]], names: Sequence[str]) -> list[Source]:
    """Main effects and interactions of a full grid, with seeds as blocks.

    Args:
        cells: the levels of the factors, in the order of `names` -> seed -> per cent.

    Returns:
        Main effects first. Empty where the grid has holes, without two common seeds, or without spread. Intervals and p of the levels are
        adjusted for their number within an effect.
    """
    levels = [[*dict.fromkeys(cell[i] for cell in cells)] for i in range(len(names))]
    grid = [*itertools.product(*levels)]
    if not cells or {*grid} != {*cells}:
        return []
    common = sorted(set.intersection(*(set(s) for s in cells.values())))
    if len(common) < 2:
        return []
    fit = additive({str(cell): {s: cells[cell][s] for s in common} for cell in grid})
    if not fit.mse:
        return []
    means = fit.values.mean(1).reshape([len(x) for x in levels])
    sources = []
    for size in range(1, len(names) + 1):
        for factors in itertools.combinations(range(len(names)), size):
            sources += (
                [_source(means, factors, levels, names, fit)]
                if all(len(levels[i]) > 1 for i in factors)
                else []
            )
    return sources


def _source(
    means: np.ndarray,
    factors: tuple[int, ...],
    levels: list[list],
    names: Sequence[str],
    fit: Additive,
) -> Source:
    """By inclusion and exclusion over the marginal means."""
    effect = np.zeros([len(levels[i]) for i in factors])
    for size in range(len(factors) + 1):
        for kept in itertools.combinations(factors, size):
            marginal = means.mean(
                axis=tuple(i for i in range(means.ndim) if i not in kept), keepdims=True
            )
            marginal = marginal.reshape([len(levels[i]) if i in kept else 1 for i in factors])
            effect = effect + (-1) ** (len(factors) - size) * marginal
    n, per_level = fit.values.shape[1], means.size // effect.size
    df = math.prod(len(levels[i]) - 1 for i in factors)
    f = n * per_level * float((effect**2).sum()) / df / fit.mse
    shrink = math.prod(
        1 - 1 / len(levels[i]) for i in factors
    )  # of the variance, since effects sum to zero
    error = math.sqrt(fit.mse / (n * per_level) * shrink)
    found = [
        _effect(
            ", ".join(f"{names[i]}={level}" for i, level in zip(factors, combination, strict=True)),
            float(value),
            error,
            fit.df,
            effect.size,
        )
        for combination, value in zip(
            itertools.product(*(levels[i] for i in factors)), effect.flatten(), strict=True
        )
    ]
    return Source(
        " x ".join(names[i] for i in factors), f, df, float(special.fdtrc(df, fit.df, f)), found
    )
