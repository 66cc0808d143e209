"""The effect of a factor: the trend over an ordered one, main effects and interactions of a grid.

Seeds are blocks, as in comparison.py.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from analysis.stats.additive import Additive, Scores, additive
from analysis.stats.summary import LEVEL


@dataclass(frozen=True)
class Effect:
    """An estimate in percentage points (a slope: per unit of the factor), its interval and p."""

    name: str
    estimate: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Source:
    """A main effect or an interaction: its F test, and the effects of its levels.

    The effect of a level, or of a combination of levels, is its distance from what lesser effects
    predict.
    """

    name: str
    f: float
    df: int
    p: float
    effects: list[Effect]


def trend(levels: Mapping[str, float], scores: Scores) -> list[Effect]:
    """The linear and the quadratic trend over an ordered factor, with seeds as blocks.

    Args:
        levels: variant -> the factor's value, for the variants that take part.

    Returns:
        The slope per unit, and the curvature: what the square of the factor adds, once the line is
        fitted. Empty for fewer than three levels, without two common seeds, or without spread.
    """
    common = set.intersection(*(set(scores[v]) for v in levels)) if levels else set()
    if len(levels) < 3 or len(common) < 2:
        return []
    fit = additive({v: _only(scores[v], common) for v in levels})
    x = np.array([*levels.values()], float)
    unit = float(np.ptp(x))
    if not fit.mse or not unit:
        return []
    line = (x - x.mean()) / unit
    # the part of the square that neither the mean nor the line explains
    square = line**2 - (line**2).mean()
    square = square - line * (square @ line) / (line @ line)
    contrasts = (("linear", line, unit), ("quadratic", square, unit**2))
    return [_contrast(name, c, fit, scale) for name, c, scale in contrasts if c @ c > 1e-9]


def _only(found: Mapping[int, float], seeds: set[int]) -> dict[int, float]:
    return {seed: found[seed] for seed in seeds}


def _contrast(name: str, c: np.ndarray, fit: Additive, scale: float) -> Effect:
    """The regression coefficient of the variants' means on `c` times `scale`.

    `c` (variants,) is orthogonal to the blocks.
    """
    estimate = float(fit.values.mean(1) @ c / (c @ c)) / scale
    error = math.sqrt(fit.mse / (fit.values.shape[1] * float(c @ c))) / scale
    return _effect(name, estimate, error, fit.df)


def _effect(name: str, estimate: float, error: float, df: float, of: int = 1) -> Effect:
    """One of `of` effects that are read together: interval and p by Bonferroni."""
    half = float(special.stdtrit(df, 1 - (1 - LEVEL) / 2 / of)) * error
    p = of * 2 * float(special.stdtr(df, -abs(estimate) / error))
    return Effect(name, estimate, estimate - half, estimate + half, min(1.0, p))


def factorial(cells: Mapping[tuple, Mapping[int, float]], names: Sequence[str]) -> list[Source]:
    """Main effects and interactions of a full grid, with seeds as blocks.

    Args:
        cells: the levels of the factors, in the order of `names` -> seed -> per cent.

    Returns:
        Main effects first. Empty where the grid has holes, without two common seeds, or without
        spread. Intervals and p of the levels are adjusted for their number within an effect.
    """
    # the values of each factor, in their order
    levels = [[*dict.fromkeys(column)] for column in zip(*cells, strict=True)]
    grid = [*itertools.product(*levels)]
    if not cells or {*grid} != {*cells}:
        return []
    # only complete blocks make the additive model's sums of squares add up
    common = set.intersection(*(set(s) for s in cells.values()))
    if len(common) < 2:
        return []
    fit = additive({str(cell): _only(cells[cell], common) for cell in grid})
    if not fit.mse:
        return []
    means = fit.values.mean(1).reshape([len(x) for x in levels])
    sources = []
    for size in range(1, len(names) + 1):
        for factors in itertools.combinations(range(len(names)), size):
            # a factor of one level has no effect
            if all(len(levels[i]) > 1 for i in factors):
                sources.append(_source(means, factors, levels, names, fit))
    return sources


def _source(
    means: np.ndarray,
    factors: tuple[int, ...],
    levels: list[list],
    names: Sequence[str],
    fit: Additive,
) -> Source:
    """The effect of `factors`; `means` are those over seeds of the whole grid (levels, ...)."""
    effect = _deviations(means, factors)
    n, per_level = fit.values.shape[1], means.size // effect.size
    df = math.prod(len(levels[i]) - 1 for i in factors)
    f = n * per_level * float((effect**2).sum()) / df / fit.mse
    # effects sum to zero over every factor, which makes them less variable than means
    shrink = math.prod(1 - 1 / len(levels[i]) for i in factors)
    error = math.sqrt(fit.mse / (n * per_level) * shrink)
    found = []
    combinations = itertools.product(*(levels[i] for i in factors))
    for combination, value in zip(combinations, effect.flatten(), strict=True):
        settings = zip(factors, combination, strict=True)
        name = ", ".join(f"{names[i]}={level}" for i, level in settings)
        found.append(_effect(name, float(value), error, fit.df, effect.size))
    name = " x ".join(names[i] for i in factors)
    return Source(name, f, df, float(special.fdtrc(df, fit.df, f)), found)


def _deviations(means: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """The part of each combination of `factors` that lesser effects leave: (levels, ...).

    By inclusion and exclusion over the marginal means.
    """
    sizes = means.shape
    effect = np.zeros([sizes[i] for i in factors])
    for size in range(len(factors) + 1):
        for kept in itertools.combinations(factors, size):
            others = tuple(i for i in range(means.ndim) if i not in kept)
            marginal = means.mean(axis=others, keepdims=True)
            marginal = marginal.reshape([sizes[i] if i in kept else 1 for i in factors])
            # the sign takes each lesser effect out once
            effect = effect + (-1) ** (len(factors) - size) * marginal
    return effect
